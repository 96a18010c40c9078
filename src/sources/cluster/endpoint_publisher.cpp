#include "sources/cluster/endpoint_publisher.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>

namespace weft::cluster {

using etcd::Compare;
using etcd::Keys;

namespace {

constexpr auto write_interval = std::chrono::milliseconds(100);
constexpr unsigned whole = 0;  // the one key, in the place of a slice's number
// So many keys are looked at one by one: a store may have to go through those of all nodes for a list of one's.
constexpr std::size_t few_keys = 8;

}  // namespace

EndpointPublisher::EndpointPublisher(Context context, const NodeRegistry& registry, Trouble trouble)
    : context_(std::move(context)),
      registry_(&registry),
      trouble_(std::move(trouble)),
      most_(context_.client.slice_of_list()),
      turns_(context_.scheduler, context_.backoff, context_.random, [this] { return step(); }) {
  slices_[whole] = {};
  if (most_ == 0) whole_ = true;
}

std::string EndpointPublisher::key(unsigned number) const {
  return context_.keys.build(EndpointsKey{registry_->self().name, number});
}

void EndpointPublisher::publish(SharedEndpoints pods) {
  if (wanted_ == pods) return;
  const auto before = std::exchange(wanted_, std::move(pods)).value_or(SharedEndpoints());
  for (const auto& [name, pod] : *wanted_)
    if (const auto known = before.find(name); known == before.end() || known->second != pod) mark(name);
  for (const auto& [name, pod] : before)
    if (!wanted_->contains(name)) mark(name);
  all_placed_ = false;
  turns_.wake();
}

bool EndpointPublisher::published() const {
  return wanted_ && known_ && all_placed_ && !writing_ &&
         std::ranges::none_of(slices_, [](const auto& each) { return each.second.differs; });
}

void EndpointPublisher::nodes_changed() {
  readers_changed_ = true;
  turns_.wake();
}

void EndpointPublisher::seen(unsigned slice, etcd::Revision mod_revision, etcd::Revision at) {
  // It may be what is being written.
  if (writing_ == slice) {
    seen_meanwhile_ = Seen{mod_revision, at};
    return;
  }
  const auto known = slices_.find(slice);
  if (mod_revision == (known == slices_.end() ? 0 : known->second.revision)) return;
  if (known != slices_.end() && at <= known->second.since) return;
  slices_.try_emplace(slice);  // one that this run knows nothing of is looked at with the others
  confirmed_epoch_ = 0;
  ++news_;
  turns_.wake();
}

bool EndpointPublisher::step() {
  if (!registry_->membership() || !wanted_) return false;
  if (!known_) return look(false);
  look_at_readers();
  place();
  if (write_next()) return true;
  if (std::ranges::any_of(slices_, [](const auto& each) { return each.second.differs; })) return false;
  return confirmed_epoch_ != registry_->membership()->epoch && look(true);
}

// An agent that knows of no slices has the one key or nothing.
void EndpointPublisher::look_at_readers() {
  if (most_ == 0 || !registry_->synced() || !std::exchange(readers_changed_, false)) return;
  const bool now = !registry_->all_read_slices();
  if (std::exchange(whole_, now) == now) return;
  auto& one = slices_[whole];
  one.differs = now || one.revision != 0;
  one.too_large = false;
}

bool EndpointPublisher::look(bool keys_only) {
  const auto& membership = *registry_->membership();
  etcd::Txn txn{.compare = {membership.holds}, .then = {}, .otherwise = {}};
  const bool compares = keys_only && slices_.size() <= few_keys;
  if (compares)
    for (const auto& [number, slice] : slices_)
      txn.compare.push_back(Compare::unchanged_since(key(number), slice.revision));
  else
    txn.then.emplace_back(etcd::RangeRequest{.keys = Keys::one(key(whole)), .keys_only = keys_only});
  if (!compares && most_ != 0)
    txn.then.emplace_back(etcd::RangeRequest{.keys = Keys::prefix(context_.keys.slices_of(registry_->self().name)),
                                             .keys_only = keys_only});
  context_.client.txn(std::move(txn), {},
                      turns_.guarded([this, keys_only, compares, news = news_,
                                      epoch = membership.epoch](const etcd::Outcome<etcd::TxnResult>& outcome) {
                        if (!outcome) {
                          turns_.retry(outcome.error());
                          if (trouble_) trouble_(outcome.error().to_error());
                          return;
                        }
                        // This node was seen as away, which the registry will hear.
                        if (!outcome->succeeded && !compares) return turns_.retry();
                        if (compares)
                          known_ = outcome->succeeded;
                        else
                          looked(*outcome, keys_only);
                        // What came meanwhile may be newer.
                        if (known_ && news == news_) confirmed_epoch_ = epoch;
                        turns_.next();
                      }));
  return true;
}

void EndpointPublisher::looked(const etcd::TxnResult& result, bool keys_only) {
  std::map<unsigned, etcd::KeyValue> found;
  for (std::size_t i = 0; i < result.results.size(); ++i)
    for (const auto& kv : range_of(result, i))
      if (const auto key = context_.keys.parse_as<EndpointsKey>(kv.key)) found[key->slice] = kv;
  if (!keys_only) return adopt(found);
  const auto known = [&](const auto& each) {
    const auto at = found.find(each.first);
    return each.second.revision == (at == found.end() ? 0 : at->second.mod_revision);
  };
  known_ = std::ranges::all_of(slices_, known) &&
           std::ranges::all_of(found, [&](const auto& each) { return slices_.contains(each.first); });
}

// What is there is where it is, also what an earlier run left; all else is written.
void EndpointPublisher::adopt(const std::map<unsigned, etcd::KeyValue>& found) {
  for (auto& [number, slice] : slices_) slice.revision = slice.since = 0;
  std::map<unsigned, SharedEndpoints> told;
  // From the one that counts on.
  for (const auto& [number, kv] : found | std::views::reverse) {
    auto& slice = slices_[number];
    slice.revision = slice.since = kv.mod_revision;
    auto read = decode_endpoints(kv.key, kv.value);
    if (!read || number == whole) continue;
    for (const auto& [name, pod] : read->pods)
      if (slice_of_.try_emplace(name, number).second) slice.pods.insert(name);
    told[number] = std::move(read->pods);
  }
  all_placed_ = false;
  place();
  for (auto& [number, slice] : slices_) {
    const auto kv = found.find(number);
    slice.differs = !is_as_wanted(number, kv == found.end() ? nullptr : &kv->second);
    slice.too_large = false;
    forget_gone(slice, told[number]);
  }
  known_ = true;
}

void EndpointPublisher::place() {
  if (all_placed_ || most_ == 0) {
    all_placed_ = true;
    return;
  }
  unsigned number = 1;
  for (const auto& [name, pod] : *wanted_) {
    if (slice_of_.contains(name)) continue;
    while (slices_[number].pods.size() >= most_) ++number;
    slices_[number].pods.insert(name);
    slice_of_[name] = number;
    mark(name);
  }
  all_placed_ = true;
}

// It is another, or gone.
void EndpointPublisher::mark(const PodName& name) {
  const auto changed = [this](unsigned number) {
    auto& slice = slices_[number];
    slice.differs = true;
    slice.too_large = false;
  };
  if (whole_ == true) changed(whole);
  if (const auto placed = slice_of_.find(name); placed != slice_of_.end()) changed(placed->second);
}

// Of a pod that is gone the place is free once it is told no more.
void EndpointPublisher::forget_gone(Slice& slice, const SharedEndpoints& told) {
  std::erase_if(slice.pods, [&](const PodName& name) {
    if (told.contains(name) || wanted_->contains(name)) return false;
    slice_of_.erase(name);
    return true;
  });
}

// Empty slices are not.
bool EndpointPublisher::is_there(unsigned number) const {
  if (number == whole) return whole_.value_or(false);
  const auto& pods = slices_.at(number).pods;
  return std::ranges::any_of(pods, [this](const PodName& name) { return wanted_->contains(name); });
}

SharedEndpoints EndpointPublisher::wanted_of(unsigned number, const Slice& slice) const {
  if (number == whole) return *wanted_;
  SharedEndpoints pods;
  for (const auto& name : slice.pods)
    if (const auto pod = wanted_->find(name); pod != wanted_->end()) pods.insert(*pod);
  return pods;
}

bool EndpointPublisher::is_as_wanted(unsigned number, const etcd::KeyValue* kv) const {
  if (number == whole && !whole_) return true;
  if (!is_there(number) || kv == nullptr) return is_there(number) == (kv != nullptr);
  const auto read = decode_endpoints(kv->key, kv->value);
  return read && *read == NodeEndpoints{registry_->self().boot_id, wanted_of(number, slices_.at(number))};
}

// Slices first: the one key goes when nobody needs it any more.
bool EndpointPublisher::write_next() {
  const auto now = context_.scheduler.now();
  std::optional<etcd::Scheduler::Time> next;
  bool all = true;
  const auto try_one = [&](unsigned number, Slice& slice) {
    // It was never written, and is not to be.
    if (slice.differs && slice.revision == 0 && !is_there(number)) {
      slice.differs = false;
      forget_gone(slice, {});
    }
    if (!slice.differs) return false;
    all = false;
    if (slice.too_large) return false;
    // It was written a moment ago: what comes until the next write is joined.
    if (now < slice.next_write) {
      next = next ? std::min(*next, slice.next_write) : slice.next_write;
      return false;
    }
    return write(number, slice);
  };
  for (auto& [number, slice] : slices_)
    if (number != whole && try_one(number, slice)) return true;
  if (const auto one = slices_.find(whole); one != slices_.end() && (all || is_there(whole)))
    if (try_one(whole, one->second)) return true;
  if (next)
    pace_ =
        context_.scheduler.after(std::chrono::ceil<std::chrono::milliseconds>(*next - now), [this] { turns_.wake(); });
  return false;
}

bool EndpointPublisher::write(unsigned number, Slice& slice) {
  const auto& membership = *registry_->membership();
  const auto name = key(number);
  etcd::Txn txn{.compare = {Compare::unchanged_since(name, slice.revision), membership.holds},
                .then = {},
                .otherwise = {etcd::RangeRequest{.keys = Keys::one(name)}}};
  SharedEndpoints pods;
  if (is_there(number)) {
    pods = wanted_of(number, slice);
    auto value = encode(NodeEndpoints{registry_->self().boot_id, pods});
    // etcd's requests of 1.5 MiB hold some 7,000 pods.
    if (const auto largest_value = context_.client.largest_value(); value.size() > largest_value) {
      slice.too_large = true;
      if (trouble_)
        trouble_({ErrorCode::exhausted,
                  fmt::format("the {} pods of this node take {} bytes; {} are the most for a value that nodes share",
                              pods.size(), value.size(), largest_value),
                  "other nodes go on with those they know: run fewer pods on one node"});
      return false;
    }
    txn.then = {etcd::PutRequest{.key = name, .value = std::move(value)}};
  } else {
    txn.then = {etcd::EraseRequest{Keys::one(name)}};
  }
  slice.differs = false;
  slice.next_write = context_.scheduler.now() + write_interval;
  writing_ = number;
  context_.client.txn(
      std::move(txn), {},
      turns_.guarded([this, number, pods = std::move(pods)](const etcd::Outcome<etcd::TxnResult>& outcome) {
        written(number, pods, outcome);
      }));
  return true;
}

void EndpointPublisher::written(unsigned number, SharedEndpoints pods, const etcd::Outcome<etcd::TxnResult>& outcome) {
  writing_.reset();
  auto& slice = slices_[number];
  const auto meanwhile = std::exchange(seen_meanwhile_, std::nullopt);
  if (!outcome) {
    // It may be there, or come late: looked at once the rest is as wanted.
    slice.differs = true;
    confirmed_epoch_ = 0;
    turns_.retry(outcome.error());
    if (trouble_) trouble_(outcome.error().to_error());
    return;
  }
  if (!outcome->succeeded) return refused(number, range_of(*outcome, 0));
  const bool erased = std::holds_alternative<etcd::EraseResult>(outcome->results.at(0));
  slice.since = revision_of(*outcome, 0);
  slice.revision = erased ? 0 : slice.since;
  forget_gone(slice, pods);
  if (meanwhile) seen(number, meanwhile->mod_revision, meanwhile->at);
  turns_.next();
}

// The key is another than was thought: written by a request whose answer was lost, by an earlier run, or collected
// while this node was away.
void EndpointPublisher::refused(unsigned number, const std::vector<etcd::KeyValue>& kvs) {
  auto& slice = slices_[number];
  const auto known = std::exchange(slice.revision, kvs.empty() ? 0 : kvs.front().mod_revision);
  slice.differs = true;
  if (slice.revision == known) return turns_.retry();  // this node was seen as away, which the registry will hear
  slice.since = std::max(slice.since, slice.revision);
  slice.differs = !is_as_wanted(number, kvs.empty() ? nullptr : &kvs.front());
  if (!slice.differs && number != whole)
    forget_gone(slice, is_there(number) ? wanted_of(number, slice) : SharedEndpoints());
  turns_.next();
}

}  // namespace weft::cluster
