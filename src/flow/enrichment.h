// Who addresses, identities, rules and services are, as tables the agent hands over. A table is
// immutable; the agent replaces those that changed. Flows share the table's entries, so an entry
// lives as long as a flow that names it, and later changes do not rewrite history. Services are many and
// few of them have flows: they are asked for one by one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ip.h"

namespace weft::flow {

enum class PeerKind : std::uint8_t { unknown, pod, host, world, cidr };
std::string_view to_string(PeerKind kind);

struct Party {
  PeerKind kind = PeerKind::unknown;
  std::string namespace_;
  std::string pod;
  std::string workload;
  std::uint32_t identity = 0;
  std::vector<IpAddress> addresses;  // of a pod; the source of a translated socket is known by its endpoint only
  bool operator==(const Party&) const = default;
};

struct IdentityInfo {
  std::vector<std::string> labels;  // "k8s:app=web"
  bool operator==(const IdentityInfo&) const = default;
};

struct RuleInfo {
  std::string kind = "rule";           // as docs/api.md names them
  std::string direction;               // "ingress", "egress"
  std::string policy;                  // "ns/name"; empty: null
  int index = -1;                      // -1: null
  std::vector<std::string> isolating;  // "ns/name"
  std::string file;                    // empty: location is null
  int line = 0;
  std::string text;
  bool operator==(const RuleInfo&) const = default;
};

struct ServiceInfo {
  std::string namespace_;
  std::string name;
  std::string port_name;
  IpAddress address;
  std::uint16_t port = 0;
  bool operator==(const ServiceInfo&) const = default;
};

template <class Key, class Value>
using Table = std::unordered_map<Key, std::shared_ptr<const Value>>;

using AddressTable = Table<IpAddress, Party>;
using EndpointTable = Table<std::uint32_t, Party>;
using IdentityTable = Table<std::uint32_t, IdentityInfo>;
using RuleTable = Table<std::uint32_t, RuleInfo>;
using NodeTable = Table<std::uint32_t, std::string>;  // names by weft_event.egress_node, this node's among them
using FindParty = std::function<std::shared_ptr<const Party>(const IpAddress& address)>;  // null: not known
using FindService = std::function<std::shared_ptr<const ServiceInfo>(std::uint32_t id)>;  // null: not known

// Puts a value into the next table, sharing the previous table's equal entry: old flows and new
// ones then keep one copy between them. `previous` may be null.
template <class Key, class Value>
void put(Table<Key, Value>& next, const Table<Key, Value>* previous, const Key& key, Value value) {
  if (previous != nullptr)
    if (auto found = previous->find(key); found != previous->end() && *found->second == value) {
      next[key] = found->second;
      return;
    }
  next[key] = std::make_shared<const Value>(std::move(value));
}

// Cheap to copy; any of it may be null.
struct Enrichment {
  std::shared_ptr<const AddressTable> addresses;
  std::shared_ptr<const EndpointTable> endpoints;
  std::shared_ptr<const IdentityTable> identities;
  std::shared_ptr<const RuleTable> rules;
  std::shared_ptr<const NodeTable> nodes;
  FindParty find_elsewhere;  // asked for addresses that `addresses` has not
  FindService find_service;
};

}  // namespace weft::flow
