// This node's part in a cluster of nodes: the connection to etcd, what it tells the others there, what they tell. It
// knows nothing of the kernel: the agent takes what is here and compiles it.
//
// Without etcd everything stays as it was last heard. On the agent's thread; handlers run there, never inside a call.
#pragma once

#include <asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/cluster_view.h"
#include "agent/config.h"
#include "agent/faults.h"
#include "agent/node.h"
#include "control/ipam/ipam.h"
#include "sources/cluster/member.h"
#include "sources/etcd/scheduler.h"
#include "sources/store/store.h"

namespace weft::agent {

class ClusterLink {
 public:
  struct Handlers {
    std::function<void()> blocks;  // usable_blocks() or gateways() may be others
    std::function<void()> others;  // news() has some
    // Numbers of label sets; `whole` says that these are all.
    std::function<void(const cluster::IdentityDifference& difference, bool whole)> identities;
  };
  using Done = std::function<void(Result<void>)>;

  // Does not wait for etcd. What the node had when it last ran is in the store.
  static Result<std::unique_ptr<ClusterLink>> open(asio::io_context& loop, const Config& config, store::Store& store,
                                                   Faults& faults, const Node& node, Handlers handlers);
  ~ClusterLink();
  ClusterLink(const ClusterLink&) = delete;
  ClusterLink& operator=(const ClusterLink&) = delete;

  // --- This node's addresses
  // Blocks that addresses may be given out of now, the gateways' first.
  [[nodiscard]] std::vector<Cidr> usable_blocks() const;
  // First host addresses of the first block of each family. They stay while any address of such a block is in use.
  [[nodiscard]] const std::map<Family, IpAddress>& gateways() const { return gateways_; }
  // One more block; told when it is usable, or why there is none. Asked for twice it is claimed once.
  void claim(Family family, Done done);
  [[nodiscard]] bool claims(Family family) const;
  // Gives back what holds nothing, keeping one block of each family and those of the gateways.
  void release_unused(const control::Ipam& ipam);

  // --- Numbers of label sets
  // Told when this node is listed as a user of the labels' number, which Handlers::identities has told by then. To be
  // released as often.
  void acquire(const LabelMap& labels, Done done);
  void release(const LabelMap& labels);
  // Exactly these are needed by what runs here.
  void need(const std::set<LabelMap>& labels);

  // --- What is told, and heard
  void tell(const Node& node);
  void tell(cluster::SharedEndpoints pods);
  // What is to be taken in since the last call: another view than `have`, pods to look at again, and whether anything
  // was told of nodes.
  struct News {
    std::optional<ClusterView> view;
    OthersChange pods;
    bool nodes = false;
  };
  [[nodiscard]] News news(const Node& node, const ClusterView& have);
  [[nodiscard]] const cluster::PodTable& pods() const { return member_->endpoints().pods(); }

  // Once a second: faults that have lasted.
  void check();
  [[nodiscard]] nlohmann::json status_json() const;
  [[nodiscard]] nlohmann::json nodes_json(const ClusterView& view) const;
  [[nodiscard]] bool joined() const;
  // Whether what others have told is known whole.
  [[nodiscard]] bool synced() const;

  [[nodiscard]] etcd::Client& client() { return *client_; }
  [[nodiscard]] etcd::Scheduler& scheduler() { return scheduler_; }
  [[nodiscard]] cluster::Member& member() { return *member_; }

 private:
  struct Need {
    bool answered = false;
    bool wanted = true;
  };

  ClusterLink(asio::io_context& loop, const Config& config, store::Store& store, Faults& faults, Handlers handlers);
  Result<void> connect(const Node& node);
  Result<cluster::MemberOptions> member_options(const Node& node) const;
  [[nodiscard]] cluster::NodeRecord record(const Node& node) const;
  void blocks_changed();
  void choose_gateways();
  void lost(const std::vector<cluster::Block>& blocks);
  void others_changed();
  void nodes_changed();
  void pods_changed(const cluster::EndpointDifference& difference);
  void meaning_changed(const cluster::IdentityDifference& difference);
  [[nodiscard]] control::NodeSelf self(const Node& node) const;
  void identities_changed(const cluster::IdentityDifference& difference);
  [[nodiscard]] control::RemoteNodes remote_nodes() const;

  const Config& config_;
  store::Store& store_;
  Faults& faults_;
  Handlers handlers_;
  etcd::AsioScheduler scheduler_;
  std::unique_ptr<etcd::Client> client_;
  std::unique_ptr<cluster::Member> member_;

  std::vector<cluster::Block> remembered_;  // as in the store
  std::map<Family, IpAddress> gateways_;
  control::NodeNumbers numbers_;
  std::map<std::string, std::uint32_t> stored_numbers_;
  cluster::NodeRecord told_;
  std::map<Family, std::vector<Done>> claims_;
  std::map<LabelMap, Need> needs_;
  bool identities_whole_ = false;  // told once
  control::NodeSelf planned_for_;
  bool plan_due_ = true;
  OthersChange pods_;                                                               // since the last news()
  std::set<cluster::IdentityNumber> other_meaning_;                                 // likewise: of these numbers
  std::uint64_t peers_revision_ = 0;                                                // as of the last news()
  std::chrono::system_clock::time_point since_ = std::chrono::system_clock::now();  // joined or away
  std::chrono::steady_clock::time_point away_since_ = std::chrono::steady_clock::now();
  std::string why_away_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // tasks that were posted do not run once this is gone
};

}  // namespace weft::agent
