// Attaching programs: tcx links where the kernel has them (6.6), clsact filters otherwise, XDP and
// cgroup links. Links are pinned, so they outlive the agent; clsact filters live
// with the device. All of it through bpf(2) and rtnetlink directly: libbpf 1.1 knows no tcx.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace weft::bpfrt {

// What the modes cost (measured on Linux 6.18, 250 Hz): attaching or detaching a tcx link waits for an RCU grace
// period with the rtnl lock held, 8 to 16 ms for each hook and for everyone else who configures devices
// meanwhile; a clsact filter takes 0.2 ms for the first hook of a device and 0.02 ms for the second. A packet
// passes a tcx hook 15 to 20 ns faster. So tcx suits devices that are attached to once, clsact those that
// somebody waits for. Replacing the program behind a pinned tcx link waits for nothing.
enum class AttachMode { tcx, clsact };
enum class Hook { ingress, egress };

// What this kernel can do: tries a tcx link on the loopback device of the current namespace with a trivial program.
AttachMode probe_attach_mode();

// Attaches `program` to device `ifindex` of the current namespace and, for tcx, pins the link at
// `pin_path`. If a link is pinned there already its program is replaced atomically
// (BPF_LINK_UPDATE); a dead pinned link (device gone) is removed first. For clsact: creates the
// qdisc if needed and replaces the filter at priority 1, handle 1.
Result<void> attach_device(AttachMode mode, int ifindex, Hook hook, int program, const std::string& pin_path);
Result<void> detach_device(AttachMode mode, int ifindex, Hook hook, const std::string& pin_path);  // absent is success
// True when the program with this id runs on the hook through our pin (tcx) or filter (clsact).
Result<bool> is_attached(AttachMode mode, int ifindex, Hook hook, const std::string& pin_path,
                         std::uint32_t program_id);

// XDP: in the driver (native) or in the kernel's generic receive path.
enum class XdpMode { off, native, generic };
std::string_view to_string(XdpMode mode);
// Attaches `program` in this mode and pins the link at `pin_path`. A pinned link of the mode gets the program instead
// (BPF_LINK_UPDATE, no packet is missed); one of another mode is replaced. `off` detaches what is pinned there.
Result<void> attach_xdp(XdpMode mode, int ifindex, int program, const std::string& pin_path);
void detach_xdp(const std::string& pin_path);  // absent is success
// Gives a veth end a program that lets everything pass, and with it the receive loop (NAPI) without which what the
// other end sends from XDP is lost. It stays with the device.
Result<void> attach_pass_through(int ifindex);
// Gives a device a clsact filter that drops all that arrives, after packet sockets have seen it; detach_device ends it.
Result<void> attach_drop(int ifindex);
// True when the program with this id runs on the device through the link pinned there.
Result<bool> is_xdp_attached(int ifindex, const std::string& pin_path, std::uint32_t program_id);

// attach_type: enum bpf_attach_type such as BPF_CGROUP_INET4_CONNECT.
Result<void> attach_cgroup(const std::string& cgroup, int attach_type, int program, const std::string& pin_path);

// True when the program with this id runs on the cgroup through the link pinned there.
Result<bool> is_cgroup_attached(const std::string& cgroup, int attach_type, const std::string& pin_path,
                                std::uint32_t program_id);

struct AttachedProgram {
  std::uint32_t id = 0;
  std::string name;  // the kernel keeps 15 characters
};
// The programs of all tcx links on the hook, in the order a packet meets them; empty where the kernel has no tcx.
std::vector<AttachedProgram> tcx_programs(int ifindex, Hook hook);
// The id of the program behind a pinned link; nothing when there is no such link.
std::optional<std::uint32_t> pinned_link_program(const std::string& pin_path);

Result<void> pin_object(int fd, const std::string& path);  // replaces what is there
Result<Fd> open_pinned(const std::string& path);           // program, map or link
Result<std::uint32_t> program_id(int program);
// Names of the objects pinned in a bpffs directory, sorted, without the kernel's own; empty when it does not exist.
std::vector<std::string> list_pins(const std::string& directory);
void remove_pin(const std::string& path);

}  // namespace weft::bpfrt
