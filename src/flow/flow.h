// One flow event with who and why resolved: about 350 bytes, the names shared between flows.
#pragma once

#include <cstdint>
#include <memory>

#include "abi/event.h"
#include "flow/enrichment.h"
#include "flow/time.h"

namespace weft::flow {

struct Side {
  std::shared_ptr<const Party> party;          // null: nobody known
  std::shared_ptr<const IdentityInfo> labels;  // null: none known
  std::uint32_t identity = 0;
  PeerKind kind = PeerKind::unknown;
};

struct Flow {
  std::uint64_t sequence = 0;     // from 1, without gaps
  std::uint64_t lost_before = 0;  // events the kernel could not deliver before this one
  Nanoseconds time = 0;           // wall clock
  weft_event event{};
  Side source;
  // Who received it: for a service the backend; event.daddr and dport stay the service's.
  Side destination;
  std::shared_ptr<const Party> backend;
  std::shared_ptr<const ServiceInfo> service;
  std::shared_ptr<const std::string> egress_node;  // the gateway it leaves the cluster by
  std::shared_ptr<const RuleInfo> egress_rule;
  std::shared_ptr<const RuleInfo> ingress_rule;
};

// Resolves everything but sequence, lost_before and time. For TRANSLATED the source address, which
// the socket hook does not know, is filled in from the endpoint.
Flow enrich(const weft_event& event, const Enrichment& enrichment);

}  // namespace weft::flow
