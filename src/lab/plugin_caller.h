// Calls the real CNI plugin as a container runtime does.
#pragma once

#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace weft::lab {

struct Attachment {
  std::string container_id;
  std::string netns;  // path
  std::string namespace_;
  std::string pod;
};

// Thread safe: holds only constants. Errors: `unavailable` when the agent is away (code 11), `exists`
// when attached already (code 100), otherwise `internal` with the plugin's own code and message.
class PluginCaller {
 public:
  static constexpr const char* interface_name = "eth0";

  PluginCaller(std::string binary, std::string agent_socket);

  // The addresses the pod got.
  [[nodiscard]] Result<std::vector<IpAddress>> add(const Attachment& attachment) const;
  [[nodiscard]] Result<void> del(const Attachment& attachment) const;
  // Detaches every container of this network but these.
  [[nodiscard]] Result<void> collect_garbage(const std::vector<std::string>& valid_container_ids) const;

 private:
  // What the plugin printed.
  [[nodiscard]] Result<std::string> call(const char* command, const Attachment& attachment,
                                         const std::string& config) const;
  const std::string binary_;
  const std::string socket_;
};

}  // namespace weft::lab
