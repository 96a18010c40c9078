// weft_remote_v1, row by row. What an earlier agent left stays until somebody says otherwise: without etcd it is all
// that is known of other nodes. Rows the map has no room for are left out, counted, and written when there is room:
// pods without one are reached as those are that nobody has heard of yet, and nothing else has to wait for them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "datapath/map_table.h"

namespace weft::datapath {

class RemoteTable {
 public:
  static Result<std::unique_ptr<RemoteTable>> open(bpfrt::RawMap& raw) {
    std::unique_ptr<RemoteTable> table(new RemoteTable);
    WEFT_TRY(table->rows_, (MapTable<weft_addr, weft_remote>::open(raw, Storage::hash)));
    for (const auto& [address, row] : table->rows_->actual_rows()) WEFT_CHECK(table->rows_->want(address, row));
    table->rows_->want_no_others();
    return table;
  }

  void want(const weft_addr& address, const weft_remote& row) {
    const bool known = rows_->wants(address) || rows_->actual(address) != nullptr;
    if ((known || rows_->row_count() < rows_->capacity()) && rows_->want(address, row))
      left_out_.erase(address);
    else
      left_out_.insert_or_assign(address, row);
  }
  void want_no_more(const weft_addr& address) {
    left_out_.erase(address);
    rows_->want_no_more(address);
  }
  void want_no_others(const Rows<weft_addr, weft_remote>& rows) {
    std::vector<weft_addr> others;
    rows_->each_key([&](const weft_addr& address) {
      if (!rows.contains(address)) others.push_back(address);
    });
    for (const auto& address : others) rows_->want_no_more(address);
    std::erase_if(left_out_, [&](const auto& row) { return !rows.contains(row.first); });
  }

  bool add() { return rows_->add(); }
  // Then what found no room before may find some.
  bool remove() {
    const bool removed = rows_->remove();
    auto room = rows_->capacity() - std::min<std::size_t>(rows_->capacity(), rows_->row_count());
    if (left_out_.empty() || room == 0) return removed;
    for (; room > 0 && !left_out_.empty(); --room) {
      const auto first = left_out_.begin();
      if (!rows_->want(first->first, first->second)) break;
      left_out_.erase(first);
    }
    return rows_->add() && removed;
  }

  template <class Visit>
  void each_address(const Visit& visit) const {
    rows_->each_key(visit);
  }
  [[nodiscard]] const weft_remote* actual(const weft_addr& address) const { return rows_->actual(address); }
  [[nodiscard]] bool replaces() const { return rows_->replaces(); }
  [[nodiscard]] bool removes() const { return rows_->removes(); }
  [[nodiscard]] std::uint64_t writes() const { return rows_->writes(); }
  [[nodiscard]] reconcile::Status status() const { return rows_->status(); }
  [[nodiscard]] std::uint32_t capacity() const { return rows_->capacity(); }
  [[nodiscard]] std::size_t left_out() const { return left_out_.size(); }

 private:
  RemoteTable() = default;
  std::unique_ptr<MapTable<weft_addr, weft_remote>> rows_;
  Rows<weft_addr, weft_remote> left_out_;
};

}  // namespace weft::datapath
