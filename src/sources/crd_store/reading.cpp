// What reads: keys, folders, and what a Watch asks of the past.
#include <algorithm>
#include <iterator>
#include <utility>

#include "sources/crd_store/failures.h"
#include "sources/crd_store/kubernetes_store.h"

namespace weft::crd {

using etcd::KeyValue;
using etcd::RangeRequest;
using etcd::RangeResult;

namespace {

std::unexpected<etcd::Failure> refused(const Error& error) {
  return std::unexpected(etcd::Failure{
      .reason = etcd::Reason::invalid, .message = error.message, .store = "Kubernetes", .hint = error.hint});
}

bool in_folder(const Places::Folder& folder, const Stored& stored) {
  return folder.marks ? stored.marked : stored.kv.key.starts_with(folder.prefix);
}

// A mark is told under a key of its own, with its identity's revision.
KeyValue told(const Places::Folder& folder, Stored stored, bool keys_only) {
  auto kv = std::move(stored.kv);
  if (folder.marks) {
    kv.key = folder.prefix + kv.key.substr(kv.key.rfind('/') + 1);
    kv.value = R"({"version":1})";
  }
  if (keys_only) kv.value.clear();
  return kv;
}

std::string selector_of(const Places::Folder& folder) {
  if (!folder.node.empty()) return std::string(node_label) + "=" + folder.node;
  return folder.claim.empty() ? std::string() : std::string(claim_label) + "=" + folder.claim;
}

}  // namespace

Task<etcd::Outcome<std::optional<Stored>>> KubernetesStore::get(Place place, Deadline deadline) {
  Task<Found> asking = calls_.get(place.resource, place.name, deadline);
  auto found = co_await asking;
  if (!found) co_return std::unexpected(to_etcd(found.error()));
  // What is not that key although it has its name is an object of somebody else.
  if (*found && (*found)->kv.key != codec_.places().key(place.rest) && !place.mark)
    co_return std::unexpected(
        etcd::Failure{.reason = etcd::Reason::internal,
                      .message = (*found)->kv.key + " has the name that " + place.rest + " would have",
                      .store = "Kubernetes",
                      .hint = {}});
  co_return std::move(*found);
}

Task<etcd::Outcome<std::vector<Stored>>> KubernetesStore::named(Place place, Deadline deadline) {
  ListRequest request{.resource = Resource::identities,
                      .label_selector = std::string(labels_label) + "=" + *place.labels_digest};
  Task<kubernetes::Outcome<Listing>> listing = calls_.list(std::move(request), deadline);
  auto listed = co_await listing;
  if (!listed) co_return std::unexpected(to_etcd(listed.error()));
  // "identities/labels/<labels>" says them whole: the digest only finds them.
  const auto labels = place.rest.substr(place.rest.find('{'));
  std::vector<Stored> found;
  for (auto& item : listed->items)
    if (item.kv.value == R"({"labels":)" + labels + R"(,"version":1})") found.push_back(std::move(item));
  std::ranges::sort(found, {}, [](const Stored& stored) {
    const auto number = std::string_view(stored.kv.key).substr(stored.kv.key.rfind('/') + 1);
    return std::pair(number.size(), std::string(number));
  });
  co_return std::move(found);
}

// The lowest number with these labels counts.
Task<etcd::Outcome<RangeResult>> KubernetesStore::read_labels(std::string key, Place place, Deadline deadline) {
  Task<Outcome<std::vector<Stored>>> asking = named(std::move(place), deadline);
  auto found = co_await asking;
  if (!found) co_return std::unexpected(std::move(found.error()));
  RangeResult result;
  if (!found->empty()) {
    auto kv = std::move(found->front().kv);
    const auto number = kv.key.substr(kv.key.rfind('/') + 1);
    kv.key = std::move(key);
    kv.value = R"({"number":)" + number + R"(,"version":1})";
    result.revision = kv.mod_revision;
    result.kvs.push_back(std::move(kv));
  }
  result.count = static_cast<std::int64_t>(result.kvs.size());
  co_return std::move(result);
}

Task<etcd::Outcome<RangeResult>> KubernetesStore::read_one(RangeRequest request, Place place, Deadline deadline) {
  RangeResult result{.revision = request.revision};
  std::optional<Stored> found;
  if (request.revision == 0) {
    Task<Outcome<std::optional<Stored>>> asking = get(place, deadline);
    auto got = co_await asking;
    if (!got) co_return std::unexpected(std::move(got.error()));
    found = std::move(*got);
  } else {
    ListRequest past{
        .resource = place.resource, .name = place.name, .revision = request.revision, .metadata_only = true};
    // What key a block is stands in its spec.
    if (place.resource == Resource::blocks) past.metadata_only = false;
    Task<kubernetes::Outcome<Listing>> listing = calls_.list(std::move(past), deadline);
    auto listed = co_await listing;
    if (!listed) co_return std::unexpected(to_etcd(listed.error()));
    if (!listed->items.empty()) found = std::move(listed->items.front());
  }
  if (place.mark && found && !found->marked) found.reset();
  if (found) {
    if (place.mark) {
      found->kv.key = request.keys.key;
      found->kv.value = R"({"version":1})";
    }
    if (request.keys_only) found->kv.value.clear();
    if (request.revision == 0) result.revision = found->kv.mod_revision;
    result.count = 1;
    if (!request.count_only) result.kvs.push_back(std::move(found->kv));
  }
  co_return std::move(result);
}

Task<etcd::Outcome<RangeResult>> KubernetesStore::read_folder(RangeRequest request, Places::Folder folder,
                                                              Deadline deadline) {
  ListRequest list{.resource = folder.resource,
                   .label_selector = selector_of(folder),
                   .revision = request.revision,
                   .metadata_only = request.keys_only || request.count_only};
  // The blocks of which pool is in what they say.
  if (folder.resource == Resource::blocks) list.metadata_only = false;
  Task<kubernetes::Outcome<Listing>> listing = calls_.list(std::move(list), deadline);
  auto listed = co_await listing;
  if (!listed) co_return std::unexpected(to_etcd(listed.error()));
  RangeResult result{.revision = listed->revision};
  for (auto& item : listed->items) {
    if (!in_folder(folder, item)) continue;
    ++result.count;
    if (!request.count_only) result.kvs.push_back(told(folder, std::move(item), request.keys_only));
  }
  std::ranges::sort(result.kvs, {}, &KeyValue::key);
  co_return std::move(result);
}

Task<etcd::Outcome<RangeResult>> KubernetesStore::read(RangeRequest request, Deadline deadline) {
  if (request.keys.end.empty()) {
    auto place = codec_.places().of(request.keys.key);
    if (!place) co_return refused(place.error());
    if (place->labels_digest) {
      Task<Outcome<RangeResult>> by_labels = read_labels(request.keys.key, std::move(*place), deadline);
      co_return co_await by_labels;
    }
    Task<Outcome<RangeResult>> one = read_one(std::move(request), std::move(*place), deadline);
    co_return co_await one;
  }
  auto folder = codec_.places().folder(request.keys.key);
  if (folder && etcd::Keys::prefix(request.keys.key) != request.keys)
    folder = fail(ErrorCode::invalid, "keys " + request.keys.text() + ": folders are read whole");
  if (!folder) co_return refused(folder.error());
  Task<Outcome<RangeResult>> all = read_folder(std::move(request), std::move(*folder), deadline);
  co_return co_await all;
}

// In the order that a collector's look needs (plan.h): marks before the lists of who uses the numbers, who is alive at
// the end.
Task<etcd::Outcome<std::vector<etcd::OpResult>>> KubernetesStore::look(const std::vector<etcd::Op>& operations,
                                                                       Deadline deadline) {
  std::vector<etcd::OpResult> results(operations.size());
  std::vector<std::pair<int, std::size_t>> order;
  for (std::size_t i = 0; i < operations.size(); ++i) {
    const auto* range = std::get_if<RangeRequest>(&operations[i]);
    if (range == nullptr) continue;
    const auto folder = codec_.places().folder(range->keys.key);
    const bool first = folder && folder->resource == Resource::identities;
    const bool last = folder && folder->claim == "alive";
    order.emplace_back(first ? (folder->marks ? 1 : 0) : (last ? 3 : 2), i);
  }
  std::ranges::stable_sort(order);
  for (const auto& [rank, i] : order) {
    Task<Outcome<RangeResult>> reading = read(std::get<RangeRequest>(operations[i]), deadline);
    auto result = co_await reading;
    if (!result) co_return std::unexpected(std::move(result.error()));
    results[i] = std::move(*result);
  }
  co_return std::move(results);
}

}  // namespace weft::crd
