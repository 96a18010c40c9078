#include "bpfrt/object.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "bpfrt/libbpf_log.h"
#include "bpfrt/link.h"
#include "sys/system.h"

namespace weft::bpfrt {
namespace {

MapLayout declared_layout(const bpf_map* map) {
  return {bpf_map__type(map), bpf_map__key_size(map), bpf_map__value_size(map), bpf_map__max_entries(map),
          bpf_map__map_flags(map)};
}

Result<MapLayout> kernel_layout(int fd, const std::string& where) {
  bpf_map_info info{};
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return fail(errno_error("read the layout of " + where, errno));
  if (info.id == 0 || info.max_entries == 0) return fail(ErrorCode::invalid, where + " is not a map");
  return MapLayout{info.type, info.key_size, info.value_size, info.max_entries, info.map_flags};
}

// ".rodata" of "pod.rodata"; empty for an ordinary map.
std::string section_of(const bpf_map* map) {
  if (!bpf_map__is_internal(map)) return {};
  const std::string name = bpf_map__name(map);
  const auto dot = name.find('.');
  return dot == std::string::npos ? name : name.substr(dot);
}

// bpffs refuses dots in names.
std::string pin_name(const bpf_map* map) {
  std::string name = bpf_map__name(map);
  for (char& letter : name)
    if (letter == '.') letter = '_';
  return name;
}

}  // namespace

std::string MapLayout::to_string() const {
  const char* word = libbpf_bpf_map_type_str(static_cast<bpf_map_type>(type));
  return fmt::format("{}, key {}, value {}, {} entries, flags {:#x}", word != nullptr ? word : "unknown type", key_size,
                     value_size, max_entries, flags);
}

void Object::Closer::operator()(bpf_object* object) const {
  const LibbpfLog log;
  bpf_object__close(object);
}

Result<Object> Object::open(std::span<const std::byte> elf, const std::string& name) {
  const LibbpfLog log;
  bpf_object_open_opts options{};
  options.sz = sizeof options;
  options.object_name = name.c_str();
  Object object(bpf_object__open_mem(elf.data(), elf.size(), &options), name);
  if (object.object_ == nullptr) return fail(log.error("open BPF object " + name, errno));
  bpf_map* map = nullptr;
  // Where maps are pinned is said by pin_maps() alone, never by the object.
  bpf_object__for_each_map(map, object.object_.get())(void) bpf_map__set_pin_path(map, nullptr);
  return object;
}

Result<bpf_map*> Object::find_map(const std::string& map) const {
  if (bpf_map* found = bpf_object__find_map_by_name(object_.get(), map.c_str()); found != nullptr) return found;
  return fail(ErrorCode::not_found, fmt::format("BPF object {} has no map {}", name_, map));
}

Result<void> Object::set_max_entries(const std::string& map, std::uint32_t max_entries) {
  WEFT_TRY(bpf_map * found, find_map(map));
  if (const int status = bpf_map__set_max_entries(found, max_entries); status != 0)
    return fail(errno_error(fmt::format("size map {} of {} to {}", map, name_, max_entries), -status));
  return {};
}

Result<void> Object::set_constant(const std::string& variable, Bytes value) {
  WEFT_TRY(bpf_map * rodata, find_map(".rodata"));
  const btf* types = bpf_object__btf(object_.get());
  const int section = types != nullptr ? btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC) : -ENOENT;
  if (section < 0) return fail(ErrorCode::not_found, fmt::format("BPF object {} has no types for .rodata", name_));
  const btf_type* datasec = btf__type_by_id(types, static_cast<std::uint32_t>(section));
  const btf_var_secinfo* entry = btf_var_secinfos(datasec);
  for (int i = 0; i < btf_vlen(datasec); ++i, ++entry) {
    if (variable != btf__name_by_offset(types, btf__type_by_id(types, entry->type)->name_off)) continue;
    if (entry->size != value.size())
      return fail(ErrorCode::invalid, fmt::format("constant {} of BPF object {} has {} bytes, not {}", variable, name_,
                                                  entry->size, value.size()));
    std::size_t size = 0;
    const auto* data = static_cast<const std::byte*>(bpf_map__initial_value(rodata, &size));
    if (data == nullptr || entry->offset + entry->size > size)
      return fail(ErrorCode::internal, fmt::format("constant {} of BPF object {} is out of .rodata", variable, name_));
    std::vector<std::byte> changed(data, data + size);
    std::copy(value.begin(), value.end(), changed.begin() + entry->offset);
    return set_rodata(changed);
  }
  return fail(ErrorCode::not_found, fmt::format("BPF object {} has no constant {}", name_, variable));
}

Result<void> Object::set_rodata(Bytes value) {
  WEFT_TRY(bpf_map * rodata, find_map(".rodata"));
  if (const int status = bpf_map__set_initial_value(rodata, value.data(), value.size()); status != 0)
    return fail(errno_error(
        fmt::format("set .rodata of {} ({} bytes, given {})", name_, bpf_map__value_size(rodata), value.size()),
        -status));
  return {};
}

Result<void> Object::skip_program(const std::string& program) {
  bpf_program* found = bpf_object__find_program_by_name(object_.get(), program.c_str());
  if (found == nullptr)
    return fail(ErrorCode::not_found, fmt::format("BPF object {} has no program {}", name_, program));
  if (const int status = bpf_program__set_autoload(found, false); status != 0)
    return fail(errno_error(fmt::format("skip program {} of {}", program, name_), -status));
  return {};
}

Result<void> Object::reuse(bpf_map* map, int fd, const std::string& where) {
  WEFT_TRY(const MapLayout present, kernel_layout(fd, where));
  MapLayout declared = declared_layout(map);
  if (declared.max_entries == 0) declared.max_entries = present.max_entries;  // left to the kernel's choice
  if (present != declared)
    return fail(ErrorCode::invalid,
                fmt::format("map {} of BPF object {}: {} has another layout ({}) than the object declares ({})",
                            bpf_map__name(map), name_, where, present.to_string(), declared.to_string()),
                "migrate or remove the pinned map first");
  const LibbpfLog log;
  if (const int status = bpf_map__reuse_fd(map, fd); status != 0)
    return fail(log.error(fmt::format("use {} as map {} of {}", where, bpf_map__name(map), name_), -status));
  return {};
}

Result<void> Object::reuse_map(const std::string& map, int fd) {
  WEFT_TRY(bpf_map * found, find_map(map));
  return reuse(found, fd, "the given map");
}

Result<void> Object::pin_maps(const std::string& directory, const std::set<std::string>& sections) {
  WEFT_CHECK(sys::make_directories(directory, 0700));
  std::vector<Pin> pins;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_.get()) {
    const std::string section = section_of(map);
    if (!section.empty() && !sections.contains(section)) continue;
    if (bpf_map__fd(map) >= 0) continue;  // given by reuse_map()
    std::string path = directory + "/" + pin_name(map);
    const Fd pinned(bpf_obj_get(path.c_str()));
    if (pinned.valid()) {
      WEFT_CHECK(reuse(map, pinned.get(), "the map pinned at " + path));
    } else if (errno == ENOENT) {
      pins.push_back({map, std::move(path)});
    } else {
      return fail(errno_error("open pinned map " + path, errno));
    }
  }
  pins_to_make_ = std::move(pins);
  return {};
}

Result<void> Object::load() {
  {
    const LibbpfLog log;
    if (const int status = bpf_object__load(object_.get()); status != 0)
      return fail(log.error("load BPF object " + name_, -status));
  }
  std::size_t made = 0;
  for (const auto& [map, path] : pins_to_make_) {
    // Not pin_object(): a pin that appeared meanwhile belongs to another loader and stays.
    if (bpf_obj_pin(bpf_map__fd(map), path.c_str()) != 0) {
      Error error = errno_error("pin map " + path, errno);
      if (error.code == ErrorCode::exists) error.hint = "another process loads the same objects; run one at a time";
      for (std::size_t i = 0; i < made; ++i) remove_pin(pins_to_make_[i].path);
      return fail(std::move(error));
    }
    ++made;
  }
  pins_to_make_.clear();
  return {};
}

Result<int> Object::program_fd(const std::string& program) const {
  const bpf_program* found = bpf_object__find_program_by_name(object_.get(), program.c_str());
  if (found == nullptr)
    return fail(ErrorCode::not_found, fmt::format("BPF object {} has no program {}", name_, program));
  const LibbpfLog log;
  const int fd = bpf_program__fd(found);
  if (fd < 0) return fail(ErrorCode::not_found, fmt::format("program {} of {} is not loaded", program, name_));
  return fd;
}

Result<std::unique_ptr<RawMap>> Object::map(const std::string& map) const {
  WEFT_TRY(const bpf_map* found, find_map(map));
  const int fd = bpf_map__fd(found);
  if (fd < 0) return fail(ErrorCode::not_found, fmt::format("map {} of {} is not loaded", map, name_));
  Fd own(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!own.valid()) return fail(errno_error("duplicate the descriptor of map " + map, errno));
  return kernel_map(std::move(own));
}

Result<void> Object::pin_program(const std::string& program, const std::string& path) const {
  WEFT_TRY(const int fd, program_fd(program));
  return pin_object(fd, path);
}

std::vector<std::string> Object::programs() const {
  std::vector<std::string> names;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_.get()) names.emplace_back(bpf_program__name(program));
  return names;
}

std::vector<std::string> Object::maps() const {
  std::vector<std::string> names;
  const bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_.get()) names.emplace_back(bpf_map__name(map));
  return names;
}

Result<MapLayout> Object::layout(const std::string& map) const {
  WEFT_TRY(const bpf_map* found, find_map(map));
  return declared_layout(found);
}

}  // namespace weft::bpfrt
