// This node's part in a cluster of nodes: the connection to etcd, or what stands in for it, what it tells the others
// there, what they tell. It knows nothing of the kernel: the agent takes what is here and compiles it.
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
#include "agent/faults.h"
#include "agent/node.h"
#include "agent/node_health.h"
#include "agent/other_nodes.h"
#include "agent/own_blocks.h"
#include "agent/peer_clocks.h"
#include "agent/removed_nodes.h"
#include "config/agent/config.h"
#include "control/ipam/ipam.h"
#include "sources/cluster/address_claims.h"
#include "sources/cluster/member.h"
#include "sources/etcd/scheduler.h"
#include "sources/kubernetes/http.h"
#include "sources/store/store.h"

namespace weft::agent {

// What this node tells of its keys.
struct EncryptionOffer {
  std::vector<cluster::WireGuardKey> keys;
  unsigned settled = 0;
  bool operator==(const EncryptionOffer&) const = default;
};

// What there is to know of another node to encrypt to it.
struct EncryptionPeer {
  bool alive = false;
  std::vector<IpAddress> underlay;
  std::vector<IpAddress> gateways;
  std::vector<Cidr> blocks;
  std::vector<cluster::WireGuardKey> keys;
  unsigned settled = 0;
};

// What this node finds out about the others by itself.
struct NodesSeen {
  std::map<std::string, std::uint32_t> wireguard;  // devices that encrypt, by node (control::RemoteNode)
  SilentNodes silent;                              // they do not answer its probes
  bool cut_off = false;                            // it hears nothing of etcd: whose lease stands it does not know
  bool operator==(const NodesSeen&) const = default;
};

class ClusterLink {
 public:
  struct Handlers {
    std::function<void()> blocks;  // usable_blocks() or gateways() may be others
    std::function<void()> others;  // news() has some
    // Numbers of label sets; `whole` says that these are all.
    std::function<void(const cluster::IdentityDifference& difference, bool whole)> identities;
    std::function<void()> announcers;  // who announces an address may be another
    // Why this machine itself may be what keeps these servers away (own_reason.h); may be empty.
    std::function<std::string(const std::vector<std::string>& servers)> own_reason;
  };
  using Done = std::function<void(Result<void>)>;

  // Does not wait for etcd. What the node had when it last ran is in the store.
  static Result<std::unique_ptr<ClusterLink>> open(asio::io_context& loop, const Config& config, store::Store& store,
                                                   Faults& faults, const Node& node, Handlers handlers,
                                                   EncryptionOffer offer = {});
  ~ClusterLink();
  ClusterLink(const ClusterLink&) = delete;
  ClusterLink& operator=(const ClusterLink&) = delete;

  // --- This node's addresses
  // Blocks that addresses may be given out of now, by pool; of "default" the gateways' first.
  [[nodiscard]] std::map<std::string, std::vector<Cidr>> usable_blocks() const { return own_.usable(); }
  // All that are this node's, as far as it has heard: its pods have addresses of them.
  [[nodiscard]] std::vector<Cidr> blocks() const { return own_.all(); }
  // First host addresses of the first block of "default" of each family. They stay while any address of such a block is
  // in use.
  [[nodiscard]] const std::map<Family, IpAddress>& gateways() const { return own_.gateways(); }
  // One more block; told when it is usable, or why there is none. Asked for twice it is claimed once; asked for before
  // it is known what this node has, it is answered with what that is.
  void claim(const std::string& pool, Family family, Done done) { own_.claim(pool, family, std::move(done)); }
  // That very block. Refused where it is another node's, which is named.
  void claim(const cluster::Block& block, Done done) { own_.claim(block, std::move(done)); }
  [[nodiscard]] bool claims(const std::string& pool, Family family) const { return own_.claims(pool, family); }
  // While it is held no block of the pool is given back.
  void hold(const std::string& pool) { own_.hold(pool); }
  void let_go(const std::string& pool) { own_.let_go(pool); }
  // Gives back what holds nothing; of "default" all but one block of each family and those of the gateways. Whether
  // usable_blocks() are others now.
  bool release_unused(const control::Ipam& ipam) { return own_.release_unused(ipam); }
  // The node that has it, by the news; empty: none.
  [[nodiscard]] std::string owner_of(const cluster::Block& block) const { return own_.owner_of(block); }
  // All that this node knows; of those alone other nodes have blocks.
  void set_pools(std::vector<cluster::Pool> pools);
  // Whether the cluster has no objects, or none any more, and this node goes on with its own: pools of which it has
  // blocks are brought back.
  void hold_pools(bool held);

  // --- Numbers of label sets
  // Told when this node is listed as a user of the labels' number, which Handlers::identities has told by then. To be
  // released as often.
  void acquire(const LabelMap& labels, Done done);
  void release(const LabelMap& labels);
  // Exactly these are needed by what runs here.
  void need(const std::set<LabelMap>& labels);

  // --- What is told, and heard
  void tell(const Node& node);
  void tell(const Node& node, EncryptionOffer offer);
  void tell(cluster::SharedEndpoints pods);
  void tell(cluster::Enforcement enforcement);
  // Exactly these addresses of egress gateways are to be this node's, each as soon as nobody else has it.
  void claim_addresses(std::set<IpAddress> addresses) { claims_of_addresses_->want(std::move(addresses)); }
  // What is to be taken in since the last call: another view than `have`, pods to look at again, and whether anything
  // was told of nodes.
  struct News {
    std::optional<ClusterView> view;
    OthersChange pods;
    bool nodes = false;
  };
  [[nodiscard]] News news(const Node& node, const NodesSeen& seen, const ClusterView& have);
  // Whether the next news() has what was told of nodes.
  [[nodiscard]] bool nodes_told() const { return plan_due_; }
  [[nodiscard]] const cluster::PodTable& pods() const { return member_->endpoints().pods(); }
  [[nodiscard]] std::map<std::string, EncryptionPeer> encryption_peers();
  // What counts of what others tell of their addresses, as of the last news().
  [[nodiscard]] const std::map<std::string, OtherNode>& others() const { return others_.all(); }

  // Another node that is away will not come back: what it has may go to others once reclaim_seconds have passed.
  void forget_node(const std::string& name, Done done);

  // Once a second: faults that have lasted.
  void check();
  // Why nothing can be agreed on with the others now, and since when; empty: it can, as of the last check().
  [[nodiscard]] std::string absence() const;
  [[nodiscard]] nlohmann::json status_json() const;
  [[nodiscard]] nlohmann::json nodes_json(const ClusterView& view) const;
  // Who does the cluster's duties.
  [[nodiscard]] nlohmann::json operators_json() const;
  // Whether it is a device of another node.
  [[nodiscard]] bool is_node(const MacAddress& mac) const;
  [[nodiscard]] bool joined() const;
  // Nothing is heard of etcd, neither by the lease nor by the watches.
  [[nodiscard]] bool cut_off() const { return deaf_.has_value() || (!joined() && refused_.empty()); }
  // Without etcd for so long that those who have it have forgotten this node, and drop what it sends; absent: it is not
  // so.
  [[nodiscard]] std::optional<Absence> forgotten() const;
  // Whether what others have told is known whole.
  [[nodiscard]] bool synced() const;

  // "etcd", and "etcd (http://...)", for messages.
  [[nodiscard]] std::string_view store_name() const { return config_.store_name(); }
  [[nodiscard]] std::string store_text() const;
  [[nodiscard]] etcd::Client& client() { return *client_; }
  // The API server is found by others than at the start: the store has them by now.
  void servers_changed();
  [[nodiscard]] etcd::Scheduler& scheduler() { return scheduler_; }
  [[nodiscard]] cluster::Member& member() { return *member_; }

 private:
  struct Need {
    bool answered = false;
    bool wanted = true;
  };

  ClusterLink(asio::io_context& loop, const Config& config, store::Store& store, Faults& faults, Handlers handlers);
  Result<void> connect(const Node& node);
  Result<void> connect_store(asio::io_context& loop);
  [[nodiscard]] bool on_kubernetes() const { return config_.store == Config::Store::kubernetes; }
  Result<cluster::MemberOptions> member_options(const Node& node) const;
  [[nodiscard]] cluster::NodeRecord record(const Node& node) const;
  void remember_underlay();
  void others_changed();
  void believe();
  void look_at_others();
  void look_at_records();
  void nodes_changed();
  void hear_clocks(const cluster::NodeDifference& difference);
  void pods_changed(const cluster::EndpointDifference& difference);
  void meaning_changed(const cluster::IdentityDifference& difference);
  [[nodiscard]] control::NodeSelf self(const Node& node) const;
  [[nodiscard]] ClusterView planned(const ClusterView& have);
  void identities_changed(const cluster::IdentityDifference& difference);
  [[nodiscard]] control::RemoteNodes remote_nodes(const std::map<std::string, std::uint32_t>& wireguard) const;
  [[nodiscard]] std::string operator_text() const;
  void listen();
  [[nodiscard]] std::string why_away() const;  // in the store's words

  const Config& config_;
  store::Store& store_;
  Faults& faults_;
  Handlers handlers_;
  etcd::AsioScheduler scheduler_;
  std::unique_ptr<kubernetes::Http> http_;  // of a store that is the API server
  std::unique_ptr<etcd::Client> client_;
  std::vector<std::string> servers_;  // of the store
  std::unique_ptr<cluster::Member> member_;
  std::unique_ptr<cluster::AddressClaims> claims_of_addresses_;

  OwnBlocks own_;
  OtherNodes others_;
  std::vector<cluster::Pool> pools_;
  bool pools_held_ = false;
  bool belief_due_ = true;
  std::set<std::string> unlooked_;  // nodes that have told something since the last check()
  // Nodes that tell what is not believed: since when, and what.
  std::map<std::string, std::pair<std::chrono::steady_clock::time_point, std::string>> left_out_;
  control::NodeNumbers numbers_;
  std::map<std::string, std::uint32_t> stored_numbers_;
  EncryptionOffer offer_;
  cluster::NodeRecord told_;
  std::map<LabelMap, Need> needs_;
  bool identities_whole_ = false;  // told once
  control::NodeSelf planned_for_;
  NodesSeen planned_by_;
  bool plan_due_ = true;
  OthersChange pods_;                                                               // since the last news()
  std::set<cluster::IdentityNumber> other_meaning_;                                 // likewise: of these numbers
  std::uint64_t peers_revision_ = 0;                                                // as of the last news()
  std::chrono::system_clock::time_point since_ = std::chrono::system_clock::now();  // joined or away
  std::chrono::steady_clock::time_point away_since_ = std::chrono::steady_clock::now();
  std::string why_away_;
  std::string remedy_;  // of that
  // etcd's watches are broken, though the lease may stand; as of the last check().
  struct Deaf {
    std::chrono::steady_clock::time_point at;
    std::chrono::system_clock::time_point since;
  };
  std::optional<Deaf> deaf_;
  std::set<std::string> foreign_objects_;  // told once each
  bool left_ = false;                      // it was joined before
  bool heard_ = false;                     // the watches stood since it joined: they come back a while after the lease
  std::string refused_;                    // why another agent keeps this one out; empty: none does
  PeerClocks clocks_;
  RemovedNodes removed_;
};

}  // namespace weft::agent
