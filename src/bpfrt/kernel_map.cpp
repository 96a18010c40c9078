#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <mutex>

#include "bpfrt/map.h"
#include "sys/system.h"

namespace weft::bpfrt {
namespace {

// In-kernel "not supported" that escapes from bpf(2) for map types without batch operations.
constexpr int kernel_enotsupp = 524;
constexpr std::size_t batch_bytes = 256 * 1024;
constexpr std::size_t max_batch_entries = 4096;
// Of an array in memory, mapped at once: a multiple of any page size.
constexpr std::size_t window_bytes = 64 * 1024;

std::size_t round_up_8(std::size_t size) { return (size + 7) & ~std::size_t{7}; }

bool is_per_cpu(std::uint32_t type) {
  return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

// "memlock:" of the descriptor's fdinfo: what the kernel accounts for the map's memory.
std::uint64_t memory_of(int fd) {
  auto text = sys::read_file(fmt::format("/proc/self/fdinfo/{}", fd));
  if (!text) return 0;
  const std::string_view key = "memlock:";
  const auto at = text->find(key);
  if (at == std::string::npos) return 0;
  const auto digit = text->find_first_not_of(" \t", at + key.size());
  std::uint64_t bytes = 0;
  if (digit != std::string::npos) std::from_chars(text->data() + digit, text->data() + text->size(), bytes);
  return bytes;
}

// The kernel fills a bpf_map_info for any BPF descriptor, with whatever that kind of object has there.
bool is_map(int fd) {
  std::array<char, 32> target{};
  const auto length = ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), target.data(), target.size());
  return length > 0 && std::string_view(target.data(), static_cast<std::size_t>(length)) == "anon_inode:bpf-map";
}

class KernelMap final : public RawMap {
 public:
  explicit KernelMap(Fd fd) : fd_(std::move(fd)) {
    std::uint32_t size = sizeof info_;
    if (!is_map(fd_.get()) || bpf_obj_get_info_by_fd(fd_.get(), &info_, &size) != 0) info_ = {};
    stored_value_size_ = info_.value_size;
    if (is_per_cpu(info_.type))
      stored_value_size_ = round_up_8(info_.value_size) * static_cast<std::size_t>(libbpf_num_possible_cpus());
  }

  [[nodiscard]] int fd() const override { return fd_.get(); }

  ~KernelMap() override {
    if (memory_ != nullptr) ::munmap(memory_, memory_size());
  }
  KernelMap(const KernelMap&) = delete;
  KernelMap& operator=(const KernelMap&) = delete;

  Result<std::byte*> memory(std::size_t offset, std::size_t length) override {
    if (info_.type != BPF_MAP_TYPE_ARRAY || (info_.map_flags & BPF_F_MMAPABLE) == 0)
      return RawMap::memory(offset, length);
    if (length == 0 || offset + length > memory_size()) return fail(ErrorCode::invalid, "beyond the array");
    std::call_once(reserved_, [this] { reserve(); });
    if (memory_ == nullptr) return failed("map into memory", ENOMEM);
    for (auto window = offset / window_bytes; window <= (offset + length - 1) / window_bytes; ++window)
      if (!windows_[window].load(std::memory_order_acquire)) WEFT_CHECK(map_window(window));
    return memory_ + offset;
  }

  Result<MapInfo> info() const override {
    if (info_.id == 0) return fail(ErrorCode::invalid, "the descriptor is not a BPF map");
    MapInfo info;
    info.name = info_.name;
    info.id = info_.id;
    const char* type = libbpf_bpf_map_type_str(static_cast<bpf_map_type>(info_.type));
    info.type = type != nullptr ? type : fmt::format("type{}", info_.type);
    info.key_size = info_.key_size;
    info.value_size = info_.value_size;
    info.max_entries = info_.max_entries;
    info.memory_bytes = memory_of(fd_.get());
    return info;
  }

  Result<void> update(Bytes key, Bytes value) override {
    WEFT_CHECK(check("update", key, &value));
    if (bpf_map_update_elem(fd_.get(), key.data(), value.data(), BPF_ANY) == 0) return {};
    return failed("update", errno);
  }

  Result<void> erase(Bytes key) override {
    WEFT_CHECK(check("erase", key, nullptr));
    if (bpf_map_delete_elem(fd_.get(), key.data()) == 0 || errno == ENOENT) return {};
    return failed("erase", errno);
  }

  Result<std::optional<std::vector<std::byte>>> lookup(Bytes key) const override {
    WEFT_CHECK(check("look up", key, nullptr));
    std::vector<std::byte> value(stored_value_size_);
    if (bpf_map_lookup_elem(fd_.get(), key.data(), value.data()) == 0) return std::optional(std::move(value));
    if (errno == ENOENT) return std::optional<std::vector<std::byte>>{};
    return failed("look up", errno);
  }

  Result<void> for_each(const std::function<bool(Bytes, Bytes)>& visit) const override {
    if (info_.key_size == 0)
      return fail(ErrorCode::unsupported, fmt::format("map {} has no entries to list", info_.name));
    WEFT_TRY(const bool done, for_each_batched(visit));
    return done ? Result<void>{} : for_each_single(visit);
  }

 private:
  // Addresses for all of the array, so that rows lie beside each other; nothing is there yet.
  void reserve() {
    void* memory = ::mmap(nullptr, memory_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return;
    memory_ = static_cast<std::byte*>(memory);
    windows_ = std::vector<std::atomic<bool>>((memory_size() + window_bytes - 1) / window_bytes);
  }

  Result<void> map_window(std::size_t window) {
    const std::scoped_lock lock(mapping_);
    if (windows_[window].load(std::memory_order_relaxed)) return {};
    const auto offset = window * window_bytes;
    const auto size = std::min(window_bytes, memory_size() - offset);
    if (::mmap(memory_ + offset, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd_.get(),
               static_cast<off_t>(offset)) == MAP_FAILED)
      return failed("map into memory", errno);
    windows_[window].store(true, std::memory_order_release);
    return {};
  }

  Result<void> check(std::string_view what, Bytes key, const Bytes* value) const {
    if (key.size() == info_.key_size && (value == nullptr || value->size() == stored_value_size_)) return {};
    return fail(ErrorCode::invalid,
                fmt::format("{} map {}: key of {} bytes{}, the map's are {} and {}", what, info_.name, key.size(),
                            value != nullptr ? fmt::format(" and value of {}", value->size()) : "", info_.key_size,
                            stored_value_size_));
  }

  std::unexpected<Error> failed(std::string_view what, int error_number) const {
    Error error = errno_error(fmt::format("{} map {}", what, info_.name), error_number);
    if (error.code == ErrorCode::exhausted) error.message += fmt::format(" (it holds {} entries)", info_.max_entries);
    return fail(std::move(error));
  }

  // False when this kernel has no batch operation for the type and nothing was visited.
  Result<bool> for_each_batched(const std::function<bool(Bytes, Bytes)>& visit) const {
    const std::size_t entry_bytes = info_.key_size + stored_value_size_;
    std::size_t capacity = std::clamp<std::size_t>(batch_bytes / entry_bytes, 16, max_batch_entries);
    capacity = std::min<std::size_t>(capacity, std::max<std::size_t>(info_.max_entries, 1));
    std::vector<std::byte> keys(capacity * info_.key_size);
    std::vector<std::byte> values(capacity * stored_value_size_);
    // The kernel's cursor: a key for arrays and tries, a 32-bit bucket for hashes.
    std::vector<std::byte> cursor(std::max<std::size_t>(info_.key_size, sizeof(std::uint32_t)));
    std::vector<std::byte> next(cursor.size());
    for (bool first = true;;) {
      auto count = static_cast<std::uint32_t>(capacity);
      const int status = bpf_map_lookup_batch(fd_.get(), first ? nullptr : cursor.data(), next.data(), keys.data(),
                                              values.data(), &count, nullptr);
      const int error = status == 0 ? 0 : errno;
      if (error == ENOSPC) {  // one bucket holds more than the buffer; the cursor has not moved
        capacity *= 2;
        keys.resize(capacity * info_.key_size);
        values.resize(capacity * stored_value_size_);
        continue;
      }
      if (first && (error == kernel_enotsupp || error == EOPNOTSUPP || error == EINVAL)) return false;
      if (error != 0 && error != ENOENT) return failed("list", error);
      for (std::uint32_t i = 0; i < count; ++i) {
        const Bytes key(keys.data() + i * info_.key_size, info_.key_size);
        if (!visit(key, Bytes(values.data() + i * stored_value_size_, stored_value_size_))) return true;
      }
      if (error == ENOENT) return true;  // the end, with the last entries
      cursor.swap(next);
      first = false;
    }
  }

  Result<void> for_each_single(const std::function<bool(Bytes, Bytes)>& visit) const {
    std::vector<std::byte> key(info_.key_size);
    std::vector<std::byte> next(info_.key_size);
    std::vector<std::byte> value(stored_value_size_);
    // Deleting the key at hand sends the kernel back to the start; the bound ends a walk that
    // others keep sending back.
    const std::uint64_t bound = 2 * std::uint64_t{info_.max_entries} + 1024;
    for (std::uint64_t step = 0; step < bound; ++step) {
      if (bpf_map_get_next_key(fd_.get(), step == 0 ? nullptr : key.data(), next.data()) != 0)
        return errno == ENOENT ? Result<void>{} : failed("list", errno);
      key.swap(next);
      if (bpf_map_lookup_elem(fd_.get(), key.data(), value.data()) != 0) {
        if (errno == ENOENT) continue;
        return failed("list", errno);
      }
      if (!visit(key, value)) return {};
    }
    return {};
  }

  [[nodiscard]] std::size_t memory_size() const {
    return round_up_8(info_.value_size) * std::size_t{info_.max_entries};
  }

  Fd fd_;
  std::once_flag reserved_;
  std::byte* memory_ = nullptr;
  std::mutex mapping_;
  std::vector<std::atomic<bool>> windows_;  // that are mapped
  bpf_map_info info_{};
  std::size_t stored_value_size_ = 0;
};

}  // namespace

std::unique_ptr<RawMap> kernel_map(Fd fd) { return std::make_unique<KernelMap>(std::move(fd)); }

Result<std::unique_ptr<RawMap>> open_pinned_map(const std::string& path) {
  Fd fd(bpf_obj_get(path.c_str()));
  if (!fd.valid()) return fail(errno_error("open pinned map " + path, errno));
  auto map = kernel_map(std::move(fd));
  if (!map->info()) return fail(ErrorCode::invalid, path + " is pinned, but not a map");
  return map;
}

}  // namespace weft::bpfrt
