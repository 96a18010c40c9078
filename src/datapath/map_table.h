// One BPF map as a reconciled table.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "bpfrt/map.h"
#include "datapath/rows.h"
#include "reconcile/reconciler.h"

namespace weft::datapath {

enum class Storage { hash, array };  // a row of an array cannot be erased: it is zeroed

template <class K, class V>
class MapTable {
 public:
  using Clock = std::chrono::steady_clock;

  static Result<std::unique_ptr<MapTable>> open(bpfrt::RawMap& raw, Storage storage) {
    WEFT_TRY(const auto info, raw.info());
    if (info.key_size != sizeof(K) || info.value_size != sizeof(V))
      return fail(ErrorCode::internal, info.name + ": key or value size differs from the program's");
    auto table = std::unique_ptr<MapTable>(new MapTable(raw, storage, info));
    WEFT_CHECK(table->rows_.adopt());
    return table;
  }

  // Rows leave only after their successors are there, so for a moment the map holds both.
  [[nodiscard]] Result<void> admit(const Rows<K, V>& rows) const {
    WEFT_CHECK(rows_.admit(rows.size()));
    const auto limit = rows_.options().max_entries;
    const auto& delta = rows_.delta();
    if (storage_ == Storage::array || rows.size() + delta.actual_count() <= limit) return {};
    auto together = delta.actual_count();
    for (const auto& [key, value] : rows)
      if (delta.actual(key) == nullptr) ++together;
    if (together <= limit) return {};
    return fail(ErrorCode::exhausted,
                fmt::format("{} holds {} entries, {} are needed while old ones give way to new ones",
                            rows_.options().name, limit, together),
                "make the change in smaller steps");
  }
  Result<void> want(const Rows<K, V>& rows) { return rows_.set_desired(rows); }
  // Row by row; rows found at the start stay until want_no_others().
  Result<void> want(const K& key, const V& value) { return rows_.upsert_desired(key, value); }
  void want_no_more(const K& key) { rows_.erase_desired(key); }
  void want_no_others() { rows_.allow_prune(); }

  // True when all of it is in the kernel.
  bool add() { return count(rows_.apply_upserts(Clock::now())); }
  bool remove() { return count(rows_.apply_deletes(Clock::now())); }
  // Writes tried so far; one that failed may have happened nevertheless.
  [[nodiscard]] std::uint64_t writes() const { return writes_; }

  // What add() and remove() would do to rows that are there already.
  [[nodiscard]] bool replaces() const {
    for (const auto& key : rows_.delta().pending_upserts())
      if (rows_.delta().actual(key) != nullptr) return true;
    return false;
  }
  [[nodiscard]] bool has_rows() const { return rows_.delta().actual_count() != 0; }
  [[nodiscard]] bool adds() const { return !rows_.delta().pending_upserts().empty(); }
  [[nodiscard]] bool removes() const { return !rows_.delta().pending_deletes().empty(); }
  template <class Predicate>
  [[nodiscard]] bool removes_any(const Predicate& predicate) const {
    return std::ranges::any_of(rows_.delta().pending_deletes(), predicate);
  }
  // A row as it is known to be there; null: there is none, or none that is certain.
  [[nodiscard]] const V* actual(const K& key) const { return rows_.delta().actual(key); }
  [[nodiscard]] bool wants(const K& key) const { return rows_.delta().desired(key) != nullptr; }
  template <class Visit>
  void each_key(const Visit& visit) const {
    rows_.delta().each_key(visit);
  }
  // Rows that are there or on their way, those that leave included.
  [[nodiscard]] std::size_t row_count() const { return rows_.delta().row_count(); }
  // What is known to be there; present() asks the kernel.
  [[nodiscard]] Rows<K, V> actual_rows() const { return rows_.delta().actual_rows(); }
  Result<Rows<K, V>> present() {
    Rows<K, V> rows;
    WEFT_CHECK(ops_.list([&](const K& key, const V& value) { rows.emplace(key, value); }));
    return rows;
  }
  // The kernel's side changed by itself.
  Result<void> reread() { return rows_.adopt(); }
  [[nodiscard]] reconcile::Status status() const { return rows_.status(); }
  [[nodiscard]] std::uint32_t capacity() const { return static_cast<std::uint32_t>(rows_.options().max_entries); }

 private:
  class MapOps final : public reconcile::Ops<K, V> {
   public:
    MapOps(bpfrt::RawMap& raw, Storage storage) : map_(raw), storage_(storage) {}
    Result<void> update(const K& key, const V& value) override { return map_.update(key, value); }
    Result<void> erase(const K& key) override {
      return storage_ == Storage::array ? map_.update(key, V{}) : map_.erase(key);
    }
    Result<void> list(const std::function<void(const K&, const V&)>& visit) override {
      const V zero{};
      return map_.for_each([&](const K& key, const V& value) {
        if (storage_ != Storage::array || std::memcmp(&value, &zero, sizeof(V)) != 0) visit(key, value);
        return true;
      });
    }

   private:
    bpfrt::Map<K, V> map_;
    Storage storage_;
  };

  MapTable(bpfrt::RawMap& raw, Storage storage, const bpfrt::MapInfo& info)
      : storage_(storage), ops_(raw, storage), rows_(ops_, options(info)) {}
  bool count(const reconcile::Applied& applied) {
    writes_ += applied.done + applied.failed;
    return applied.complete();
  }
  static reconcile::Options options(const bpfrt::MapInfo& info) {
    reconcile::Options options;
    options.name = info.name;
    options.max_entries = info.max_entries;
    if (options.name == "weft_remote_v1") options.size_key = "remote_table_entries";
    return options;
  }

  Storage storage_;
  MapOps ops_;
  std::uint64_t writes_ = 0;
  reconcile::Reconciler<K, V, reconcile::BytesLess> rows_;
};

}  // namespace weft::datapath
