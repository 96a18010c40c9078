// Private to this room: the datapath's objects on their way into the kernel, and the maps they share.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bpfrt/map.h"
#include "bpfrt/object.h"
#include "datapath/datapath.h"

namespace weft::datapath {

class Objects {
 public:
  // `pins`: where the shared maps are pinned; it exists.
  Objects(const Options& options, std::string pins) : options_(options), pins_(std::move(pins)) {}

  // Loads "pod", "host", "socket" or "xdp", each on a thread of its own: the verifier's work on them takes a
  // second of CPU time in all. Those that failed, with why.
  using Failures = std::map<std::string, Error>;
  Failures load(const std::vector<std::string>& hooks);

  [[nodiscard]] bool has(const std::string& hook) const { return objects_.contains(hook); }
  [[nodiscard]] Result<int> program(const std::string& hook, const std::string& name) const;
  // Maps by name; null when no loaded object has it.
  [[nodiscard]] bpfrt::RawMap* map(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> map_names() const;

 private:
  Result<bpfrt::Object> open(const std::string& hook) const;
  Result<void> make_maps(const std::string& hook) const;
  Result<void> keep(const std::string& hook, bpfrt::Object object);

  Options options_;
  std::string pins_;
  std::map<std::string, bpfrt::Object> objects_;  // by hook
  std::map<std::string, std::unique_ptr<bpfrt::RawMap>> maps_;
};

}  // namespace weft::datapath
