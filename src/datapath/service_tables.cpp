#include "datapath/service_tables.h"

#include <fmt/format.h>

namespace weft::datapath {
namespace {

template <class V>
Result<void> open_rows(std::optional<bpfrt::ArrayRows<V>>& rows, const ServiceTables::Find& find, const char* name) {
  auto* raw = find(name);
  if (raw == nullptr) return fail(ErrorCode::internal, fmt::format("no map {}", name));
  WEFT_TRY(auto opened, bpfrt::ArrayRows<V>::open(*raw));
  rows.emplace(opened);
  return {};
}

// A copy of each; in place, which makes all of them the process's memory, where they cannot be listed.
template <class V, class Visit>
void each_row(const bpfrt::ArrayRows<V>& rows, const Visit& visit) {
  const auto listed = rows.for_each([&](std::uint32_t index, const V& row) {
    visit(index, row);
    return true;
  });
  if (listed) return;
  for (std::uint32_t index = 0; index < rows.size(); ++index) visit(index, rows[index]);
}

template <class K, class V>
Result<void> open_table(std::unique_ptr<MapTable<K, V>>& table, const ServiceTables::Find& find, const char* name) {
  auto* raw = find(name);
  if (raw == nullptr) return fail(ErrorCode::internal, fmt::format("no map {}", name));
  WEFT_TRY(table, (MapTable<K, V>::open(*raw, Storage::hash)));
  return {};
}

}  // namespace

Result<std::unique_ptr<ServiceTables>> ServiceTables::open(const Find& find) {
  std::unique_ptr<ServiceTables> tables(new ServiceTables);
  WEFT_CHECK(open_table(tables->frontends_, find, "weft_svc_v2"));
  WEFT_CHECK(open_table(tables->ranges_, find, "weft_srange_v1"));
  WEFT_CHECK(open_rows(tables->backends_, find, "weft_backend_v2"));
  WEFT_CHECK(open_rows(tables->backend_stats_, find, "weft_bstat_v1"));
  WEFT_CHECK(open_rows(tables->service_states_, find, "weft_svcstate_v1"));
  WEFT_CHECK(open_rows(tables->slots_, find, "weft_slot_v2"));
  WEFT_CHECK(open_rows(tables->ports_, find, "weft_ports_v1"));
  return tables;
}

// A reader that has the id from a slot must never see a row half written: fresh ids are written before
// a slot names them, and of a row in use only one field at a time changes.
void ServiceTables::write_backend(std::uint32_t id, const weft_backend& wanted) {
  if (id >= backends_->size()) return;
  auto& row = (*backends_)[id];
  if (row.port != wanted.port || row.protocol != wanted.protocol || row.service_id != wanted.service_id ||
      std::memcmp(&row.addr, &wanted.addr, sizeof row.addr) != 0) {
    __atomic_store_n(&row.state, static_cast<__u8>(WEFT_BACKEND_GONE), __ATOMIC_RELEASE);
    row.addr = wanted.addr;
    row.port = wanted.port;
    row.protocol = wanted.protocol;
    row.service_id = wanted.service_id;
  }
  __atomic_store_n(&row.flags, wanted.flags, __ATOMIC_RELAXED);
  __atomic_store_n(&row.state, wanted.state, __ATOMIC_RELEASE);
}

// What the maps hold of an earlier run and nobody wants any more goes with the removals.
void ServiceTables::forget_all_but(const control::ServiceDelta& delta) {
  std::set<std::uint32_t> wanted;
  for (const auto& [id, row] : delta.backends) wanted.insert(id);
  each_row(*backends_, [&](std::uint32_t id, const weft_backend& row) {
    if (row.state != WEFT_BACKEND_GONE && !wanted.contains(id)) backends_gone_.insert(id);
  });
  const std::map<std::uint32_t, std::uint64_t> words(delta.port_words.begin(), delta.port_words.end());
  each_row(*ports_, [&](std::uint32_t index, std::uint64_t word) {
    if (word == 0) return;
    const auto found = words.find(index);
    port_words_.try_emplace(index, found == words.end() ? 0 : found->second);
  });
  frontends_->want_no_others();
  ranges_->want_no_others();
}

void ServiceTables::want(const control::ServiceDelta& delta) {
  for (const auto id : delta.backends_new)
    if (id < backend_stats_->size()) (*backend_stats_)[id] = {};
  for (const auto id : delta.services_new)
    if (id < service_states_->size()) (*service_states_)[id] = {};
  for (const auto& [id, row] : delta.backends) {
    write_backend(id, row);
    backends_gone_.erase(id);
  }
  for (const auto& run : delta.slots)
    for (std::uint32_t i = 0; i < run.backends.size() && run.first + i < slots_->size(); ++i)
      __atomic_store_n(&(*slots_)[run.first + i], run.backends[i], __ATOMIC_RELEASE);
  for (const auto& [index, word] : delta.port_words) {
    if (index >= ports_->size()) continue;
    __atomic_fetch_or(&(*ports_)[index], word, __ATOMIC_RELEASE);
    port_words_[index] = word;
  }
  // The compiler has admitted them: they fit.
  for (const auto& key : delta.source_ranges) {
    (void)ranges_->want(key, 1);
    ranges_gone_.erase(key);
  }
  for (const auto& [key, row] : delta.frontends) (void)frontends_->want(key, row);
  for (const auto& key : delta.frontends_gone) frontends_->want_no_more(key);
  backends_gone_.insert(delta.backends_gone.begin(), delta.backends_gone.end());
  ranges_gone_.insert(delta.source_ranges_gone.begin(), delta.source_ranges_gone.end());
  if (delta.whole) forget_all_but(delta);
}

bool ServiceTables::add() {
  const bool ranges = ranges_->add();
  const bool added = frontends_->add();
  const bool removed = frontends_->remove();
  settled_ = ranges && added && removed;
  return settled_;
}

bool ServiceTables::remove() {
  if (!settled_) return false;
  for (const auto id : backends_gone_)
    if (id < backends_->size())
      __atomic_store_n(&(*backends_)[id].state, static_cast<__u8>(WEFT_BACKEND_GONE), __ATOMIC_RELEASE);
  backends_gone_.clear();
  for (const auto& [index, word] : port_words_) __atomic_store_n(&(*ports_)[index], word, __ATOMIC_RELEASE);
  port_words_.clear();
  for (const auto& key : ranges_gone_) ranges_->want_no_more(key);
  ranges_gone_.clear();
  return ranges_->remove();
}

void ServiceTables::include(const std::function<void(const reconcile::Status&)>& visit) const {
  visit(frontends_->status());
  visit(ranges_->status());
}

std::vector<std::pair<weft_service_key, weft_service>> ServiceTables::present_frontends() const {
  const auto rows = frontends_->present();
  if (!rows) return {};
  return {rows->begin(), rows->end()};
}

}  // namespace weft::datapath
