// BPF maps: an untyped interface (kernel, fake, faulty) and a typed view of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace weft::bpfrt {

struct MapInfo {
  std::string name;
  std::uint32_t id = 0;
  std::string type;  // "hash", "lru_hash", "array", "percpu_array", "lpm_trie", "ringbuf"
  std::uint32_t key_size = 0;
  std::uint32_t value_size = 0;
  std::uint32_t max_entries = 0;
  std::uint64_t memory_bytes = 0;  // fdinfo memlock
};

using Bytes = std::span<const std::byte>;

class RawMap {
 public:
  virtual ~RawMap() = default;
  virtual Result<MapInfo> info() const = 0;
  virtual Result<void> update(Bytes key, Bytes value) = 0;  // BPF_ANY
  virtual Result<void> erase(Bytes key) = 0;                // absent is success
  virtual Result<std::optional<std::vector<std::byte>>> lookup(Bytes key) const = 0;
  // Every entry once (an LRU that changes meanwhile may miss or repeat some); stops when the
  // callback returns false. Batched where the kernel can. Per-CPU values: n_cpu values rounded to 8.
  virtual Result<void> for_each(const std::function<bool(Bytes key, Bytes value)>& visit) const = 0;
  // `length` bytes from `offset` on of an array made with BPF_F_MMAPABLE, in place: row i is at i * (value_size rounded
  // up to 8). Shared with the programs, so a write is seen at once and may be seen half done where it is more than one
  // aligned word. Valid as long as the map; `unsupported` for other maps. Any thread. Only what is asked for is mapped:
  // the kernel counts all that is as the process's own memory, used or not.
  virtual Result<std::byte*> memory(std::size_t offset, std::size_t length);
  [[nodiscard]] virtual int fd() const { return -1; }
};

// A kernel map; owns the descriptor.
std::unique_ptr<RawMap> kernel_map(Fd fd);
Result<std::unique_ptr<RawMap>> open_pinned_map(const std::string& path);

// Holds entries in memory; refuses a new key beyond max_entries with `exhausted`, as the kernel does.
class FakeMap final : public RawMap {
 public:
  explicit FakeMap(MapInfo info);
  Result<MapInfo> info() const override;
  Result<void> update(Bytes key, Bytes value) override;
  Result<void> erase(Bytes key) override;
  Result<std::optional<std::vector<std::byte>>> lookup(Bytes key) const override;
  Result<void> for_each(const std::function<bool(Bytes, Bytes)>& visit) const override;
  Result<std::byte*> memory(std::size_t offset, std::size_t length) override;  // every array has it

 private:
  [[nodiscard]] std::span<std::byte> row(Bytes key) const;  // of an array; empty beyond its end

  MapInfo info_;
  std::vector<std::pair<std::vector<std::byte>, std::vector<std::byte>>> entries_;  // sorted by key; not of arrays
  mutable std::vector<std::byte> rows_;                                             // of an array
};

// Fails every nth update or erase of the map it wraps with `io`.
class FaultyMap final : public RawMap {
 public:
  FaultyMap(std::unique_ptr<RawMap> inner, unsigned every_nth);
  Result<MapInfo> info() const override;
  Result<void> update(Bytes key, Bytes value) override;
  Result<void> erase(Bytes key) override;
  Result<std::optional<std::vector<std::byte>>> lookup(Bytes key) const override;
  Result<void> for_each(const std::function<bool(Bytes, Bytes)>& visit) const override;
  Result<std::byte*> memory(std::size_t offset, std::size_t length) override { return inner_->memory(offset, length); }
  void heal() { every_nth_ = 0; }

 private:
  Result<void> maybe_fail();
  std::unique_ptr<RawMap> inner_;
  unsigned every_nth_;
  unsigned count_ = 0;
};

// Typed view of a memory-mapped array it does not own; index below size().
template <class V>
class ArrayRows {
 public:
  static Result<ArrayRows> open(RawMap& raw) {
    static_assert(sizeof(V) % 8 == 0 || sizeof(V) == 4);
    auto info = raw.info();
    if (!info) return fail(info.error());
    if (info->value_size != sizeof(V))
      return fail(ErrorCode::internal, info->name + ": the value size differs from the program's");
    if (auto memory = raw.memory(0, sizeof(V)); !memory) return fail(memory.error());
    return ArrayRows(raw, info->max_entries);
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  // Ends the process where there is no memory left for the page tables of one more part.
  [[nodiscard]] V& operator[](std::size_t index) const noexcept {
    return *reinterpret_cast<V*>(raw_->memory(index * stride, sizeof(V)).value());
  }
  // A copy of each in turn, without mapping any.
  Result<void> for_each(const std::function<bool(std::uint32_t, const V&)>& visit) const {
    return raw_->for_each([&](Bytes key, Bytes value) {
      std::uint32_t index = 0;
      V row{};
      std::memcpy(&index, key.data(), sizeof index);
      std::memcpy(&row, value.data(), sizeof row);
      return visit(index, row);
    });
  }

  static constexpr std::size_t stride = (sizeof(V) + 7) / 8 * 8;

 private:
  ArrayRows(RawMap& raw, std::size_t size) : raw_(&raw), size_(size) {}
  RawMap* raw_;
  std::size_t size_;
};

// Typed view of a map it does not own. K and V are ABI structs; sizes are checked by the owner.
template <class K, class V>
class Map {
 public:
  explicit Map(RawMap& raw) : raw_(&raw) {}
  Result<void> update(const K& key, const V& value) { return raw_->update(bytes(key), bytes(value)); }
  Result<void> erase(const K& key) { return raw_->erase(bytes(key)); }
  Result<std::optional<V>> lookup(const K& key) const {
    auto found = raw_->lookup(bytes(key));
    if (!found) return fail(found.error());
    if (!*found) return std::optional<V>{};
    V value{};
    std::memcpy(&value, (*found)->data(), sizeof(V));
    return std::optional<V>{value};
  }
  Result<void> for_each(const std::function<bool(const K&, const V&)>& visit) const {
    return raw_->for_each([&](Bytes key, Bytes value) {
      K k{};
      V v{};
      std::memcpy(&k, key.data(), sizeof(K));
      std::memcpy(&v, value.data(), sizeof(V));
      return visit(k, v);
    });
  }
  [[nodiscard]] RawMap& raw() const { return *raw_; }

 private:
  template <class T>
  static Bytes bytes(const T& value) {
    return std::as_bytes(std::span<const T, 1>(&value, 1));
  }
  RawMap* raw_;
};

}  // namespace weft::bpfrt
