#include "agent/service_trace.h"

#include <arpa/inet.h>

#include "agent/flow_tuple.h"
#include "datapath/rows.h"

namespace weft::agent {
namespace {

using datapath::from_abi;

std::string state_of(const weft_flow& flow) {
  if ((flow.flags & WEFT_FLOW_CLOSED) != 0) return "closed";
  if ((flow.flags & WEFT_FLOW_RESET) != 0) return "reset";
  return (flow.flags & WEFT_FLOW_OPENING) != 0 ? "opening" : "open";
}

template <class Key>
TracedFlow traced(const Key& key, const weft_flow& flow) {
  TracedFlow result;
  result.client = from_abi(address_of(key.saddr));
  result.client_port = ntohs(key.sport);
  result.destination = from_abi(address_of(key.daddr));
  result.destination_port = ntohs(key.dport);
  result.protocol = static_cast<Protocol>(key.protocol);
  result.service_id = flow.service_id;
  result.backend_id = flow.backend_id;
  if ((flow.flags & WEFT_FLOW_SNAT) != 0) {
    result.source_after = from_abi(flow.src_addr);
    result.source_port_after = ntohs(flow.src_port);
  }
  result.out_ifindex = flow.out_ifindex;
  result.exit = flow.exit;
  result.encapsulation = flow.encapsulation;
  result.external = (flow.flags & WEFT_FLOW_EXTERNAL) != 0;
  result.state = state_of(flow);
  result.packets = flow.packets;
  result.bytes = flow.bytes;
  result.created = flow.created;
  return result;
}

template <class Key>
Result<void> collect(bpfrt::RawMap& raw, const FlowFilter& filter, TracedFlows& result) {
  const bpfrt::Map<Key, weft_flow> map(raw);
  std::vector<Key> peers;
  const auto first = result.flows.size();
  WEFT_CHECK(map.for_each([&](const Key& key, const weft_flow& flow) {
    if ((flow.flags & WEFT_FLOW_REPLY) != 0 || !filter.services.contains(flow.service_id)) return true;
    if (filter.client && from_abi(address_of(key.saddr)) != *filter.client) return true;
    if (result.flows.size() >= filter.limit) {
      result.more = true;
      return false;
    }
    result.flows.push_back(traced(key, flow));
    peers.push_back(peer_of(key, flow));
    return true;
  }));
  for (std::size_t i = 0; i < peers.size(); ++i) {
    const auto reply = map.lookup(peers[i]);
    if (!reply || !*reply) continue;
    result.flows[first + i].reply_packets = (*reply)->packets;
    result.flows[first + i].reply_bytes = (*reply)->bytes;
  }
  return {};
}

}  // namespace

Result<TracedFlows> flows_of_service(bpfrt::RawMap& v4, bpfrt::RawMap& v6, const FlowFilter& filter) {
  TracedFlows result;
  WEFT_CHECK(collect<weft_flow_key_v4>(v4, filter, result));
  if (!result.more) WEFT_CHECK(collect<weft_flow_key_v6>(v6, filter, result));
  return result;
}

}  // namespace weft::agent
