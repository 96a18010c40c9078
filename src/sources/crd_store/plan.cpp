#include "sources/crd_store/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sources/etcd/compare.h"

namespace weft::crd {

using etcd::Compare;
using etcd::compares;
using etcd::EraseRequest;
using etcd::PutRequest;

namespace {

// "There is none" and "it is of that revision" decide a write by itself.
std::optional<etcd::Revision> revision_wanted(const Compare& compare) {
  if (compare.is != Compare::Is::equal) return std::nullopt;
  if (compare.target == Compare::Target::mod_revision) return compare.number;
  if (compare.target == Compare::Target::version && compare.number == 0) return 0;
  return std::nullopt;
}

std::unexpected<Error> unsupported(const etcd::Txn& txn) {
  std::string keys;
  for (const auto& op : txn.then) {
    if (const auto* put = std::get_if<PutRequest>(&op)) keys += " +" + etcd::printable(put->key);
    if (const auto* erase = std::get_if<EraseRequest>(&op)) keys += " -" + erase->keys.text();
  }
  return fail(ErrorCode::unsupported, fmt::format("a transaction that the API server has no safe way for:{}", keys));
}

class Planner {
 public:
  Planner(const Places& places, const etcd::Txn& txn) : places_(places), txn_(txn) {}

  Result<Plan> make() {
    for (std::size_t i = 0; i < txn_.then.size(); ++i) WEFT_CHECK(add_operation(i));
    for (const auto& compare : txn_.compare) WEFT_CHECK(add_comparison(compare));
    if (!is_known()) return unsupported(txn_);
    settle();
    return std::move(plan_);
  }

 private:
  Result<void> add_operation(std::size_t index) {
    const auto& op = txn_.then[index];
    if (std::holds_alternative<etcd::RangeRequest>(op)) return {};
    const auto* put = std::get_if<PutRequest>(&op);
    const auto* erase = std::get_if<EraseRequest>(&op);
    if (erase != nullptr && !erase->keys.end.empty()) return unsupported(txn_);
    WEFT_TRY(auto place, places_.of(put != nullptr ? put->key : erase->keys.key));
    // The labels are in the identity.
    if (place.labels_digest) {
      labels_ = true;
      return {};
    }
    Step step{.kind = put != nullptr ? Step::Kind::put : Step::Kind::erase, .index = index, .place = std::move(place)};
    if (step.place.mark) step.kind = put != nullptr ? Step::Kind::mark : Step::Kind::unmark;
    if (put != nullptr) {
      step.value = put->value;
      step.lease = put->lease;
    }
    plan_.steps.push_back(std::move(step));
    return {};
  }

  Step* step_of(const Place& place) {
    Step* found = nullptr;
    for (auto& step : plan_.steps) {
      if (step.place.resource != place.resource || step.place.name != place.name) continue;
      const bool is_mark = step.kind == Step::Kind::mark || step.kind == Step::Kind::unmark;
      if (!is_mark || found == nullptr) found = &step;
    }
    return found;
  }

  Result<void> add_comparison(const Compare& compare) {
    if (!compare.end.empty()) {
      const std::string prefix = compare.key;
      if (etcd::Keys::prefix(prefix).end != compare.end || revision_wanted(compare) != 0) return unsupported(txn_);
      WEFT_TRY(auto folder, places_.folder(prefix));
      plan_.checks.push_back({.place = {}, .folder = std::move(folder), .comparisons = {}});
      return {};
    }
    WEFT_TRY(auto place, places_.of(compare.key));
    if (place.labels_digest) {
      if (revision_wanted(compare) != 0) return unsupported(txn_);
      plan_.names_labels = true;
    }
    if (auto* step = step_of(place); step != nullptr && !place.labels_digest) {
      step->comparisons.push_back(compare);
      return {};
    }
    const auto same = std::ranges::find_if(
        plan_.checks, [&](const Check& check) { return check.place && check.place->rest == place.rest; });
    if (same != plan_.checks.end())
      same->comparisons.push_back(compare);
    else
      plan_.checks.push_back({.place = std::move(place), .folder = {}, .comparisons = {compare}});
    return {};
  }

  [[nodiscard]] std::size_t count(Resource resource, Step::Kind kind) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        plan_.steps, [&](const Step& step) { return step.place.resource == resource && step.kind == kind; }));
  }
  [[nodiscard]] bool all_are(bool (*like)(const Step&)) const { return std::ranges::all_of(plan_.steps, like); }

  // The kinds of plan.h.
  [[nodiscard]] bool is_known() const {
    const auto& steps = plan_.steps;
    if (plan_.names_labels != (labels_ && count(Resource::identities, Step::Kind::put) == 1)) return false;
    if (steps.empty()) return !labels_;
    const auto marks = [](const Step& step) {
      return (step.kind == Step::Kind::mark || step.kind == Step::Kind::unmark) && step.comparisons.empty();
    };
    if (all_are(marks)) return true;
    // Without a comparison of its own only what has none in etcd either.
    const auto decided = [](const Step& step) {
      return !step.comparisons.empty() || step.kind == Step::Kind::unmark || (step.place.resource == Resource::nodes) ||
             (step.place.resource == Resource::claims && step.kind == Step::Kind::put && step.lease == 0);
    };
    if (!all_are(decided)) return false;
    if (steps.size() == 1) return !labels_;
    if (all_are([](const Step& step) { return step.place.resource == Resource::claims; })) return true;
    const bool joins = steps.size() == 2 && steps[0].place.claim == "alive" && steps[0].kind == Step::Kind::put &&
                       count(Resource::nodes, Step::Kind::put) == 1;
    const bool uses = count(Resource::users, Step::Kind::put) == 1 &&
                      count(Resource::identities, Step::Kind::unmark) == 1 &&
                      steps.size() == 2 + count(Resource::identities, Step::Kind::put);
    const bool forgets = count(Resource::identities, Step::Kind::erase) == 1 &&
                         count(Resource::identities, Step::Kind::unmark) == 1 && steps.size() == 2;
    return joins || uses || forgets;
  }

  void settle() {
    // A mark goes with its identity, and a new one has none.
    const bool whole =
        count(Resource::identities, Step::Kind::put) + count(Resource::identities, Step::Kind::erase) > 0;
    if (whole) std::erase_if(plan_.steps, [](const Step& step) { return step.kind == Step::Kind::unmark; });
    std::ranges::stable_partition(plan_.steps, [](const Step& step) { return step.place.resource == Resource::users; });
    for (auto& step : plan_.steps) {
      if (step.kind == Step::Kind::mark || step.kind == Step::Kind::unmark) continue;
      for (const auto& compare : step.comparisons) {
        const auto wanted = revision_wanted(compare);
        // Of two that contradict each other none can hold: a revision that no object has.
        if (wanted) step.expected = step.expected && *step.expected != *wanted ? -1 : *wanted;
      }
      const bool only_those = std::ranges::all_of(
          step.comparisons, [](const Compare& compare) { return revision_wanted(compare).has_value(); });
      if (only_those) step.comparisons.clear();
    }
    if (plan_.steps.size() != 1 || plan_.checks.empty()) return;
    const auto& only = plan_.steps.front();
    if (only.kind != Step::Kind::put) return;
    plan_.check_again =
        (only.place.resource == Resource::blocks && only.expected == 0) || only.place.resource == Resource::pools;
  }

  const Places& places_;
  const etcd::Txn& txn_;
  Plan plan_;
  bool labels_ = false;  // a key that leads from labels to a number is written or erased
};

}  // namespace

Result<Plan> plan(const Places& places, const etcd::Txn& txn) { return Planner(places, txn).make(); }

bool holds(const Compare& compare, const etcd::KeyValue* kv) {
  switch (compare.target) {
    case Compare::Target::value:
      return kv != nullptr && compares(compare.is, kv->value, compare.value);
    case Compare::Target::version:
      return compares(compare.is, kv == nullptr ? 0 : kv->version, compare.number);
    case Compare::Target::create_revision:
      return compares(compare.is, kv == nullptr ? 0 : kv->create_revision, compare.number);
    case Compare::Target::mod_revision:
      return compares(compare.is, kv == nullptr ? 0 : kv->mod_revision, compare.number);
    case Compare::Target::lease:
      break;
  }
  return compares(compare.is, kv == nullptr ? 0 : kv->lease, compare.number);
}

}  // namespace weft::crd
