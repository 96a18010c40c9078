#include "agent/l2.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weft::agent {
namespace {

constexpr unsigned times = 3;

bool same(const weft_l2& a, const weft_l2& b) { return std::memcmp(a.mac, b.mac, sizeof a.mac) == 0; }

MacAddress mac_of(const weft_l2& row) {
  MacAddress mac;
  std::ranges::copy(row.mac, mac.bytes.begin());
  return mac;
}

}  // namespace

L2Announcer::L2Announcer(asio::io_context& loop, Send send, Changed changed, L2Timing timing)
    : send_(std::move(send)),
      changed_(std::move(changed)),
      timing_(timing),
      timer_(loop),
      alive_(std::make_shared<L2Announcer*>(this)) {}

void L2Announcer::want(const Rows& rows) {
  const auto now = Clock::now();
  std::erase_if(claims_, [&](const auto& entry) { return !rows.contains(entry.first); });
  for (const auto& [key, row] : rows) {
    const auto [at, added] = claims_.try_emplace(key);
    auto& claim = at->second;
    if (!added && same(claim.row, row)) continue;
    claim.row = row;
    claim.adopted = added && adopted_.contains(key);
    if (added)
      begin(claim, claim.adopted ? State::held : State::probing, times);
    else if (claim.state == State::held)
      claim.left = times;
    if (claim.state != State::yielded) schedule(key, claim, now);
  }
  adopted_.clear();
  run_due();
  told_ = false;  // who calls asks afterwards
}

void L2Announcer::begin(Claim& claim, State state, unsigned left) const {
  claim.state = state;
  claim.left = left;
}

void L2Announcer::schedule(const weft_l2_key& key, Claim& claim, Time due) {
  claim.due = due;
  due_.emplace(due, key);
}

// Not all at once.
L2Announcer::Time L2Announcer::about(L2Timing::Span time) {
  const auto quarter = time / 4;
  std::uniform_int_distribution<L2Timing::Span::rep> more(0, quarter.count());
  return Clock::now() + time + L2Timing::Span(more(random_));
}

void L2Announcer::step(const weft_l2_key& key, Claim& claim, Time now) {
  if (claim.state == State::yielded) begin(claim, State::probing, times);
  if (claim.state == State::probing && claim.left != 0) {
    // What was not asked nobody has answered.
    const bool sent = send(key, claim, true);
    if (sent) --claim.left;
    return schedule(key, claim, now + (sent ? timing_.probe : timing_.announce));
  }
  if (claim.state == State::probing) {
    begin(claim, State::held, times);
    claim.other = {};
    claim.to_node = false;
    told_ = true;
  }
  if (claim.left == 0) {
    if (timing_.remind.count() == 0) return;
    (void)send(key, claim, false);
    return schedule(key, claim, about(timing_.remind));
  }
  if (claim.adopted) (void)send(key, claim, true);
  (void)send(key, claim, false);
  if (--claim.left != 0) return schedule(key, claim, now + timing_.announce);
  claim.adopted = false;
  if (timing_.remind.count() != 0) schedule(key, claim, about(timing_.remind));
}

void L2Announcer::heard(std::uint32_t ifindex, const Heard& said) {
  const weft_l2_key key{datapath::to_abi(said.address), ifindex};
  const auto found = claims_.find(key);
  if (found == claims_.end() || is_own(key, said.mac)) return;
  auto& claim = found->second;
  if (cluster_.is_node && cluster_.is_node(said.mac)) {
    if (heard_node(key, claim, said)) arm();
    if (std::exchange(told_, false)) changed_();
    return;
  }
  if (claim.state == State::yielded) {
    if (said.kind == Heard::Kind::claim) claim.other = said.mac;
    return;
  }
  if (claim.state == State::held && said.kind == Heard::Kind::probe) {
    // The datapath answers by ARP. Of duplicate address detection all nodes are told (RFC 4862, 5.4.3).
    if (said.address.is_v6()) (void)send(key, claim, false);
    return;
  }
  const auto now = Clock::now();
  const bool defended = claim.defended != Time{} && now - claim.defended < timing_.defend;
  if (claim.state == State::held && !defended) {  // RFC 5227, 2.4 (b)
    claim.defended = now;
    (void)send(key, claim, false);
    return;
  }
  yield(key, claim, said.mac);
  arm();
  if (std::exchange(told_, false)) changed_();
}

// Says whether something is due now that was not.
bool L2Announcer::heard_node(const weft_l2_key& key, Claim& claim, const Heard& said) {
  if (!cluster_.is_agreed(said.address)) {
    if (claim.state == State::yielded) return false;
    yield(key, claim, said.mac);
    claim.to_node = true;
    return true;
  }
  // The node that had it has not heard yet. It answers probes like this node's own, so they prove nothing.
  if (claim.state == State::yielded) {
    schedule(key, claim, Clock::now());
    return true;
  }
  if (claim.state == State::held && said.kind == Heard::Kind::claim) {
    const auto now = Clock::now();
    if (claim.defended != Time{} && now - claim.defended < timing_.probe) return false;
    claim.defended = now;
    (void)send(key, claim, false);
  }
  return false;
}

void L2Announcer::yield(const weft_l2_key& key, Claim& claim, const MacAddress& other) {
  begin(claim, State::yielded, 0);
  claim.to_node = false;
  claim.other = other;
  claim.defended = {};
  schedule(key, claim, about(timing_.again));
  told_ = true;
}

bool L2Announcer::send(const weft_l2_key& key, const Claim& claim, bool probe) {
  const auto address = datapath::from_abi(key.addr);
  const auto mac = mac_of(claim.row);
  const auto sent = send_(key.ifindex, probe ? probe_frame(address, mac) : announcement_frame(address, mac));
  last_error_ = sent ? std::string() : sent.error().message;
  return sent.has_value();
}

// Two devices on one link hear each other.
bool L2Announcer::is_own(const weft_l2_key& key, const MacAddress& mac) const {
  for (auto at = claims_.lower_bound({key.addr, 0}); at != claims_.end(); ++at) {
    if (std::memcmp(&at->first.addr, &key.addr, sizeof key.addr) != 0) return false;
    if (mac_of(at->second.row) == mac) return true;
  }
  return false;
}

bool L2Announcer::may_announce(const weft_l2_key& key) const {
  const auto found = claims_.find(key);
  return found != claims_.end() && found->second.state == State::held;
}

std::vector<L2Announcer::Conflict> L2Announcer::conflicts() const {
  std::vector<Conflict> all;
  for (const auto& [key, claim] : claims_)
    if (claim.other != MacAddress{} && !claim.to_node)
      all.push_back({datapath::from_abi(key.addr), key.ifindex, claim.other});
  return all;
}

void L2Announcer::run_due() {
  const auto now = Clock::now();
  while (!due_.empty() && due_.begin()->first <= now) {
    const auto [due, key] = *due_.begin();
    due_.erase(due_.begin());
    const auto found = claims_.find(key);
    if (found != claims_.end() && found->second.due == due) step(key, found->second, now);
  }
  arm();
}

void L2Announcer::arm() {
  if (due_.empty()) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(due_.begin()->first);
  timer_.async_wait([alive = std::weak_ptr(alive_)](const std::error_code& error) {
    const auto announcer = alive.lock();
    if (!announcer || error) return;
    (*announcer)->run_due();
    if (std::exchange((*announcer)->told_, false)) (*announcer)->changed_();
  });
}

}  // namespace weft::agent
