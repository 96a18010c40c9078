#include "datapath/objects.h"

#include <fmt/format.h>
#include <algorithm>
#include <optional>
#include <span>
#include <thread>

#include "bpf/host.skel.h"
#include "bpf/pod.skel.h"
#include "bpf/socket.skel.h"
#include "bpf/xdp.skel.h"
#include "bpfrt/link.h"

namespace weft::datapath {
namespace {

std::span<const std::byte> elf_of(const std::string& hook) {
  std::size_t size = 0;
  const void* data = nullptr;
  if (hook == "pod") data = pod_bpf__elf_bytes(&size);
  if (hook == "host") data = host_bpf__elf_bytes(&size);
  if (hook == "socket") data = socket_bpf__elf_bytes(&size);
  if (hook == "xdp") data = xdp_bpf__elf_bytes(&size);
  return {static_cast<const std::byte*>(data), size};
}

bool is_private(const std::string& map) {
  return map == "weft_scratch" || map == "weft_mute_v1" || map.find('.') != std::string::npos;
}

Result<void> size_maps(bpfrt::Object& object, const Options& options) {
  const auto maps = object.maps();
  const std::pair<const char*, std::uint32_t> sizes[] = {
      {"weft_flow4_v2", options.flow_entries},      {"weft_flow6_v2", options.flow_entries},
      {"weft_svc_v2", options.service_entries},     {"weft_svcstate_v1", options.service_entries},
      {"weft_backend_v2", options.backend_entries}, {"weft_bstat_v1", options.backend_entries},
      {"weft_slot_v2", options.slot_entries},       {"weft_remote_v1", options.remote_entries},
      {"weft_events_v1", options.ring_bytes},
  };
  for (const auto& [table, entries] : sizes)
    if (std::ranges::find(maps, table) != maps.end()) WEFT_CHECK(object.set_max_entries(table, entries));
  return {};
}

// Shares the pinned maps. One of another layout (a resized table, an older version) gives way: its
// rows are written again before any program that uses the new one is attached; of the flow table
// only the cached decisions are lost, and made again.
Result<void> share_maps(bpfrt::Object& object, const std::string& pins) {
  for (std::size_t attempt = 0; attempt < 64; ++attempt) {
    auto pinned = object.pin_maps(pins);
    if (pinned) return {};
    if (pinned.error().code != ErrorCode::invalid) return fail(pinned.error());
    bool removed = false;
    for (const auto& map : object.maps())
      if (!removed && pinned.error().message.find(map) != std::string::npos) {
        bpfrt::remove_pin(fmt::format("{}/{}", pins, map));
        removed = true;
      }
    if (!removed) return fail(pinned.error());
  }
  return fail(ErrorCode::internal, "the pinned maps cannot be brought to this version's layout");
}

}  // namespace

Result<bpfrt::Object> Objects::open_sharing(const std::string& hook) const {
  WEFT_TRY(auto object, bpfrt::Object::open(elf_of(hook), hook));
  WEFT_CHECK(size_maps(object, options_));
  WEFT_CHECK(share_maps(object, pins_));
  return object;
}

// Maps that are not there yet are made first, without the programs: objects that are loaded at the same time must
// find those they share.
Result<bpfrt::Object> Objects::open(const std::string& hook) const {
  WEFT_TRY(auto object, open_sharing(hook));
  if (object.shares_all()) return object;
  for (const auto& program : object.programs()) WEFT_CHECK(object.skip_program(program));
  WEFT_CHECK(object.load());
  return open_sharing(hook);
}

Result<void> Objects::keep(const std::string& hook, bpfrt::Object object) {
  for (const auto& name : object.maps()) {
    if (is_private(name) || maps_.contains(name)) continue;
    WEFT_TRY(maps_[name], object.map(name));
  }
  objects_.emplace(hook, std::move(object));
  return {};
}

Objects::Failures Objects::load(const std::vector<std::string>& hooks) {
  struct Loading {
    std::string hook;
    std::optional<bpfrt::Object> object;
    Result<void> loaded;
    std::thread thread;
  };
  std::vector<Loading> all;
  all.reserve(hooks.size());  // the threads point into it
  Failures failures;
  for (const auto& hook : hooks) {
    if (auto object = open(hook))
      all.push_back({hook, std::move(*object), {}, {}});
    else
      failures.emplace(hook, object.error().in(hook));
  }
  for (auto& one : all) one.thread = std::thread([&one] { one.loaded = one.object->load(); });
  for (auto& one : all) one.thread.join();
  for (auto& one : all) {
    if (one.loaded) one.loaded = keep(one.hook, std::move(*one.object));
    if (!one.loaded) failures.emplace(one.hook, one.loaded.error().in(one.hook));
  }
  return failures;
}

Result<int> Objects::program(const std::string& hook, const std::string& name) const {
  const auto found = objects_.find(hook);
  if (found == objects_.end()) return fail(ErrorCode::unsupported, hook + " programs are not loaded");
  return found->second.program_fd(name);
}

bpfrt::RawMap* Objects::map(const std::string& name) const {
  const auto found = maps_.find(name);
  return found == maps_.end() ? nullptr : found->second.get();
}

std::vector<std::string> Objects::map_names() const {
  std::vector<std::string> names;
  for (const auto& [name, map] : maps_) names.push_back(name);
  return names;
}

}  // namespace weft::datapath
