#include "datapath/datapath.h"

#include <fmt/format.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "datapath/instance.h"
#include "datapath/objects.h"
#include "datapath/table_sizes.h"
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

// A bpffs below the standard mount point shares that mount; elsewhere it gets one of its own.
Result<void> prepare_directories(const Pins& pins) {
  static const std::string standard = "/sys/fs/bpf";
  const bool below = pins.root.starts_with(standard + "/");
  WEFT_CHECK(sys::ensure_bpffs(below ? standard : pins.root));
  WEFT_CHECK(sys::make_directories(pins.maps(), 0700));
  return sys::make_directories(pins.links(), 0700);
}

// The uplinks' XDP programs of the last run: their device and the rows of it have to be taken over.
bool has_xdp_pins(const Pins& pins) {
  return std::ranges::any_of(bpfrt::list_pins(pins.links()), [](const auto& name) { return name.starts_with("xdp_"); });
}

}  // namespace

class Datapath::Impl {
 public:
  Fd lock;
  Options options;
  Pins pins;
  Features features;
  std::optional<Objects> objects;
  std::unique_ptr<Tables> tables;
  bool xdp_tried = false;

  // The pinned tables as they are, while their sizes are looked at.
  void settle_sizes() {
    std::map<std::string, std::unique_ptr<bpfrt::RawMap>> pinned;
    features.kept_sizes = keep_sizes(options, [&](const std::string& name) -> bpfrt::RawMap* {
      if (auto map = bpfrt::open_pinned_map(pins.maps() + "/" + name)) pinned[name] = std::move(*map);
      return pinned[name].get();
    });
  }

  // The largest of the objects is left out until a device is to run it.
  void load_xdp() {
    if (std::exchange(xdp_tried, true)) return;
    if (const auto failures = objects->load({"xdp"}); !failures.empty()) {
      features.xdp_error = failures.at("xdp").message;
      return;
    }
    for (const auto& [ifindex, xdp] : features.xdp)
      if (xdp.mode != bpfrt::XdpMode::native) let_xdp_send_by(ifindex, false);
  }

  // Other devices may hand their packets to this one.
  void let_xdp_send_by(std::uint32_t ifindex, bool may) const {
    auto* map = objects->map("weft_xdpdev_v1");
    if (map == nullptr) return;
    bpfrt::Map<std::uint32_t, std::uint32_t> devices(*map);
    if (may)
      (void)devices.update(ifindex, 1);  // without the row such packets go by the stack
    else
      (void)devices.erase(ifindex);
  }

  [[nodiscard]] Result<int> program(const std::string& hook, const std::string& name) const {
    return objects->program(hook, name);
  }

  // A program of one side of a device.
  struct Place {
    const char* role;
    Hook side;
    const char* object;
    const char* program;
  };
  Result<void> attach(bpfrt::AttachMode mode, std::uint32_t ifindex, std::span<const Place> places) const {
    for (const auto& place : places) {
      WEFT_TRY(const auto descriptor, program(place.object, place.program));
      WEFT_CHECK(bpfrt::attach_device(mode, static_cast<int>(ifindex), place.side, descriptor,
                                      pins.link(place.role, ifindex, place.side)));
    }
    return {};
  }

  [[nodiscard]] Result<bool> is_attached(bpfrt::AttachMode mode, std::uint32_t ifindex,
                                         std::span<const Place> places) const {
    for (const auto& place : places) {
      WEFT_TRY(const auto descriptor, program(place.object, place.program));
      WEFT_TRY(const auto id, bpfrt::program_id(descriptor));
      WEFT_TRY(const auto attached, bpfrt::is_attached(mode, static_cast<int>(ifindex), place.side,
                                                       pins.link(place.role, ifindex, place.side), id));
      if (!attached) return false;
    }
    return true;
  }
  static constexpr std::array pod_places{Place{"pod", Hook::ingress, "pod", "weft_from_pod"},
                                         Place{"pod", Hook::egress, "pod", "weft_to_pod"}};
  static constexpr std::array uplink_places{Place{"uplink", Hook::ingress, "host", "weft_from_device"},
                                            Place{"uplink", Hook::egress, "host", "weft_to_device"}};
  static constexpr std::array overlay_places{Place{"overlay", Hook::ingress, "host", "weft_from_overlay"}};
  static constexpr std::array wireguard_places{Place{"wireguard", Hook::ingress, "host", "weft_from_wireguard"}};
  static constexpr std::array host_places{Place{"host", Hook::egress, "host", "weft_from_host"}};
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
  impl->settle_sizes();
  impl->objects.emplace(impl->options, impl->pins.maps());
  std::vector<std::string> hooks{"pod", "host", "socket"};
  impl->xdp_tried = has_xdp_pins(impl->pins);
  if (impl->xdp_tried) hooks.emplace_back("xdp");
  for (const auto& [hook, error] : impl->objects->load(hooks)) {
    if (hook == "socket")
      impl->features.socket_hook_error = error.message;
    else if (hook == "xdp")
      impl->features.xdp_error = error.message;
    else
      return fail(error);
  }
  WEFT_TRY(impl->tables, Tables::open([&](const std::string& name) { return impl->objects->map(name); }));
  return std::unique_ptr<Datapath>(new Datapath(std::move(impl)));
}

Tables& Datapath::tables() const { return *impl_->tables; }

Result<void> Datapath::attach_pod(std::uint32_t ifindex) {
  return impl_->attach(pod_attach_mode, ifindex, Impl::pod_places);
}

Result<void> Datapath::attach_uplink(std::uint32_t ifindex) {
  return impl_->attach(impl_->features.attach, ifindex, Impl::uplink_places);
}

Result<void> Datapath::attach_overlay(std::uint32_t ifindex) {
  return impl_->attach(impl_->features.attach, ifindex, Impl::overlay_places);
}

Result<void> Datapath::attach_wireguard(std::uint32_t ifindex) {
  return impl_->attach(impl_->features.attach, ifindex, Impl::wireguard_places);
}

Result<void> Datapath::attach_host(std::uint32_t ifindex) {
  return impl_->attach(impl_->features.attach, ifindex, Impl::host_places);
}

Result<void> Datapath::attach_xdp(std::uint32_t ifindex, bpfrt::XdpMode mode) {
  auto& features = impl_->features;
  impl_->load_xdp();
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
  return impl_->is_attached(pod_attach_mode, ifindex, Impl::pod_places);
}

Result<bool> Datapath::uplink_attached(std::uint32_t ifindex) {
  return impl_->is_attached(impl_->features.attach, ifindex, Impl::uplink_places);
}

Result<bool> Datapath::overlay_attached(std::uint32_t ifindex) {
  return impl_->is_attached(impl_->features.attach, ifindex, Impl::overlay_places);
}

Result<bool> Datapath::wireguard_attached(std::uint32_t ifindex) {
  return impl_->is_attached(impl_->features.attach, ifindex, Impl::wireguard_places);
}

Result<bool> Datapath::host_attached(std::uint32_t ifindex) {
  return impl_->is_attached(impl_->features.attach, ifindex, Impl::host_places);
}

std::vector<std::string> Datapath::strangers(std::uint32_t ifindex) const {
  return find_strangers(ifindex, impl_->pins.root);
}

Result<void> Datapath::attach_sockets() {
  auto& features = impl_->features;
  if (features.cgroup.empty()) return fail(ErrorCode::unsupported, "no cgroup v2 hierarchy is mounted");
  if (!impl_->objects->has("socket")) return fail(ErrorCode::unsupported, features.socket_hook_error);
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

void Datapath::prune(const std::vector<std::uint32_t>& uplinks, std::uint32_t overlay, std::uint32_t host,
                     const std::vector<std::uint32_t>& wireguard) {
  std::set<std::string> wanted;
  if (overlay != 0) wanted.insert(impl_->pins.link("overlay", overlay, Hook::ingress));
  if (host != 0) wanted.insert(impl_->pins.link("host", host, Hook::egress));
  for (const auto ifindex : wireguard) wanted.insert(impl_->pins.link("wireguard", ifindex, Hook::ingress));
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

Result<void> Datapath::watch_until(std::chrono::nanoseconds time) {
  auto* map = impl_->objects->map("weft_l2watch_v1");
  if (map == nullptr) return fail(ErrorCode::internal, "weft_l2watch_v1 is missing");
  return bpfrt::Map<std::uint32_t, std::uint64_t>(*map).update(0, static_cast<std::uint64_t>(time.count()));
}

bpfrt::RawMap* Datapath::map(const std::string& name) const { return impl_->objects->map(name); }

std::vector<std::string> Datapath::map_names() const { return impl_->objects->map_names(); }

}  // namespace weft::datapath
