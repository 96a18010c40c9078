#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "bpfrt/map.h"

namespace weft::bpfrt {
namespace {

using Entry = std::pair<std::vector<std::byte>, std::vector<std::byte>>;

bool before(const Entry& entry, Bytes key) {
  return std::lexicographical_compare(entry.first.begin(), entry.first.end(), key.begin(), key.end());
}

bool same(const std::vector<std::byte>& stored, Bytes key) {
  return std::equal(stored.begin(), stored.end(), key.begin(), key.end());
}

std::vector<std::byte> copy(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

std::size_t stride(const MapInfo& info) { return (std::size_t{info.value_size} + 7) / 8 * 8; }

bool is_array(const MapInfo& info) { return info.type == "array" || info.type == "percpu_array"; }

Result<void> check_size(const MapInfo& info, std::string_view what, Bytes bytes, std::uint32_t size) {
  if (bytes.size() == size) return {};
  return fail(ErrorCode::invalid,
              fmt::format("map {}: {} of {} bytes, the map's has {}", info.name, what, bytes.size(), size));
}

}  // namespace

Result<std::byte*> RawMap::memory(std::size_t /*offset*/, std::size_t /*length*/) {
  return fail(ErrorCode::unsupported, "the map is not a memory-mapped array");
}

// An array is full of zeros from the start, and its keys cannot be erased.
FakeMap::FakeMap(MapInfo info) : info_(std::move(info)) {
  if (is_array(info_)) rows_.resize(std::size_t{info_.max_entries} * stride(info_));
}

Result<MapInfo> FakeMap::info() const { return info_; }

Result<std::byte*> FakeMap::memory(std::size_t offset, std::size_t length) {
  if (info_.type != "array") return RawMap::memory(offset, length);
  if (offset + length > rows_.size()) return fail(ErrorCode::invalid, "beyond the array");
  return rows_.data() + offset;
}

std::span<std::byte> FakeMap::row(Bytes key) const {
  std::uint32_t index = 0;
  std::memcpy(&index, key.data(), sizeof index);
  if (index >= info_.max_entries) return {};
  return std::span(rows_).subspan(index * stride(info_), info_.value_size);
}

Result<void> FakeMap::update(Bytes key, Bytes value) {
  WEFT_CHECK(check_size(info_, "key", key, info_.key_size));
  WEFT_CHECK(check_size(info_, "value", value, info_.value_size));
  const auto no_room = [&] {
    return fail(ErrorCode::exhausted,
                fmt::format("update map {}: no room (it holds {} entries)", info_.name, info_.max_entries));
  };
  if (is_array(info_)) {
    const auto target = row(key);
    if (target.empty()) return no_room();
    std::ranges::copy(value, target.begin());
    return {};
  }
  auto at = std::lower_bound(entries_.begin(), entries_.end(), key, before);
  if (at != entries_.end() && same(at->first, key)) {
    at->second = copy(value);
    return {};
  }
  if (entries_.size() >= info_.max_entries) {
    if (!info_.type.starts_with("lru_") || entries_.empty()) return no_room();
    entries_.erase(entries_.begin());  // an LRU makes room instead; which entry goes is its affair
    at = std::lower_bound(entries_.begin(), entries_.end(), key, before);
  }
  entries_.emplace(at, copy(key), copy(value));
  return {};
}

Result<void> FakeMap::erase(Bytes key) {
  WEFT_CHECK(check_size(info_, "key", key, info_.key_size));
  if (is_array(info_))
    return fail(ErrorCode::invalid, fmt::format("erase map {}: an array's entries stay", info_.name));
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), key, before);
  if (at != entries_.end() && same(at->first, key)) entries_.erase(at);
  return {};
}

Result<std::optional<std::vector<std::byte>>> FakeMap::lookup(Bytes key) const {
  WEFT_CHECK(check_size(info_, "key", key, info_.key_size));
  if (is_array(info_)) {
    const auto found = row(key);
    return found.empty() ? std::optional<std::vector<std::byte>>{} : std::optional(copy(found));
  }
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), key, before);
  if (at == entries_.end() || !same(at->first, key)) return std::optional<std::vector<std::byte>>{};
  return std::optional(at->second);
}

Result<void> FakeMap::for_each(const std::function<bool(Bytes, Bytes)>& visit) const {
  if (is_array(info_)) {
    for (std::uint32_t index = 0; index < info_.max_entries; ++index) {
      const auto key = std::as_bytes(std::span<const std::uint32_t, 1>(&index, 1));
      if (!visit(key, copy(row(key)))) break;
    }
    return {};
  }
  const auto entries = entries_;  // the visitor may change the map
  for (const auto& [key, value] : entries)
    if (!visit(key, value)) break;
  return {};
}

FaultyMap::FaultyMap(std::unique_ptr<RawMap> inner, unsigned every_nth)
    : inner_(std::move(inner)), every_nth_(every_nth) {}

Result<void> FaultyMap::maybe_fail() {
  if (every_nth_ == 0 || ++count_ % every_nth_ != 0) return {};
  return fail(ErrorCode::io, fmt::format("injected fault at change {}", count_));
}

Result<MapInfo> FaultyMap::info() const { return inner_->info(); }

Result<void> FaultyMap::update(Bytes key, Bytes value) {
  WEFT_CHECK(maybe_fail());
  return inner_->update(key, value);
}

Result<void> FaultyMap::erase(Bytes key) {
  WEFT_CHECK(maybe_fail());
  return inner_->erase(key);
}

Result<std::optional<std::vector<std::byte>>> FaultyMap::lookup(Bytes key) const { return inner_->lookup(key); }

Result<void> FaultyMap::for_each(const std::function<bool(Bytes, Bytes)>& visit) const {
  return inner_->for_each(visit);
}

}  // namespace weft::bpfrt
