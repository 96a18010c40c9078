#include "agent/attachment.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "agent/ipam_time.h"

namespace weft::agent {
namespace {

using nlohmann::json;
using store::EndpointState;

// 0a:58 and the IPv4 address, or the last four bytes of the IPv6 one: unique on the node.
MacAddress mac_of(const IpAddress& address) {
  MacAddress mac{{0x0a, 0x58, 0, 0, 0, 0}};
  std::copy(address.bytes().end() - 4, address.bytes().end(), mac.bytes.begin() + 2);
  return mac;
}

unsigned host_length(const IpAddress& address) { return address.is_v4() ? 32 : 128; }

std::string device_name(std::uint32_t endpoint_id) { return fmt::format("weft{:x}", endpoint_id + 0x1000); }

Cidr everything(Family family) { return family == Family::v4 ? *Cidr::parse("0.0.0.0/0") : *Cidr::parse("::/0"); }

std::vector<store::AllocationRow> allocation_rows(const store::EndpointRecord& record) {
  std::vector<store::AllocationRow> rows;
  for (const auto& address : record.addresses) rows.push_back({address, record.key.owner()});
  return rows;
}

std::vector<store::QuarantineRow> quarantine_rows(const control::Ipam& ipam, const std::vector<IpAddress>& addresses) {
  std::vector<store::QuarantineRow> rows;
  for (const auto& entry : ipam.quarantined())
    if (std::ranges::find(addresses, entry.address) != addresses.end()) rows.push_back({entry.address, entry.until});
  return rows;
}

}  // namespace

Attachment::Attachment(store::Store& store, sys::Netlink& netlink, PodKernel& pods, control::Ipam& ipam,
                       Publish publish)
    : store_(store), netlink_(netlink), pods_(pods), ipam_(ipam), publish_(std::move(publish)) {}

std::uint32_t Attachment::free_endpoint_id() const {
  std::set<std::uint32_t> used;
  for (const auto& [key, record] : records_) used.insert(record.endpoint_id);
  auto id = used.empty() ? 2U : *used.rbegin() + 1;
  if (id > 0xffff) {
    id = 2;
    while (used.contains(id)) ++id;
  }
  return id;
}

bool Attachment::device_alive(const store::EndpointRecord& record) {
  const auto device = netlink_.device(record.device);
  return device && static_cast<std::uint32_t>(device->index) == record.ifindex;
}

json Attachment::result_of(const store::EndpointRecord& record, std::uint32_t mtu) const {
  json result{
      {"interfaces", json::array()}, {"ips", json::array()}, {"routes", json::array()}, {"dns", json::object()}};
  result["interfaces"].push_back({{"name", record.device}, {"mac", gateway_mac.to_string()}, {"mtu", mtu}});
  result["interfaces"].push_back(
      {{"name", record.key.ifname}, {"mac", record.mac.to_string()}, {"mtu", mtu}, {"sandbox", record.netns_path}});
  for (const auto& address : record.addresses) {
    const auto gateway = ipam_.gateway(address.family());
    json ip{{"address", Cidr(address, host_length(address)).to_string()}, {"interface", 1}};
    if (gateway) ip["gateway"] = gateway->to_string();
    result["ips"].push_back(ip);
    json route{{"dst", everything(address.family()).to_string()}};
    if (gateway) route["gw"] = gateway->to_string();
    result["routes"].push_back(route);
  }
  return result;
}

// An ADD that was carried out before: its answer again as long as nobody has acknowledged it.
Result<json> Attachment::repeat(const store::EndpointRecord& record, const AttachRequest& request) {
  if (record.acknowledged)
    return fail(ErrorCode::exists,
                fmt::format("container {} has interface {} already (endpoint {})", request.key.container_id,
                            request.key.ifname, record.endpoint_id),
                "call DEL before attaching it again");
  return json::parse(record.result, nullptr, false);
}

Result<json> Attachment::add(const AttachRequest& request) {
  if (request.netns.empty()) return fail(ErrorCode::invalid, "netns is missing");
  if (reaper_) reaper_->give_way();
  WEFT_TRY(const auto netns, pods_.open_netns(request.netns));
  WEFT_TRY(const auto cookie, pods_.netns_cookie(netns.get()));
  if (cookie == node_netns_)
    return fail(ErrorCode::invalid, fmt::format("CNI_NETNS: {} is the node's own network namespace", request.netns),
                "a container that shares the node's network is not attached");
  if (const auto known = records_.find(request.key); known != records_.end()) {
    const auto& record = known->second;
    if (record.state == EndpointState::ready && record.netns_cookie == cookie && device_alive(record))
      return repeat(record, request);
    // Left from a crash, or from a container that came back in another namespace.
    if (record.state != EndpointState::deleting) WEFT_CHECK(release(request.key));
    reaper_->wait_for(request.key);
    WEFT_CHECK(finish_removal(request.key));
  }
  if (admit_) WEFT_CHECK(admit_(request));
  WEFT_CHECK(make_way(cookie, request.key.ifname));
  ipam_.expire(ipam_now());
  store::EndpointRecord record;
  record.netns_cookie = cookie;
  WEFT_CHECK(make_record(request, netns.get(), record));
  done("record-stored");
  const auto mtu = request.mtu != 0 ? std::min(request.mtu, pod_mtu_) : pod_mtu_;
  const auto give_up = [&](const Error& error) {
    undo(record);
    return weft::fail(error);
  };
  if (auto made = make_devices(record, netns.get(), mtu); !made) return give_up(made.error());
  records_[record.key] = record;
  done("device-made");
  if (auto published = publish_(); !published) return give_up(published.error());
  done("maps-written");
  // The maps know the pod before its first packet can leave.
  if (auto attached = pods_.attach_programs(record.ifindex); !attached) return give_up(attached.error());
  done("programs-attached");
  if (auto configured = configure_pod(record, netns.get()); !configured) return give_up(configured.error());
  done("pod-configured");
  if (auto configured = configure_host(record); !configured) return give_up(configured.error());
  done("host-configured");
  auto result = result_of(record, mtu);
  record.state = EndpointState::ready;
  record.result = result.dump();
  if (auto stored = store_.put_endpoint(record); !stored) return give_up(stored.error());
  records_[record.key] = record;
  done("ready-stored");
  return result;
}

// A removal is answered before the device is gone; who attaches the same interface next waits for that.
Result<void> Attachment::make_way(std::uint64_t netns_cookie, const std::string& ifname) {
  std::vector<store::EndpointKey> leaving;
  for (const auto& [key, record] : records_)
    if (record.state == EndpointState::deleting && record.netns_cookie == netns_cookie && key.ifname == ifname)
      leaving.push_back(key);
  for (const auto& key : leaving) {
    if (reaper_) reaper_->wait_for(key);
    WEFT_CHECK(finish_removal(key));
  }
  return {};
}

Result<void> Attachment::make_record(const AttachRequest& request, int netns, store::EndpointRecord& record) {
  record.key = request.key;
  record.netns_path = request.netns;
  WEFT_TRY(record.netns_inode, pods_.netns_inode(netns));
  record.namespace_ = request.namespace_;
  record.pod = request.pod;
  record.network = request.network;
  record.labels = request.labels;
  record.port_mappings = request.port_mappings;
  record.endpoint_id = free_endpoint_id();
  record.device = device_name(record.endpoint_id);
  record.created = std::chrono::system_clock::now();
  auto given = give_addresses(request);
  if (!given) return fail(given.error().in(fmt::format("pod {}/{}", request.namespace_, request.pod)));
  record.addresses = std::move(*given);
  record.mac = request.mac ? *request.mac : mac_of(record.addresses.front());
  if (auto stored = store_.put_endpoint(record, allocation_rows(record)); !stored) {
    ipam_.release(record.key.owner(), ipam_now());
    return fail(stored.error());
  }
  records_[record.key] = record;
  return {};
}

Result<std::vector<IpAddress>> Attachment::give_addresses(const AttachRequest& request) {
  control::AddressRequest wish{.pool = {}, .addresses = request.addresses};
  if (choose_) {
    WEFT_TRY(wish, choose_(request));
  }
  for (const auto& address : wish.addresses) {
    if (!ipam_.gateway(address.family()))
      return fail(ErrorCode::invalid, fmt::format("{}: no pool of this family is configured", address.to_string()),
                  "set pod_cidrs in the configuration");
    WEFT_CHECK(free_named(request.key, address));
  }
  WEFT_TRY(auto addresses, ipam_.give(request.key.owner(), wish, ipam_now()));
  if (addresses.empty()) return fail(ErrorCode::exhausted, "no pod_cidrs are configured");
  return addresses;
}

// An address by name may still be that of a container that is going; else whoever has it is named.
Result<void> Attachment::free_named(const store::EndpointKey& key, const IpAddress& address) {
  const auto* holder = ipam_.holder(address);
  if (holder == nullptr || *holder == key.owner()) return {};
  const auto found = std::ranges::find_if(records_, [&](const auto& entry) { return entry.first.owner() == *holder; });
  if (found == records_.end()) return {};
  const auto& [other, record] = *found;
  if (record.state != EndpointState::deleting)
    return fail(ErrorCode::exists, fmt::format("{} is in use by pod {}/{} (container {})", address.to_string(),
                                               record.namespace_, record.pod, other.container_id));
  const auto going = other;
  if (reaper_) reaper_->wait_for(going);
  return finish_removal(going);
}

Result<void> Attachment::make_devices(store::EndpointRecord& record, int netns, std::uint32_t mtu) {
  sys::VethRequest veth;
  veth.host_name = record.device;
  veth.host_mac = gateway_mac;
  veth.peer_name = record.key.ifname;
  veth.peer_mac = record.mac;
  veth.mtu = mtu;
  veth.peer_netns = netns;
  auto device = netlink_.create_veth(veth);
  if (!device && device.error().code == ErrorCode::exists) {
    // A host side of that name can only be a leftover of ours; the peer's name may be anybody's.
    if (auto left = netlink_.device(record.device)) {
      WEFT_CHECK(netlink_.delete_device(left->index));
      device = netlink_.create_veth(veth);
    }
  }
  if (!device) {
    if (device.error().code == ErrorCode::exists)
      return fail(ErrorCode::exists,
                  fmt::format("interface {} exists already in {}", record.key.ifname, record.netns_path),
                  "another plugin made it, or a removal is still under way");
    return fail(device.error().in("creating the pod's interface"));
  }
  record.ifindex = static_cast<std::uint32_t>(device->index);
  return {};
}

Result<void> Attachment::configure_pod(const store::EndpointRecord& record, int netns) {
  WEFT_TRY(const auto pod, pods_.open_netlink(netns));
  WEFT_TRY(const auto device, pod->device(record.key.ifname));
  WEFT_CHECK(pod->set_up(1, true));  // loopback always has index 1
  WEFT_CHECK(pod->set_up(device.index, true));
  for (const auto& address : record.addresses) {
    auto added = pod->add_address({device.index, address, host_length(address)});
    if (!added && address.is_v6()) {
      WEFT_CHECK(pods_.enable_ipv6(netns, record.key.ifname));
      added = pod->add_address({device.index, address, host_length(address)});
    }
    if (!added) return fail(added.error().in("giving the pod " + address.to_string()));
    const auto gateway = ipam_.gateway(address.family());
    if (!gateway) continue;
    WEFT_CHECK(pod->replace_neighbour(device.index, *gateway, gateway_mac));
    sys::Route link;
    link.destination = Cidr(*gateway, host_length(*gateway));
    link.device = device.index;
    link.scope_link = true;
    WEFT_CHECK(pod->replace_route(link));
    sys::Route outward;
    outward.destination = everything(address.family());
    outward.gateway = *gateway;
    outward.device = device.index;
    outward.onlink = true;
    WEFT_CHECK(pod->replace_route(outward));
  }
  return {};
}

Result<void> Attachment::configure_host(const store::EndpointRecord& record) {
  const auto device = static_cast<int>(record.ifindex);
  WEFT_CHECK(netlink_.set_up(device, true));
  for (const auto& address : record.addresses) {
    WEFT_CHECK(netlink_.replace_neighbour(device, address, record.mac));
    sys::Route route;
    route.destination = Cidr(address, host_length(address));
    route.device = device;
    route.scope_link = true;
    route.source = ipam_.gateway(address.family());
    WEFT_CHECK(netlink_.replace_route(route));
  }
  return {};
}

// Takes back a failed ADD at once: nothing may be left when the error is answered. What cannot be
// taken back now is tried again by finish_removals() and by recover().
void Attachment::undo(const store::EndpointRecord& record) {
  auto& kept = records_[record.key];
  const bool was_published = kept.ifindex != 0;
  kept = record;
  kept.state = EndpointState::deleting;
  if (was_published) (void)publish_();
  (void)finish_removal(record.key);
}

void Attachment::acknowledge(const store::EndpointKey& key) {
  const auto found = records_.find(key);
  if (found == records_.end() || found->second.state != EndpointState::ready) return;
  found->second.acknowledged = true;
  (void)store_.put_endpoint(found->second);
}

Result<void> Attachment::remove(const store::EndpointKey& key) {
  const auto found = records_.find(key);
  if (found == records_.end() || found->second.state == EndpointState::deleting) return {};
  return release(key);
}

// The record turns to `deleting`, leaves the maps and hands its device to the reaper; its addresses
// are free (in quarantine) with the record's end in reaped(). A disk that is full keeps no pod from going.
Result<void> Attachment::release(const store::EndpointKey& key) {
  auto& record = records_.at(key);
  record.state = EndpointState::deleting;
  const bool stored = store_.put_endpoint(record).has_value();
  if (stored) done("deleting-stored");
  const auto ifindex = static_cast<int>(record.ifindex);
  const auto published = publish_();
  done("left-maps");
  if (!stored)
    // A start that still finds the record `ready` must find its device gone. finish_removals() tells the store.
    (void)finish_removal(key);
  else if (ifindex != 0)
    reaper_->remove(key, ifindex);
  else
    reaped(key);
  return published;
}

void Attachment::reaped(const store::EndpointKey& key) {
  const auto found = records_.find(key);
  if (found == records_.end() || found->second.state != EndpointState::deleting) return;
  done("device-gone");
  (void)ipam_.release(key.owner(), ipam_now());
  if (!store_.delete_endpoint(key, quarantine_rows(ipam_, found->second.addresses))) return;
  records_.erase(found);
  done("record-gone");
}

Result<void> Attachment::finish_removal(const store::EndpointKey& key) {
  const auto found = records_.find(key);
  if (found == records_.end() || found->second.state != EndpointState::deleting) return {};
  const auto& record = found->second;
  const auto device = netlink_.device(record.device);
  if (!device && device.error().code != ErrorCode::not_found) return fail(device.error());
  if (device && (record.ifindex == 0 || static_cast<std::uint32_t>(device->index) == record.ifindex))
    WEFT_CHECK(netlink_.delete_device(device->index));
  reaped(key);
  if (records_.contains(key))
    return fail(ErrorCode::io, fmt::format("the end of endpoint {} could not be stored", key.owner()));
  return {};
}

void Attachment::finish_removals() {
  std::vector<store::EndpointKey> unfinished;
  for (const auto& [key, record] : records_)
    if (record.state == EndpointState::deleting && !reaper_->is_busy_with(key)) unfinished.push_back(key);
  for (const auto& key : unfinished) (void)finish_removal(key);
}

Result<void> Attachment::check(const AttachRequest& request, const json& previous) {
  const auto found = records_.find(request.key);
  if (found == records_.end() || found->second.state != EndpointState::ready)
    return fail(ErrorCode::not_found,
                fmt::format("container {} has no attachment {}", request.key.container_id, request.key.ifname));
  const auto& record = found->second;
  WEFT_TRY(const auto netns, pods_.open_netns(request.netns.empty() ? record.netns_path : request.netns));
  WEFT_TRY(const auto cookie, pods_.netns_cookie(netns.get()));
  if (cookie != record.netns_cookie)
    return fail(ErrorCode::invalid, fmt::format("{} is not the namespace that was attached", request.netns));
  WEFT_TRY(const auto pod, pods_.open_netlink(netns.get()));
  WEFT_TRY(const auto device, pod->device(record.key.ifname));
  if (!device.up) return fail(ErrorCode::invalid, fmt::format("interface {} is down", record.key.ifname));
  WEFT_TRY(const auto present, pod->addresses());
  for (const auto& address : record.addresses)
    if (std::ranges::none_of(
            present, [&](const auto& entry) { return entry.index == device.index && entry.address == address; }))
      return fail(ErrorCode::invalid, fmt::format("interface {} has lost {}", record.key.ifname, address.to_string()));
  WEFT_TRY(const auto attached, pods_.programs_attached(record.ifindex));
  if (!attached) return fail(ErrorCode::invalid, fmt::format("device {} has lost its program", record.device));
  WEFT_TRY(const auto host, read_host_side());
  if (!host.devices.contains(static_cast<int>(record.ifindex)))
    return fail(ErrorCode::invalid, fmt::format("device {} is gone", record.device));
  if (const auto wrong = host_fault(host, record); !wrong.empty()) return fail(ErrorCode::invalid, wrong);
  if (previous.is_object() && previous.contains("ips") && previous["ips"].is_array())
    for (const auto& address : record.addresses) {
      const auto text = Cidr(address, host_length(address)).to_string();
      if (std::ranges::none_of(previous["ips"], [&](const json& ip) { return ip.value("address", "") == text; }))
        return fail(ErrorCode::invalid, fmt::format("prevResult does not hold {}", text));
    }
  return {};
}

Result<std::vector<store::EndpointKey>> Attachment::collect(const std::string& network,
                                                            const std::set<store::EndpointKey>& valid) {
  std::vector<store::EndpointKey> doomed;
  for (const auto& [key, record] : records_)
    if (record.network == network && record.state != EndpointState::deleting && !valid.contains(key))
      doomed.push_back(key);
  std::optional<Error> first;
  for (const auto& key : doomed)
    if (auto released = release(key); !released && !first) first = released.error();
  if (first) return fail(*first);
  return doomed;
}

Result<void> Attachment::recover(std::vector<std::string>& notes) {
  WEFT_TRY(auto rows, store_.endpoints());
  for (auto& row : rows) records_.emplace(row.key, row);
  for (const auto& row : rows) {
    auto& record = records_.at(row.key);
    const auto device = netlink_.device(record.device);
    const bool alive = device && (record.ifindex == 0 || static_cast<std::uint32_t>(device->index) == record.ifindex);
    if (record.state == EndpointState::ready && alive) continue;
    if (record.state == EndpointState::ready)
      notes.push_back(fmt::format("{}/{}: its device {} is gone, the attachment is dropped", record.namespace_,
                                  record.pod, record.device));
    else
      notes.push_back(fmt::format("{}/{}: undoing an attachment that was {}", record.namespace_, record.pod,
                                  to_string(record.state)));
    record.state = EndpointState::deleting;
    if (auto finished = finish_removal(row.key); !finished) notes.push_back(finished.error().message);
  }
  return {};
}

void Attachment::adopt(std::vector<std::string>& notes) {
  for (const auto& [key, record] : records_) {
    if (record.state != EndpointState::ready) continue;
    if (auto attached = pods_.attach_programs(record.ifindex); !attached)
      notes.push_back(fmt::format("{}/{}: {}", record.namespace_, record.pod, attached.error().message));
  }
}

bool Attachment::notice_lost_devices() {
  const auto devices = netlink_.devices();
  if (!devices) return false;  // the next look tells
  std::map<std::string_view, int> there;
  for (const auto& device : *devices) there.emplace(device.name, device.index);
  bool changed = false;
  for (auto& [key, record] : records_) {
    if (record.state != EndpointState::ready || record.ifindex == 0) continue;
    const auto device = there.find(record.device);
    if (device != there.end() && static_cast<std::uint32_t>(device->second) == record.ifindex) continue;
    record.ifindex = 0;
    changed = true;
  }
  return changed;
}

void Attachment::expire_quarantine() {
  const auto before = ipam_.quarantined();
  ipam_.expire(ipam_now());
  const auto after = ipam_.quarantined();
  store::AddressChange change;
  for (const auto& entry : before)
    if (std::ranges::none_of(after, [&](const auto& left) { return left.address == entry.address; }))
      change.quarantine_over.push_back(entry.address);
  if (!change.quarantine_over.empty()) (void)store_.write(change);
}

}  // namespace weft::agent
