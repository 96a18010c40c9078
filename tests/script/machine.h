// A node without a kernel: what weftd wires between manifests and maps, over maps in memory and a
// store in a file. `restart` is the end of the process: only the maps and the file stay.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/node.h"
#include "agent/objects.h"
#include "agent/publisher.h"
#include "config/agent/config.h"
#include "control/ipam/ipam.h"
#include "datapath/testing.h"
#include "sources/store/store.h"

namespace weft::script {

class Machine {
 public:
  Machine(agent::Config config, const std::map<std::string, std::uint32_t>& map_sizes);
  ~Machine();

  // All or nothing, as the API's apply.
  Result<std::vector<std::string>> apply(const std::string& file, const std::string& yaml);
  Result<void> remove(const store::StoredKey& key);
  Result<std::vector<IpAddress>> attach(const model::ObjectKey& pod);
  Result<void> detach(const model::ObjectKey& pod);
  Result<void> restart();
  // Goes on with writes that are owed, for at most ten seconds.
  Result<void> converge();

  [[nodiscard]] datapath::testing::FakeMaps& maps() { return maps_; }
  [[nodiscard]] const agent::Compiler& compiler() const { return publisher_->compiler(); }
  [[nodiscard]] const control::ServiceCompiler& services() const { return publisher_->services(); }
  [[nodiscard]] const control::Ipam& ipam() const { return *ipam_; }
  [[nodiscard]] const agent::Node& node() const { return node_; }
  // Addresses of an attached pod, empty when it is none.
  [[nodiscard]] std::vector<IpAddress> addresses(const model::ObjectKey& pod) const;

 private:
  Result<void> start();
  Result<void> publish();
  void take_pools();
  [[nodiscard]] std::string pool_users(const std::string& pool) const;

  agent::Config config_;
  std::filesystem::path directory_;
  datapath::testing::FakeMaps maps_;
  agent::Node node_;
  std::optional<store::Store> store_;
  std::optional<agent::Objects> objects_;
  std::optional<control::Ipam> ipam_;
  std::unique_ptr<datapath::Tables> tables_;
  std::unique_ptr<agent::Publisher> publisher_;
  std::map<store::EndpointKey, store::EndpointRecord> records_;
};

}  // namespace weft::script
