#include "agent/flow_sweep.h"

#include <algorithm>
#include <cstring>
#include <ctime>

#include "sys/system.h"

namespace weft::agent {
namespace {

constexpr auto interval = std::chrono::seconds(30);
constexpr std::uint64_t nanosecond = 1'000'000'000;

std::uint64_t monotonic_now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * nanosecond + static_cast<std::uint64_t>(time.tv_nsec);
}

weft_addr mapped(__be32 v4) { return {{0, 0, __builtin_bswap32(0xffff), v4}}; }

weft_addr address_of(__be32 v4) { return mapped(v4); }
weft_addr address_of(const weft_addr& addr) { return addr; }
void set_address(__be32& to, const weft_addr& addr) { to = addr.word[3]; }
void set_address(weft_addr& to, const weft_addr& addr) { to = addr; }

// The other direction's key: the reverse of what leaves (bpf/lib/flow.h, tuple_peer).
template <class Key>
Key peer_of(const Key& key, const weft_flow& flow) {
  Key peer{};
  peer.protocol = key.protocol;
  peer.saddr = key.daddr;
  peer.sport = key.dport;
  peer.daddr = key.saddr;
  peer.dport = key.sport;
  if ((flow.flags & WEFT_FLOW_DNAT) != 0) {
    set_address(peer.saddr, flow.dst_addr);
    peer.sport = flow.dst_port;
  }
  if ((flow.flags & WEFT_FLOW_SNAT) != 0) {
    set_address(peer.daddr, flow.src_addr);
    peer.dport = flow.src_port;
  }
  return peer;
}

unsigned idle_limit(std::uint8_t protocol, const weft_flow& flow, const IdleTimes& idle) {
  if ((flow.flags & WEFT_FLOW_CLOSED) != 0) return idle.tcp_closed;
  if ((flow.flags & WEFT_FLOW_OPENING) != 0) return idle.tcp_opening;
  if (protocol == 6) return idle.tcp;
  return protocol == 1 || protocol == 58 ? idle.echo : idle.datagram;
}

bool over(std::uint8_t protocol, const weft_flow& flow, const Ticks& ticks, const IdleTimes& idle) {
  const auto silent = ticks.now > flow.last_seen ? ticks.now - flow.last_seen : 0;
  return silent > idle_limit(protocol, flow, idle) * ticks.per_second;
}

template <class Key>
weft_event event_of(const Key& key, const weft_flow& flow, const std::optional<weft_flow>& reply) {
  weft_event event{};
  event.time = monotonic_now();
  event.saddr = address_of(key.saddr);
  event.daddr = address_of(key.daddr);
  event.sport = key.sport;
  event.dport = key.dport;
  event.protocol = key.protocol;
  event.type = WEFT_EVENT_CLOSED;
  event.hook = (flow.flags & WEFT_FLOW_FROM_HOST) != 0 ? WEFT_HOOK_TO_POD : WEFT_HOOK_FROM_POD;
  event.src_identity = flow.src_identity;
  event.dst_identity = flow.dst_identity;
  event.egress_rule = flow.egress_rule;
  event.ingress_rule = flow.ingress_rule;
  event.service_id = flow.service_id;
  if (flow.backend_id != 0) {
    event.backend_addr = flow.dst_addr;
    event.backend_port = flow.dst_port;
  }
  event.packets = flow.packets;
  event.bytes = flow.bytes;
  if (reply) {
    event.reply_packets = reply->packets;
    event.reply_bytes = reply->bytes;
  }
  return event;
}

template <class Key>
std::vector<weft_event> sweep(bpfrt::RawMap& flows, const Ticks& ticks, const IdleTimes& idle) {
  bpfrt::Map<Key, weft_flow> map(flows);
  std::vector<std::pair<Key, weft_flow>> silent;
  (void)map.for_each([&](const Key& key, const weft_flow& flow) {
    if (over(key.protocol, flow, ticks, idle)) silent.emplace_back(key, flow);
    return true;
  });
  std::vector<weft_event> events;
  for (const auto& [key, flow] : silent) {
    const auto peer_key = peer_of(key, flow);
    const auto peer = map.lookup(peer_key).value_or(std::nullopt);
    if (peer && !over(peer_key.protocol, *peer, ticks, idle)) continue;  // one-way traffic goes on
    const auto current = map.lookup(key).value_or(std::nullopt);
    if (!current || current->last_seen != flow.last_seen) continue;
    (void)map.erase(key);
    if ((flow.flags & (WEFT_FLOW_REPLY | WEFT_FLOW_CLOSED)) == 0) events.push_back(event_of(key, flow, peer));
  }
  return events;
}

}  // namespace

std::uint64_t ticks_at(std::uint64_t monotonic, std::uint64_t per_second) {
  return (std::uint64_t{1} << 32) - 300 * per_second + monotonic / (nanosecond / per_second);
}

std::uint64_t tick_rate(const std::string& timer_list, std::uint64_t monotonic) {
  const auto at = timer_list.find("jiffies: ");
  if (at == std::string::npos) return 0;
  const auto ticks = std::strtoull(timer_list.c_str() + at + 9, nullptr, 10);
  std::uint64_t best = 0;
  std::uint64_t smallest = ~std::uint64_t{0};
  for (const std::uint64_t rate : {100, 250, 300, 1000}) {
    const auto expected = ticks_at(monotonic, rate);
    const auto distance = expected > ticks ? expected - ticks : ticks - expected;
    if (distance < smallest) {
      smallest = distance;
      best = rate;
    }
  }
  return smallest < best * 30 ? best : 0;
}

std::vector<weft_event> sweep_v4(bpfrt::RawMap& flows, const Ticks& ticks, const IdleTimes& idle) {
  return sweep<weft_flow_key_v4>(flows, ticks, idle);
}

std::vector<weft_event> sweep_v6(bpfrt::RawMap& flows, const Ticks& ticks, const IdleTimes& idle) {
  return sweep<weft_flow_key_v6>(flows, ticks, idle);
}

FlowSweeper::FlowSweeper(bpfrt::RawMap& v4, bpfrt::RawMap& v6, Ended ended)
    : v4_(v4), v6_(v6), ended_(std::move(ended)), thread_([this] { run(); }) {}

FlowSweeper::~FlowSweeper() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

void FlowSweeper::run() {
  const auto timer_list = sys::read_file("/proc/timer_list");
  Ticks ticks;
  if (timer_list) ticks.per_second = tick_rate(*timer_list, monotonic_now());
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, interval, [this] { return stopping_; })) {
    if (ticks.per_second == 0) continue;  // entries then end by eviction only
    lock.unlock();
    ticks.now = ticks_at(monotonic_now(), ticks.per_second);
    auto events = sweep_v4(v4_, ticks, {});
    auto more = sweep_v6(v6_, ticks, {});
    events.insert(events.end(), more.begin(), more.end());
    if (!events.empty()) ended_(std::move(events));
    lock.lock();
  }
}

}  // namespace weft::agent
