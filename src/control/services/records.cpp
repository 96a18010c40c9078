#include "control/services/records.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "control/services/maglev.h"

namespace weft::control::services {
namespace {

std::uint32_t mix(std::size_t value) {
  const auto wide = static_cast<std::uint64_t>(value) * 0x9e3779b97f4a7c15ULL;
  return static_cast<std::uint32_t>(wide >> 32U);
}

template <class T>
bool equal(const std::unique_ptr<T>& a, const std::unique_ptr<T>& b) {
  return a == nullptr || b == nullptr ? a == b : *a == *b;
}

std::vector<Name> intern(NamePool& names, const std::vector<std::string>& texts) {
  std::vector<Name> result;
  result.reserve(texts.size());
  for (const auto& text : texts) result.push_back(names.intern(text));
  return result;
}

// Sorted, a port and protocol at most once.
std::vector<RecordPort> ports_of(NamePool& names, const model::Service& service) {
  std::vector<RecordPort> ports;
  ports.reserve(service.ports.size());
  const auto order = [](const RecordPort& port) { return std::tuple(port.port, port.protocol); };
  for (const auto& port : service.ports) {
    if (port.port == 0) continue;
    RecordPort record{names.intern(port.name), {}, port.port, port.port, port.protocol};
    if (const auto* name = std::get_if<std::string>(&port.target_port))
      record.target_name = names.intern(*name);
    else if (const auto number = std::get<std::uint16_t>(port.target_port); number != 0)
      record.target = number;
    ports.push_back(std::move(record));
  }
  std::ranges::stable_sort(ports, {}, order);
  const auto rest = std::ranges::unique(ports, {}, order);
  ports.erase(rest.begin(), rest.end());
  return ports;
}

ServiceExtras extras_of(NamePool& names, const model::Service& service) {
  ServiceExtras extras;
  extras.external_ips = service.external_ips;
  if (service.type == model::Service::Type::load_balancer) {
    extras.ingress_given = !service.ingress.empty();
    for (const auto& ingress : service.ingress)
      if (!ingress.proxy) extras.ingress.push_back(ingress.address);
    extras.source_ranges = service.source_ranges;
  }
  if (service.local_redirect) extras.redirect = intern(names, *service.local_redirect);
  return extras;
}

}  // namespace

bool ServiceRecord::operator==(const ServiceRecord& other) const {
  const auto rest = [](const ServiceRecord& record) {
    return std::tie(record.type, record.served, record.publish_not_ready, record.external_local, record.internal_local,
                    record.asks_v4, record.asks_v6, record.algorithm, record.forwarding, record.affinity_seconds,
                    record.table_size, record.ports, record.selector);
  };
  return rest(*this) == rest(other) && equal(extras, other.extras);
}

bool EndpointRecord::operator==(const EndpointRecord& other) const {
  const auto rest = [](const EndpointRecord& record) {
    return std::tie(record.address, record.pod, record.node, record.weight, record.conditions);
  };
  return rest(*this) == rest(other) && equal(hints, other.hints);
}

bool PortState::has_external() const {
  return std::ranges::any_of(
      frontends, [](const Frontend& frontend) { return frontend.won && frontend.kind != FrontendKind::cluster_ip; });
}

void Held::set(ServiceAssignment assignment) {
  address_ = {};
  for (std::size_t i = 0; i < std::min(assignment.cluster_ips.size(), address_.size()); ++i)
    address_[i] = assignment.cluster_ips[i];
  assignment.cluster_ips.clear();
  rest_ = assignment.empty() ? nullptr : std::make_unique<ServiceAssignment>(std::move(assignment));
}

ServiceAssignment Held::get() const {
  ServiceAssignment result;
  if (rest_ != nullptr) result = *rest_;
  for (const auto& address : address_)
    if (!address.is_unspecified()) result.cluster_ips.push_back(address);
  return result;
}

ServiceRecord record_of(NamePool& names, const model::Service& service, const ServiceOptions& options) {
  ServiceRecord record;
  record.type = service.type;
  record.served =
      !service.headless && service.type != model::Service::Type::external_name && service.proxy_name.empty();
  record.publish_not_ready = service.publish_not_ready;
  record.external_local = service.external_local;
  record.internal_local = service.internal_local;
  record.asks_v4 = std::ranges::find(service.families, Family::v4) != service.families.end();
  record.asks_v6 = std::ranges::find(service.families, Family::v6) != service.families.end();
  record.algorithm = service.algorithm.value_or(options.algorithm);
  record.forwarding = service.forwarding.value_or(options.forwarding);
  record.affinity_seconds = service.affinity_seconds;
  if (record.algorithm == model::Algorithm::maglev || record.algorithm == model::Algorithm::source_hash)
    record.table_size =
        prime_from(service.maglev_table_size != 0 ? service.maglev_table_size : options.maglev_table_size);
  record.ports = ports_of(names, service);
  if (service.selector) record.selector = intern(names, *service.selector);
  auto extras = extras_of(names, service);
  if (!extras.empty()) record.extras = std::make_unique<ServiceExtras>(std::move(extras));
  return record;
}

SliceRecord record_of(NamePool& names, const model::EndpointSlice& slice, const Name& service) {
  SliceRecord record;
  record.service = service;
  record.ports.reserve(slice.ports.size());
  for (const auto& port : slice.ports)
    if (port.port != 0) record.ports.push_back({names.intern(port.name), port.port, port.protocol});
  record.endpoints.reserve(slice.endpoints.size());
  for (const auto& endpoint : slice.endpoints) {
    if (endpoint.addresses.empty() || endpoint.addresses.front().family() != slice.family) continue;
    auto& added = record.endpoints.emplace_back();
    added.address = endpoint.addresses.front();
    added.pod = names.intern(endpoint.target_pod);
    added.node = names.intern(endpoint.node);
    if (!endpoint.hint_zones.empty() || !endpoint.hint_nodes.empty())
      added.hints = std::make_unique<EndpointHints>(
          EndpointHints{intern(names, endpoint.hint_zones), intern(names, endpoint.hint_nodes)});
    added.weight = static_cast<std::uint16_t>(std::min(endpoint.weight, 65535U));
    if (endpoint.ready) added.conditions |= backend_ready;
    if (endpoint.serving) added.conditions |= backend_serving;
    if (endpoint.terminating) added.conditions |= backend_terminating;
  }
  return record;
}

PodRecord record_of(NamePool& names, const ServicePod& pod) {
  PodRecord record;
  record.labels = intern(names, pod.labels);
  record.ports.reserve(pod.ports.size());
  for (const auto& port : pod.ports) record.ports.push_back({names.intern(port.name), port.port, port.protocol});
  record.addresses = pod.addresses;
  record.host_ports = pod.host_ports;
  record.node = names.intern(pod.node);
  record.weight = static_cast<std::uint16_t>(std::min(pod.weight, 65535U));
  record.ready = pod.ready;
  record.terminating = pod.terminating;
  return record;
}

std::uint32_t hash_of(const Key& key) { return mix(KeyHash()(key)); }
std::uint32_t hash_of(const Name& namespace_, const LabelPair& pair) {
  return mix((namespace_.hash() * 31 + pair.key.hash()) * 31 + pair.value.hash());
}
std::uint32_t hash_of(const IpAddress& address) { return mix(std::hash<IpAddress>{}(address)); }

weft_addr addr_of(const IpAddress& address) {
  weft_addr result{};
  static_assert(sizeof result.word == sizeof(IpAddress::Bytes));
  std::memcpy(result.word, address.bytes().data(), sizeof result.word);
  return result;
}

weft_service row_of(const PortState& state, FrontendKind kind) {
  weft_service row{};
  row.service_id = state.id;
  row.affinity_seconds = state.affinity_seconds;
  row.algorithm = static_cast<std::uint8_t>(state.algorithm);
  row.forwarding = static_cast<std::uint8_t>(state.forwarding);
  auto internal = state.cluster;
  auto external = state.cluster;
  if (kind == FrontendKind::cluster_ip) {
    // Who comes to a ClusterIP is inside, by which path ever. The external run is for the redirect's own pods.
    internal = external = state.internal_local ? state.local : state.cluster;
    if (state.redirect.count != 0) {
      internal = state.redirect;
      row.flags |= WEFT_SERVICE_LOCAL_REDIRECT;
    }
  } else {
    // Clients on the node reach all endpoints, as though they had gone out to a balancer and come back.
    row.flags |= WEFT_SERVICE_EXTERNAL;
    if (state.external_local) {
      external = state.local;
      row.flags |= WEFT_SERVICE_EXTERNAL_LOCAL;
    }
    if (kind == FrontendKind::load_balancer && state.source_ranges != nullptr) row.flags |= WEFT_SERVICE_SOURCE_RANGES;
  }
  row.first_slot = internal.first;
  row.slot_count = internal.count;
  row.external_first_slot = external.first;
  row.external_slot_count = external.count;
  return row;
}

weft_backend row_of(const PortState& state, const Backend& backend) {
  weft_backend row{};
  row.addr = addr_of(backend.address);
  row.port = htons(backend.port);
  row.protocol = static_cast<std::uint8_t>(state.protocol);
  const bool in_run = (backend.bits & (backend_in_cluster | backend_in_local | backend_in_redirect)) != 0;
  row.state = in_run ? WEFT_BACKEND_ACTIVE : WEFT_BACKEND_DRAINING;
  row.service_id = state.id;
  row.flags = backend.has(backend_local) ? WEFT_BACKEND_LOCAL : 0;
  return row;
}

weft_service_key key_of(const Frontend& frontend, Protocol protocol) {
  weft_service_key key{};
  key.addr = addr_of(frontend.address);
  key.port = htons(frontend.port);
  key.protocol = static_cast<std::uint8_t>(protocol);
  return key;
}

weft_source_range_key range_key_of(std::uint32_t service_id, const Cidr& cidr) {
  weft_source_range_key key{};
  key.prefix_length = 32 + cidr.mapped_length();
  key.service_id = service_id;
  key.addr = addr_of(cidr.address());
  return key;
}

}  // namespace weft::control::services
