#include "datapath/datapath.h"

#include <fmt/format.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "bpf/host.skel.h"
#include "bpf/pod.skel.h"
#include "bpf/socket.skel.h"
#include "bpf/xdp.skel.h"
#include "bpfrt/object.h"
#include "datapath/instance.h"
#include "sys/system.h"

namespace weft::datapath {
namespace {

using bpfrt::Hook;

// A tcx link costs a grace period under the rtnl lock, 8 to 16 ms for each hook, to attach and to
// detach; a clsact filter a tenth of a millisecond, and it goes with its device (docs/adr/0003).
constexpr auto pod_attach_mode = bpfrt::AttachMode::clsact;

// One instance's place in bpffs.
struct Pins {
  std::string root;
  [[nodiscard]] std::string maps() const { return root + "/maps"; }
  [[nodiscard]] std::string links() const { return root + "/links"; }
  [[nodiscard]] std::string link(const char* role, std::uint32_t ifindex, Hook hook) const {
    return fmt::format("{}/{}_{}_{}", links(), role, ifindex, hook == Hook::ingress ? "ingress" : "egress");
  }
  [[nodiscard]] std::string xdp(std::uint32_t ifindex) const { return fmt::format("{}/xdp_{}", links(), ifindex); }
  [[nodiscard]] std::string socket(const std::string& program) const { return links() + "/" + program; }
};

struct SocketProgram {
  const char* name;
  bpf_attach_type type;
};
constexpr std::array socket_programs{
    SocketProgram{"weft_connect4", BPF_CGROUP_INET4_CONNECT},
    SocketProgram{"weft_connect6", BPF_CGROUP_INET6_CONNECT},
    SocketProgram{"weft_sendmsg4", BPF_CGROUP_UDP4_SENDMSG},
    SocketProgram{"weft_sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
    SocketProgram{"weft_recvmsg4", BPF_CGROUP_UDP4_RECVMSG},
    SocketProgram{"weft_recvmsg6", BPF_CGROUP_UDP6_RECVMSG},
    SocketProgram{"weft_getpeername4", BPF_CGROUP_INET4_GETPEERNAME},
    SocketProgram{"weft_getpeername6", BPF_CGROUP_INET6_GETPEERNAME},
};

std::span<const std::byte> as_bytes(const void* data, std::size_t size) {
  return {static_cast<const std::byte*>(data), size};
}

// A bpffs below the standard mount point shares that mount; elsewhere it gets one of its own.
Result<void> prepare_directories(const Pins& pins) {
  static const std::string standard = "/sys/fs/bpf";
  const bool below = pins.root.starts_with(standard + "/");
  WEFT_CHECK(sys::ensure_bpffs(below ? standard : pins.root));
  WEFT_CHECK(sys::make_directories(pins.maps(), 0700));
  return sys::make_directories(pins.links(), 0700);
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
      {"weft_slot_v2", options.slot_entries},       {"weft_events_v1", options.ring_bytes},
  };
  for (const auto& [table, entries] : sizes)
    if (std::ranges::find(maps, table) != maps.end()) WEFT_CHECK(object.set_max_entries(table, entries));
  return {};
}

// Shares the pinned maps. One of another layout (a resized table, an older version) gives way: its
// rows are written again before any program that uses the new one is attached; of the flow table
// only the cached decisions are lost, and made again.
Result<void> share_maps(bpfrt::Object& object, const Pins& pins) {
  for (std::size_t attempt = 0; attempt < 64; ++attempt) {
    auto pinned = object.pin_maps(pins.maps());
    if (pinned) return {};
    if (pinned.error().code != ErrorCode::invalid) return fail(pinned.error());
    bool removed = false;
    for (const auto& map : object.maps())
      if (!removed && pinned.error().message.find(map) != std::string::npos) {
        bpfrt::remove_pin(pins.maps() + "/" + map);
        removed = true;
      }
    if (!removed) return fail(pinned.error());
  }
  return fail(ErrorCode::internal, "the pinned maps cannot be brought to this version's layout");
}

}  // namespace

class Datapath::Impl {
 public:
  Fd lock;
  Options options;
  Pins pins;
  Features features;
  std::map<std::string, bpfrt::Object> objects;  // by hook
  std::map<std::string, std::unique_ptr<bpfrt::RawMap>> maps;
  std::unique_ptr<Tables> tables;

  Result<void> load(const std::string& hook, std::span<const std::byte> elf) {
    WEFT_TRY(auto object, bpfrt::Object::open(elf, hook));
    WEFT_CHECK(size_maps(object, options));
    if (auto shared = share_maps(object, pins); !shared) return fail(shared.error().in(hook));
    if (auto loaded = object.load(); !loaded) return fail(loaded.error().in(hook));
    for (const auto& name : object.maps()) {
      if (is_private(name) || maps.contains(name)) continue;
      WEFT_TRY(maps[name], object.map(name));
    }
    objects.emplace(hook, std::move(object));
    return {};
  }

  // Other devices may hand their packets to this one.
  void let_xdp_send_by(std::uint32_t ifindex, bool may) const {
    const auto found = maps.find("weft_xdpdev_v1");
    if (found == maps.end()) return;
    bpfrt::Map<std::uint32_t, std::uint32_t> devices(*found->second);
    if (may)
      (void)devices.update(ifindex, 1);  // without the row such packets go by the stack
    else
      (void)devices.erase(ifindex);
  }

  [[nodiscard]] Result<int> program(const std::string& hook, const std::string& name) const {
    const auto found = objects.find(hook);
    if (found == objects.end()) return fail(ErrorCode::unsupported, hook + " programs are not loaded");
    return found->second.program_fd(name);
  }

  Result<void> attach(bpfrt::AttachMode mode, const char* role, std::uint32_t ifindex, const std::string& hook,
                      const std::string& ingress, const std::string& egress) const {
    WEFT_TRY(const auto in, program(hook, ingress));
    WEFT_TRY(const auto out, program(hook, egress));
    const auto device = static_cast<int>(ifindex);
    WEFT_CHECK(bpfrt::attach_device(mode, device, Hook::ingress, in, pins.link(role, ifindex, Hook::ingress)));
    return bpfrt::attach_device(mode, device, Hook::egress, out, pins.link(role, ifindex, Hook::egress));
  }

  [[nodiscard]] Result<bool> is_attached(bpfrt::AttachMode mode, const char* role, std::uint32_t ifindex,
                                         const std::string& hook, const std::string& ingress,
                                         const std::string& egress) const {
    const std::pair<Hook, const std::string&> sides[] = {{Hook::ingress, ingress}, {Hook::egress, egress}};
    for (const auto& [side, name] : sides) {
      WEFT_TRY(const auto descriptor, program(hook, name));
      WEFT_TRY(const auto id, bpfrt::program_id(descriptor));
      WEFT_TRY(const auto attached,
               bpfrt::is_attached(mode, static_cast<int>(ifindex), side, pins.link(role, ifindex, side), id));
      if (!attached) return false;
    }
    return true;
  }
};

Datapath::Datapath(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Datapath::~Datapath() = default;

Result<std::unique_ptr<Datapath>> Datapath::open(const Options& options) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->pins.root = options.pin_directory;
  WEFT_CHECK(prepare_directories(impl->pins));
  WEFT_TRY(impl->lock, lock_instance(impl->pins.root));
  impl->features.attach = bpfrt::probe_attach_mode();
  impl->features.cgroup = options.cgroup;
  std::size_t size = 0;
  const auto* elf = pod_bpf__elf_bytes(&size);
  WEFT_CHECK(impl->load("pod", as_bytes(elf, size)));
  elf = host_bpf__elf_bytes(&size);
  WEFT_CHECK(impl->load("host", as_bytes(elf, size)));
  elf = socket_bpf__elf_bytes(&size);
  if (auto loaded = impl->load("socket", as_bytes(elf, size)); !loaded)
    impl->features.socket_hook_error = loaded.error().message;
  elf = xdp_bpf__elf_bytes(&size);
  if (auto loaded = impl->load("xdp", as_bytes(elf, size)); !loaded) impl->features.xdp_error = loaded.error().message;
  WEFT_TRY(impl->tables, Tables::open([&](const std::string& name) {
             const auto found = impl->maps.find(name);
             return found == impl->maps.end() ? nullptr : found->second.get();
           }));
  return std::unique_ptr<Datapath>(new Datapath(std::move(impl)));
}

Tables& Datapath::tables() const { return *impl_->tables; }

Result<void> Datapath::attach_pod(std::uint32_t ifindex) {
  return impl_->attach(pod_attach_mode, "pod", ifindex, "pod", "weft_from_pod", "weft_to_pod");
}

Result<void> Datapath::attach_uplink(std::uint32_t ifindex) {
  return impl_->attach(impl_->features.attach, "uplink", ifindex, "host", "weft_from_device", "weft_to_device");
}

Result<void> Datapath::attach_xdp(std::uint32_t ifindex, bpfrt::XdpMode mode) {
  auto& features = impl_->features;
  Result<void> attached = {};
  if (!features.xdp_error.empty()) {
    attached = fail(ErrorCode::unsupported, features.xdp_error);
  } else {
    WEFT_TRY(const auto program, impl_->program("xdp", "weft_xdp"));
    attached = bpfrt::attach_xdp(mode, static_cast<int>(ifindex), program, impl_->pins.xdp(ifindex));
  }
  impl_->let_xdp_send_by(ifindex, attached && mode == bpfrt::XdpMode::native);
  features.xdp[ifindex] = attached ? Features::Xdp{mode, {}} : Features::Xdp{{}, attached.error().message};
  return attached;
}

void Datapath::leave_xdp(std::uint32_t ifindex, const std::string& why) {
  impl_->let_xdp_send_by(ifindex, false);
  bpfrt::detach_xdp(impl_->pins.xdp(ifindex));
  impl_->features.xdp[ifindex] = {bpfrt::XdpMode::off, why};
}

Result<bool> Datapath::xdp_attached(std::uint32_t ifindex) {
  const auto found = impl_->features.xdp.find(ifindex);
  if (found == impl_->features.xdp.end() || found->second.mode == bpfrt::XdpMode::off) return true;
  WEFT_TRY(const auto program, impl_->program("xdp", "weft_xdp"));
  WEFT_TRY(const auto id, bpfrt::program_id(program));
  return bpfrt::is_xdp_attached(static_cast<int>(ifindex), impl_->pins.xdp(ifindex), id);
}

Result<bool> Datapath::pod_attached(std::uint32_t ifindex) {
  return impl_->is_attached(pod_attach_mode, "pod", ifindex, "pod", "weft_from_pod", "weft_to_pod");
}

Result<bool> Datapath::uplink_attached(std::uint32_t ifindex) {
  return impl_->is_attached(impl_->features.attach, "uplink", ifindex, "host", "weft_from_device", "weft_to_device");
}

std::vector<std::string> Datapath::strangers(std::uint32_t ifindex) const {
  return find_strangers(ifindex, impl_->pins.root);
}

Result<void> Datapath::attach_sockets() {
  auto& features = impl_->features;
  if (features.cgroup.empty()) return fail(ErrorCode::unsupported, "no cgroup v2 hierarchy is mounted");
  if (!impl_->objects.contains("socket")) return fail(ErrorCode::unsupported, features.socket_hook_error);
  for (const auto& [name, type] : socket_programs) {
    WEFT_TRY(const auto program, impl_->program("socket", name));
    if (auto attached = bpfrt::attach_cgroup(features.cgroup, type, program, impl_->pins.socket(name)); !attached) {
      features.socket_hook = false;
      features.socket_hook_error = attached.error().message;
      return attached;
    }
  }
  features.socket_hook = true;
  features.socket_hook_error.clear();
  return {};
}

Result<bool> Datapath::sockets_attached() {
  for (const auto& [name, type] : socket_programs) {
    WEFT_TRY(const auto program, impl_->program("socket", name));
    WEFT_TRY(const auto id, bpfrt::program_id(program));
    WEFT_TRY(const auto attached,
             bpfrt::is_cgroup_attached(impl_->features.cgroup, type, impl_->pins.socket(name), id));
    if (!attached) return false;
  }
  return true;
}

void Datapath::prune(const std::vector<std::uint32_t>& uplinks) {
  std::set<std::string> wanted;
  for (const auto hook : {Hook::ingress, Hook::egress})
    for (const auto ifindex : uplinks) wanted.insert(impl_->pins.link("uplink", ifindex, hook));
  for (const auto& program : socket_programs) wanted.insert(impl_->pins.socket(program.name));
  for (const auto ifindex : uplinks) wanted.insert(impl_->pins.xdp(ifindex));
  for (const auto& name : bpfrt::list_pins(impl_->pins.links())) {
    const auto path = impl_->pins.links() + "/" + name;
    if (!wanted.contains(path)) bpfrt::remove_pin(path);
  }
}

const Features& Datapath::features() const { return impl_->features; }

std::uint32_t Datapath::highest_policy_class() const {
  std::uint32_t highest = 0;
  if (auto* raw = map("weft_policy_v1"))
    (void)bpfrt::Map<weft_policy_key, weft_policy_entry>(*raw).for_each([&](const auto& key, const auto&) {
      highest = std::max(highest, key.policy_class);
      return true;
    });
  return highest;
}

bpfrt::RawMap* Datapath::map(const std::string& name) const {
  const auto found = impl_->maps.find(name);
  return found == impl_->maps.end() ? nullptr : found->second.get();
}

std::vector<std::string> Datapath::map_names() const {
  std::vector<std::string> names;
  for (const auto& [name, map] : impl_->maps) names.push_back(name);
  return names;
}

}  // namespace weft::datapath
