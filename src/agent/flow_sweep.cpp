#include "agent/flow_sweep.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <ctime>

#include "agent/flow_tuple.h"
#include "sys/system.h"

namespace weft::agent {
namespace {

constexpr auto interval = std::chrono::seconds(30);
// Three sweeps free what was given up before the first of them began.
constexpr unsigned hurried_sweeps = 3;
constexpr auto hurried_interval = std::chrono::milliseconds(500);
constexpr std::uint64_t nanosecond = 1'000'000'000;

std::uint64_t monotonic_now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * nanosecond + static_cast<std::uint64_t>(time.tv_nsec);
}

unsigned idle_limit(std::uint8_t protocol, const weft_flow& flow, const IdleTimes& idle) {
  if ((flow.flags & WEFT_FLOW_CLOSED) != 0) return idle.tcp_closed;
  if ((flow.flags & WEFT_FLOW_RESET) != 0)
    return (flow.flags & WEFT_FLOW_OPENING) != 0 ? idle.tcp_closed : idle.tcp_reset;
  if ((flow.flags & WEFT_FLOW_OPENING) != 0) return idle.tcp_opening;
  if (protocol == 6) return idle.tcp;
  return protocol == 1 || protocol == 58 ? idle.echo : idle.datagram;
}

bool silent_for(const weft_flow& flow, const Ticks& ticks, unsigned seconds) {
  const auto silent = ticks.now > flow.last_seen ? ticks.now - flow.last_seen : 0;
  return silent > seconds * ticks.per_second;
}

bool over(std::uint8_t protocol, const weft_flow& flow, const Ticks& ticks, const IdleTimes& idle) {
  return silent_for(flow, ticks, idle_limit(protocol, flow, idle));
}

// Whatever the server said, a client that never went on after its SYN may not exist.
bool half_open(const weft_flow& flow) {
  return (flow.flags & WEFT_FLOW_OPENING) != 0 && (flow.flags & WEFT_FLOW_REPLY) == 0;
}

// Whether a reply's entry is that of the flow at `key`: the key may be another flow's by now.
template <class Key>
bool belongs(const Key& reply_key, const weft_flow& reply, const Key& key) {
  const auto original = peer_of(reply_key, reply);
  return (reply.flags & WEFT_FLOW_REPLY) != 0 && std::memcmp(&original, &key, sizeof key) == 0;
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
  if ((flow.flags & WEFT_FLOW_RESET) != 0) event.tcp_flags = 0x04;  // RST
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

// Not what somebody outside says was reset: its entry stays for a while, in case that was forged.
bool weighs(const weft_flow& flow) { return (flow.flags & (WEFT_FLOW_COUNTED | WEFT_FLOW_RESET)) == WEFT_FLOW_COUNTED; }

void note_use(const weft_flow& flow, FlowUse& use) {
  if (flow.service_id != 0) use.services.insert(flow.service_id);
  if (flow.backend_id == 0) return;
  use.backends.insert(flow.backend_id);
  if (weighs(flow)) ++use.open[flow.backend_id];
}

void note_end(const weft_flow& flow, const std::optional<weft_flow>& reply, FlowUse& use) {
  if ((flow.flags & WEFT_FLOW_COUNTED) == 0) return;
  auto& ended = use.ended[flow.backend_id];
  if (weighs(flow)) ++ended.flows;
  ended.packets += flow.packets + (reply ? reply->packets : 0);
  ended.bytes += flow.bytes + (reply ? reply->bytes : 0);
}

template <class Key>
std::vector<weft_event> sweep(bpfrt::RawMap& flows, const Ticks& ticks, const IdleTimes& idle, FlowUse& use) {
  bpfrt::Map<Key, weft_flow> map(flows);
  std::vector<std::pair<Key, weft_flow>> silent;
  (void)map.for_each([&](const Key& key, const weft_flow& flow) {
    if (over(key.protocol, flow, ticks, idle))
      silent.emplace_back(key, flow);
    else
      note_use(flow, use);
    return true;
  });
  // An event tells what came back: replies go only when the flows they answer are told.
  std::ranges::stable_partition(silent, [](const auto& entry) { return (entry.second.flags & WEFT_FLOW_REPLY) == 0; });
  std::vector<weft_event> events;
  for (const auto& [key, flow] : silent) {
    const auto peer_key = peer_of(key, flow);
    const auto peer = map.lookup(peer_key).value_or(std::nullopt);
    const auto current = map.lookup(key).value_or(std::nullopt);
    if (!current) continue;
    // One-way traffic goes on.
    const bool alone = !peer || over(peer_key.protocol, *peer, ticks, idle) ||
                       (half_open(flow) && silent_for(*peer, ticks, idle.tcp_opening));
    if (!alone || current->last_seen != flow.last_seen) {
      note_use(*current, use);
      continue;
    }
    (void)map.erase(key);
    if (peer && half_open(flow) && belongs(peer_key, *peer, key)) (void)map.erase(peer_key);
    note_end(*current, peer, use);
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

std::vector<weft_event> sweep_v4(bpfrt::RawMap& flows, const Ticks& ticks, const IdleTimes& idle, FlowUse& use) {
  return sweep<weft_flow_key_v4>(flows, ticks, idle, use);
}

std::vector<weft_event> sweep_v6(bpfrt::RawMap& flows, const Ticks& ticks, const IdleTimes& idle, FlowUse& use) {
  return sweep<weft_flow_key_v6>(flows, ticks, idle, use);
}

Result<BackendAccounts> BackendAccounts::open(bpfrt::RawMap& stats) {
  WEFT_TRY(const auto rows, bpfrt::ArrayRows<weft_backend_stats>::open(stats));
  return BackendAccounts(stats, rows);
}

// A copy of the rows: reading them in place would map them all.
BackendAccounts::Active BackendAccounts::active() const {
  Active result;
  (void)bpfrt::Map<std::uint32_t, weft_backend_stats>(*stats_).for_each(
      [&](const std::uint32_t& id, const weft_backend_stats& stats) {
        if (stats.active != 0) result[id] = stats.active;
        return true;
      });
  return result;
}

void BackendAccounts::change_active(std::uint32_t backend, std::int64_t by) const {
  if (backend == 0 || backend >= rows_.size()) return;
  std::atomic_ref<std::uint32_t> active(rows_[backend].active);
  auto value = active.load();
  while (!active.compare_exchange_weak(
      value, static_cast<std::uint32_t>(std::max<std::int64_t>(0, std::int64_t{value} + by)))) {
  }
}

void BackendAccounts::end(const std::unordered_map<std::uint32_t, FlowUse::Ended>& ended) {
  for (const auto& [backend, flows] : ended) {
    if (backend == 0 || backend >= rows_.size()) continue;
    auto& row = rows_[backend];
    std::atomic_ref<__u64>(row.packets).fetch_add(flows.packets);
    std::atomic_ref<__u64>(row.bytes).fetch_add(flows.bytes);
    change_active(backend, -std::int64_t{flows.flows});
  }
}

void BackendAccounts::correct(const Active& before, const Active& open, const Active& after) {
  const auto of = [](const Active& from, std::uint32_t id) -> std::int64_t {
    const auto found = from.find(id);
    return found == from.end() ? 0 : std::int64_t{found->second};
  };
  std::unordered_map<std::uint32_t, std::int64_t> drift;
  for (const auto* counts : {&before, &open, &after})
    for (const auto& [id, count] : *counts) {
      const auto [low, high] = std::minmax({of(before, id), of(after, id)});
      const auto truth = of(open, id);
      if (truth < low) drift[id] = low - truth;
      if (truth > high) drift[id] = high - truth;
    }
  for (auto& [id, now] : drift) {
    const auto found = drift_.find(id);
    if (found == drift_.end() || (found->second > 0) != (now > 0)) continue;
    const auto certain = now > 0 ? std::min(now, found->second) : std::max(now, found->second);
    change_active(id, -certain);
    now -= certain;
  }
  std::erase_if(drift, [](const auto& entry) { return entry.second == 0; });
  drift_ = std::move(drift);
}

void ReleaseGate::begin(const std::unordered_set<std::uint32_t>& seen) {
  seen_ = seen;
  unseen_before_ = std::move(unseen_);
  unseen_.clear();
}

bool ReleaseGate::in_use(std::uint32_t id) {
  if (seen_.contains(id)) return true;
  if (unseen_before_.contains(id)) return false;
  unseen_.insert(id);
  return true;
}

FlowSweeper::FlowSweeper(bpfrt::RawMap& v4, bpfrt::RawMap& v6, bpfrt::RawMap* stats, Swept swept)
    : v4_(v4), v6_(v6), swept_(std::move(swept)) {
  if (stats != nullptr)
    if (auto accounts = BackendAccounts::open(*stats)) accounts_ = std::move(*accounts);
  thread_ = std::thread([this] { run(); });
}

FlowSweeper::~FlowSweeper() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

FlowSweeper::Report FlowSweeper::sweep(const Ticks& ticks) {
  Report report;
  const auto before = accounts_ ? accounts_->active() : BackendAccounts::Active();
  report.events = sweep_v4(v4_, ticks, {}, report.use);
  const auto more = sweep_v6(v6_, ticks, {}, report.use);
  report.events.insert(report.events.end(), more.begin(), more.end());
  if (accounts_) {
    const auto after = accounts_->active();
    auto open = report.use.open;
    for (const auto& [backend, ended] : report.use.ended) open[backend] += ended.flows;  // still counted
    accounts_->correct(before, open, after);
    accounts_->end(report.use.ended);
  }
  return report;
}

void FlowSweeper::hurry() {
  {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (hurried_ != 0 || now < may_hurry_) return;
    hurried_ = hurried_sweeps;
    may_hurry_ = now + interval;
  }
  stop_.notify_all();
}

bool FlowSweeper::wait(std::unique_lock<std::mutex>& lock) {
  stop_.wait_for(lock, interval, [this] { return stopping_ || hurried_ != 0; });
  if (hurried_ != 0) {
    --hurried_;
    stop_.wait_for(lock, hurried_interval, [this] { return stopping_; });
  }
  return !stopping_;
}

void FlowSweeper::run() {
  const auto timer_list = sys::read_file("/proc/timer_list");
  Ticks ticks;
  if (timer_list) ticks.per_second = tick_rate(*timer_list, monotonic_now());
  std::unique_lock lock(mutex_);
  while (wait(lock)) {
    if (ticks.per_second == 0) continue;  // entries then end by eviction only
    lock.unlock();
    ticks.now = ticks_at(monotonic_now(), ticks.per_second);
    swept_(sweep(ticks));
    lock.lock();
  }
}

}  // namespace weft::agent
