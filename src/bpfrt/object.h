// A BPF object file on its way into the kernel: opened from memory, configured, loaded; its maps
// shared by name through a bpffs directory with what was loaded before. One object is one thread's.
//
//   open -> set_max_entries, set_constant, pin_maps, ... -> load -> program_fd, map
//
// libbpf writes nothing to stderr; what it says, the verifier's log included, is in the Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "bpfrt/map.h"

struct bpf_map;
struct bpf_object;

namespace weft::bpfrt {

// How a map is laid out: what must agree for two objects to share it.
struct MapLayout {
  std::uint32_t type = 0;  // enum bpf_map_type
  std::uint32_t key_size = 0;
  std::uint32_t value_size = 0;
  std::uint32_t max_entries = 0;
  std::uint32_t flags = 0;
  auto operator<=>(const MapLayout&) const = default;
  [[nodiscard]] std::string to_string() const;  // "hash, key 8, value 16, 1024 entries, flags 0x1"
};

class Object {
 public:
  // `elf` need not outlive the call. `name` stands in messages and prefixes the names of .rodata and .bss maps.
  static Result<Object> open(std::span<const std::byte> elf, const std::string& name);

  // Before load():
  Result<void> set_max_entries(const std::string& map, std::uint32_t max_entries);
  // One variable of .rodata by its name; `value` must have its size.
  Result<void> set_constant(const std::string& variable, Bytes value);
  // The whole .rodata section; `value` must have its size.
  Result<void> set_rodata(Bytes value);
  // A program that is not to be loaded: its hook does not exist on this kernel.
  Result<void> skip_program(const std::string& program);
  // Uses the kernel map behind `fd` (duplicated) instead of making one; the layouts must agree.
  Result<void> reuse_map(const std::string& map, int fd);
  // Maps pinned in `directory` under their own names are used; the others are created by load() and
  // pinned there. .rodata, .data and .bss stay private to the object unless named in `sections`
  // (such as ".bss"). A pinned map of another layout is the error `invalid` that names the map and
  // both layouts; the kernel is unchanged then, and the caller decides (migrate,
  // remove the pin) and may call again.
  Result<void> pin_maps(const std::string& directory, const std::set<std::string>& sections = {});

  // Creates the missing maps, verifies the programs, pins. On failure nothing new stays pinned.
  Result<void> load();

  // After load():
  [[nodiscard]] Result<int> program_fd(const std::string& program) const;               // owned by the object
  [[nodiscard]] Result<std::unique_ptr<RawMap>> map(const std::string& map) const;      // a descriptor of its own
  Result<void> pin_program(const std::string& program, const std::string& path) const;  // replaces what is there

  // At any time:
  // Whether pin_maps() found all of them; before load().
  [[nodiscard]] bool shares_all() const { return pins_to_make_.empty(); }
  [[nodiscard]] std::vector<std::string> programs() const;
  [[nodiscard]] std::vector<std::string> maps() const;
  [[nodiscard]] Result<MapLayout> layout(const std::string& map) const;

 private:
  struct Closer {
    void operator()(bpf_object* object) const;
  };
  struct Pin {
    bpf_map* map;
    std::string path;
  };
  Object(bpf_object* object, std::string name) : object_(object), name_(std::move(name)) {}

  [[nodiscard]] Result<bpf_map*> find_map(const std::string& map) const;
  Result<void> reuse(bpf_map* map, int fd, const std::string& where);

  std::unique_ptr<bpf_object, Closer> object_;
  std::string name_;
  std::vector<Pin> pins_to_make_;
};

}  // namespace weft::bpfrt
