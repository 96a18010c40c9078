// Identities: the number policy knows a workload by. A label set has one number for as long as it
// is used, the same after a restart. Pure; the store keeps what `allocations()` returns.
#pragma once

#include <bitset>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/labels.h"
#include "base/result.h"
#include "model/objects.h"

namespace weft::control {

using IdentityId = std::uint32_t;  // numbers: abi/endpoint.h

struct Identity {
  IdentityId id = 0;
  // Source-prefixed: "k8s:app=web", "k8s:io.kubernetes.pod.namespace=shop",
  // "k8s:io.cilium.k8s.namespace.labels.<key>" is not used: namespace labels are matched by name.
  LabelMap labels;
  auto operator<=>(const Identity&) const = default;
};

// Labels of a Kubernetes pod as identity labels: each with "k8s:", plus
// "k8s:io.kubernetes.pod.namespace". With named ports among `ports` also
// "k8s:io.weft.named-ports" = "http=80/TCP,metrics=9090/TCP", so that all pods of one identity
// resolve a port's name to the same number and policy may decide by identity. A pod's own label of
// one of these two keys is kept apart under the source "k8s.pod:", so no pod can claim a namespace.
LabelMap identity_labels(const std::string& namespace_, const LabelMap& pod_labels);
LabelMap identity_labels(const std::string& namespace_, const LabelMap& pod_labels,
                         const std::vector<model::ContainerPort>& ports);
// Identity labels of a container no pod object describes: each with "container:".
LabelMap container_identity_labels(const LabelMap& labels);
// The reverse of the first two: namespace (empty when there is none) and plain pod labels.
std::string namespace_of(const LabelMap& identity_labels);
LabelMap pod_labels_of(const LabelMap& identity_labels);
// The named ports among them; what cannot be read of somebody else's labels is left out.
std::vector<model::ContainerPort> named_ports_of(const LabelMap& identity_labels);

class IdentityAllocator {
 public:
  // Numbers 256..65535; a number that was in use is given again only when all others have been.
  // Restored identities have no references. Those that cannot be (number out of range, number or
  // labels twice) are ignored.
  explicit IdentityAllocator(std::vector<Identity> restored = {});

  // The number of this label set, allocating one if there is none; counts a reference. A reserved
  // identity's labels give its number, uncounted. Error: exhausted.
  Result<IdentityId> acquire(const LabelMap& labels);
  // Where the numbers are a cluster's, others choose them: these are its, in place of other labels of that number, and
  // nothing else is allocated. Labels may have two for a while: both mean them, and the one told last is what
  // number_of says. Reserved labels and numbers are ignored.
  void learn(IdentityId id, const LabelMap& labels);
  void forget(IdentityId id);
  // The number of these labels, if they have one; counts nothing.
  [[nodiscard]] std::optional<IdentityId> number_of(const LabelMap& labels) const;
  // Drops a reference; the number stays known until `collect`. Unknown numbers are ignored.
  void release(IdentityId id);
  // Forgets the identities without references and returns them.
  std::vector<Identity> collect();

  [[nodiscard]] const Identity* find(IdentityId id) const;  // reserved ones included
  [[nodiscard]] const std::map<IdentityId, Identity>& all() const { return by_id_; }
  [[nodiscard]] int references(IdentityId id) const;

 private:
  std::map<IdentityId, Identity> by_id_;  // without the reserved ones
  std::map<LabelMap, IdentityId> by_labels_;
  Result<IdentityId> allocate();

  std::map<IdentityId, int> references_;
  std::deque<IdentityId> collected_;  // numbers forgotten by `collect`, oldest first
  IdentityId next_;                   // the lowest number never given
  bool gaps_listed_ = false;          // the numbers a previous process had freed are in collected_
};

// reserved:host, reserved:world, ... in number order.
const std::vector<Identity>& reserved_identities();

// Numbers for the CIDRs that policies name, 1<<24 and up, stable while the CIDR is in use.
class CidrIdentities {
 public:
  explicit CidrIdentities(std::map<Cidr, IdentityId> restored = {});
  // Makes exactly `wanted` known: keeps numbers, allocates new ones, forgets the rest.
  void assign(const std::vector<Cidr>& wanted);
  [[nodiscard]] const std::map<Cidr, IdentityId>& all() const { return ids_; }
  // The identity of the narrowest known CIDR holding the address, 0 when none does.
  [[nodiscard]] IdentityId narrowest(const IpAddress& address) const;
  // The same of a whole block.
  [[nodiscard]] IdentityId narrowest(const Cidr& block) const;

 private:
  void index_lengths();

  std::map<Cidr, IdentityId> ids_;
  std::bitset<129> lengths_[2];  // prefix lengths that occur, IPv4 and IPv6
  IdentityId next_;
};

}  // namespace weft::control
