// The pods of all nodes, each held once and packed: a node that knows fifty thousand of them looks at few, and seldom.
// A list of a node is some kilobytes of bytes; two indexes lead from a name or an address to the nodes that told it.
//
// Which addresses are a node's to tell is for others to say (believe): those that are not are counted, and looked at no
// further.
//
// A value: it knows nothing of etcd. Owner thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sources/cluster/hash_slots.h"
#include "sources/cluster/shared_endpoints.h"

namespace weft::cluster {

// A pod, and the node that told of it.
struct ToldPod {
  std::string node;
  PodName name;
  SharedEndpoint told;
  bool operator==(const ToldPod&) const = default;
};

// From one list of a node's pods to the next.
struct PodsDifference {
  SharedEndpoints set;  // new, or another than before
  std::vector<PodName> gone;
  std::vector<IpAddress> left;  // that those of `set` and `gone` had before
  [[nodiscard]] bool empty() const { return set.empty() && gone.empty(); }
};

class PodTable {
 public:
  // Pods of the node `self` are in the table, but are no others'.
  explicit PodTable(std::string self) : self_(std::move(self)) {}

  // Whether a pod of another node may have the address; `host_network`: one that has the node's own. Until this is said
  // every pod may have any.
  using Owns = std::function<bool(const std::string& node, const IpAddress& address, bool host_network)>;
  void believe(Owns owns) { owns_ = std::move(owns); }

  // Some of a node's pods, which it tells together.
  struct Slice {
    unsigned number = 0;
    SharedEndpoints pods;
  };
  // These are the node's slices of those numbers from now on; the others stay. Of a pod that is in several the one of
  // the highest number counts.
  PodsDifference replace_slices(const std::string& node, const std::vector<Slice>& slices);
  PodsDifference replace(const std::string& node, SharedEndpoints pods) {
    return replace_slices(node, {{.number = 0, .pods = std::move(pods)}});
  }

  // As the node told them, whatever is believed.
  [[nodiscard]] SharedEndpoints pods_of(const std::string& node) const;
  [[nodiscard]] SharedEndpoints pods_of(const std::string& node, unsigned slice) const;
  [[nodiscard]] std::size_t count_of(const std::string& node) const;
  [[nodiscard]] std::size_t size() const { return names_.size(); }

  // What is not believed of what the node tells.
  void each_disowned(const std::string& node,
                     const std::function<void(const PodName& pod, const IpAddress& address)>& see) const;

  // Of other nodes, with the addresses that are believed; a pod may have none.
  void each(const std::function<void(const ToldPod& pod)>& see) const;
  // Those that told a pod of this name, by node: more than one while it moves.
  [[nodiscard]] std::vector<ToldPod> named(const PodName& name) const;
  [[nodiscard]] bool told_once(const PodName& name) const;  // may be false where it was
  // Who has the address for itself: by name, then by node, and more than one only while something is wrong.
  [[nodiscard]] std::vector<ToldPod> at(const IpAddress& address) const;
  // The identities they have, and how often: of those that have addresses of their own, and of those that have not.
  using Identities = std::map<IdentityNumber, std::uint32_t>;
  [[nodiscard]] const Identities& identities() const { return identities_; }
  [[nodiscard]] const Identities& host_identities() const { return host_identities_; }
  // Grows when there is one more or one less of them.
  [[nodiscard]] std::uint64_t identities_revision() const { return identities_revision_; }

 private:
  struct List {
    std::string node;    // empty: a place that is free
    std::string packed;  // by name, and of one name by slice, the highest first
    std::uint32_t count = 0;
  };

  std::uint32_t place_of(const std::string& node);
  void file(std::uint32_t place, const PodName& name, const SharedEndpoint& pod);
  void unfile(std::uint32_t place, const PodName& name, const SharedEndpoint& pod);
  void count(std::uint32_t place, const SharedEndpoint& pod, int change);
  void disown(const std::string& node, SharedEndpoint& pod) const;
  [[nodiscard]] std::vector<std::uint32_t> places(const HashSlots& index, std::uint32_t hash) const;

  std::string self_;
  Owns owns_;
  std::vector<List> lists_;
  std::vector<std::uint32_t> free_;
  std::map<std::string, std::uint32_t, std::less<>> place_of_;
  HashSlots names_;      // of all nodes
  HashSlots addresses_;  // likewise
  Identities identities_;
  Identities host_identities_;
  std::uint64_t identities_revision_ = 0;
};

}  // namespace weft::cluster
