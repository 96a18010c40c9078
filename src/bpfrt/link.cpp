#include "bpfrt/link.h"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>

#include <fmt/format.h>

#include "bpfrt/bpf_link.h"
#include "bpfrt/libbpf_log.h"

namespace weft::bpfrt {
namespace {

constexpr std::uint32_t filter_priority = 1;
constexpr std::uint32_t filter_handle = 1;

std::uint32_t tcx_type(Hook hook) { return hook == Hook::ingress ? bpf_tcx_ingress : bpf_tcx_egress; }

std::string describe(int ifindex, Hook hook) {
  return fmt::format("{} of device {}", hook == Hook::ingress ? "ingress" : "egress", ifindex);
}

// A pinned link if it is alive and `right` says it is the one wanted; otherwise the pin is removed.
template <class Right>
Fd adopt_pinned_link(const std::string& pin_path, const Right& right) {
  Fd link(bpf_obj_get(pin_path.c_str()));
  LinkInfo info;
  if (link.valid() && read_link_info(link.get(), info) == 0 && right(info)) return link;
  if (link.valid()) remove_pin(pin_path);
  return {};
}

// Puts `program` behind the adopted link, or makes and pins a new one.
template <class Right>
Result<void> attach_link(std::uint32_t target, std::uint32_t attach_type, int program, const std::string& pin_path,
                         const std::string& where, const Right& right) {
  if (const Fd link = adopt_pinned_link(pin_path, right); link.valid()) {
    if (bpf_link_update(link.get(), program, nullptr) == 0) return {};
    if (errno != ENOLINK) return fail(errno_error("replace the program at " + where, errno));
    remove_pin(pin_path);  // died meanwhile
  }
  const Fd link = create_link(program, target, attach_type);
  if (!link.valid()) return fail(errno_error("attach to " + where, errno));
  return pin_object(link.get(), pin_path);
}

// A program that says the same of every packet.
Fd load_constant(bpf_prog_type type, const char* name, int answer) {
  const std::array<bpf_insn, 2> program{
      bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = answer},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  return Fd(bpf_prog_load(type, name, "GPL", program.data(), program.size(), nullptr));
}

bpf_tc_hook clsact_hook(int ifindex, Hook hook) {
  bpf_tc_hook tc{};
  tc.sz = sizeof tc;
  tc.ifindex = ifindex;
  tc.attach_point = hook == Hook::ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
  return tc;
}

bpf_tc_opts clsact_filter() {
  bpf_tc_opts filter{};
  filter.sz = sizeof filter;
  filter.handle = filter_handle;
  filter.priority = filter_priority;
  return filter;
}

Result<void> attach_clsact(int ifindex, Hook hook, int program) {
  const LibbpfLog log;
  auto tc = clsact_hook(ifindex, hook);
  if (const int status = bpf_tc_hook_create(&tc); status != 0 && status != -EEXIST)
    return fail(log.error(fmt::format("create the clsact qdisc of device {}", ifindex), -status));
  auto filter = clsact_filter();
  filter.prog_fd = program;
  filter.flags = BPF_TC_F_REPLACE;
  if (const int status = bpf_tc_attach(&tc, &filter); status != 0)
    return fail(log.error("attach a filter to " + describe(ifindex, hook), -status));
  return {};
}

// Of whatever program the device has.
XdpMode xdp_mode(int ifindex) {
  const LibbpfLog log;
  LIBBPF_OPTS(bpf_xdp_query_opts, query);
  if (bpf_xdp_query(ifindex, 0, &query) != 0) return XdpMode::off;
  return query.attach_mode == XDP_ATTACHED_DRV || query.attach_mode == XDP_ATTACHED_HW ? XdpMode::native
         : query.attach_mode == XDP_ATTACHED_SKB                                       ? XdpMode::generic
                                                                                       : XdpMode::off;
}

// EINVAL is the kernel's answer where there is no clsact qdisc.
bool is_absent(int status) { return status == -ENOENT || status == -EINVAL || status == -ENODEV; }

}  // namespace

AttachMode probe_attach_mode() {
  // r0 = TCX_NEXT; exit: it lets every packet pass to the next program for the moment it is there.
  std::array<bpf_insn, 2> pass{};
  pass[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  pass[0].imm = -1;
  pass[1].code = BPF_JMP | BPF_EXIT;
  const Fd program(
      bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "weft_probe", "Dual BSD/GPL", pass.data(), pass.size(), nullptr));
  const unsigned loopback = ::if_nametoindex("lo");
  if (!program.valid() || loopback == 0) return AttachMode::clsact;
  return create_link(program.get(), loopback, bpf_tcx_ingress).valid() ? AttachMode::tcx : AttachMode::clsact;
}

Result<void> attach_device(AttachMode mode, int ifindex, Hook hook, int program, const std::string& pin_path) {
  if (mode == AttachMode::clsact) return attach_clsact(ifindex, hook, program);
  const auto device = static_cast<std::uint32_t>(ifindex);
  return attach_link(device, tcx_type(hook), program, pin_path, describe(ifindex, hook), [&](const LinkInfo& info) {
    return info.type == bpf_link_type_tcx && info.tcx.ifindex == device && info.tcx.attach_type == tcx_type(hook);
  });
}

Result<void> detach_device(AttachMode mode, int ifindex, Hook hook, const std::string& pin_path) {
  if (mode == AttachMode::tcx) {
    // Detached explicitly: somebody else's descriptor of the link would keep it attached.
    if (const Fd link(bpf_obj_get(pin_path.c_str())); link.valid()) (void)bpf_link_detach(link.get());
    remove_pin(pin_path);
    return {};
  }
  const LibbpfLog log;
  const auto tc = clsact_hook(ifindex, hook);
  const auto filter = clsact_filter();
  if (const int status = bpf_tc_detach(&tc, &filter); status != 0 && !is_absent(status))
    return fail(log.error("remove the filter from " + describe(ifindex, hook), -status));
  return {};
}

Result<bool> is_attached(AttachMode mode, int ifindex, Hook hook, const std::string& pin_path,
                         std::uint32_t program_id) {
  if (mode == AttachMode::tcx) {
    const Fd link(bpf_obj_get(pin_path.c_str()));
    if (!link.valid())
      return errno == ENOENT ? Result<bool>(false) : fail(errno_error("open pinned " + pin_path, errno));
    LinkInfo info;
    if (read_link_info(link.get(), info) != 0) return fail(errno_error("read link " + pin_path, errno));
    return info.type == bpf_link_type_tcx && info.prog_id == program_id &&
           info.tcx.ifindex == static_cast<std::uint32_t>(ifindex) && info.tcx.attach_type == tcx_type(hook);
  }
  const LibbpfLog log;
  const auto tc = clsact_hook(ifindex, hook);
  auto filter = clsact_filter();
  const int status = bpf_tc_query(&tc, &filter);
  if (is_absent(status)) return false;
  if (status != 0) return fail(log.error("read the filter of " + describe(ifindex, hook), -status));
  return filter.prog_id == program_id;
}

std::string_view to_string(XdpMode mode) {
  switch (mode) {
    case XdpMode::off:
      return "off";
    case XdpMode::native:
      return "native";
    case XdpMode::generic:
      return "generic";
  }
  return "?";
}

Result<void> attach_xdp(XdpMode mode, int ifindex, int program, const std::string& pin_path) {
  if (mode == XdpMode::off) {
    detach_xdp(pin_path);
    return {};
  }
  const auto device = static_cast<std::uint32_t>(ifindex);
  Fd link = adopt_pinned_link(
      pin_path, [&](const LinkInfo& info) { return info.type == bpf_link_type_xdp && info.xdp.ifindex == device; });
  if (link.valid()) {
    if (xdp_mode(ifindex) == mode && bpf_link_update(link.get(), program, nullptr) == 0) return {};
    // Of another mode, or dead: without it packets take the way by tc.
    (void)bpf_link_detach(link.get());
    remove_pin(pin_path);
  }
  link = create_link(program, device, BPF_XDP, mode == XdpMode::native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
  if (!link.valid()) {
    const int error = errno;
    return fail(errno_error(fmt::format("attach to {} XDP of device {}", to_string(mode), ifindex), error));
  }
  return pin_object(link.get(), pin_path);
}

Result<void> attach_drop(int ifindex) {
  const Fd program = load_constant(BPF_PROG_TYPE_SCHED_CLS, "weft_drop", TC_ACT_SHOT);
  if (!program.valid()) return fail(errno_error("load a program that drops packets", errno));
  return attach_device(AttachMode::clsact, ifindex, Hook::ingress, program.get(), {});
}

Result<void> attach_pass_through(int ifindex) {
  const LibbpfLog log;
  const Fd program = load_constant(BPF_PROG_TYPE_XDP, "weft_pass", XDP_PASS);
  if (!program.valid()) return fail(errno_error("load a program that lets packets pass", errno));
  if (const int status = bpf_xdp_attach(ifindex, program.get(), XDP_FLAGS_DRV_MODE, nullptr); status != 0)
    return fail(log.error(fmt::format("attach to XDP of device {}", ifindex), -status));
  return {};
}

Result<bool> is_xdp_attached(int ifindex, const std::string& pin_path, std::uint32_t program_id) {
  const Fd link(bpf_obj_get(pin_path.c_str()));
  if (!link.valid()) return errno == ENOENT ? Result<bool>(false) : fail(errno_error("open pinned " + pin_path, errno));
  LinkInfo info;
  if (read_link_info(link.get(), info) != 0) return fail(errno_error("read link " + pin_path, errno));
  return info.type == bpf_link_type_xdp && info.prog_id == program_id &&
         info.xdp.ifindex == static_cast<std::uint32_t>(ifindex);
}

void detach_xdp(const std::string& pin_path) {
  if (const Fd link(bpf_obj_get(pin_path.c_str())); link.valid()) (void)bpf_link_detach(link.get());
  remove_pin(pin_path);
}

Result<void> attach_cgroup(const std::string& cgroup, int attach_type, int program, const std::string& pin_path) {
  const Fd directory(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return fail(errno_error("open cgroup " + cgroup, errno));
  struct stat status {};
  if (::fstat(directory.get(), &status) < 0) return fail(errno_error("stat cgroup " + cgroup, errno));
  const auto type = static_cast<std::uint32_t>(attach_type);
  // A cgroup v2 directory's inode number is the cgroup's id.
  auto attached = attach_link(static_cast<std::uint32_t>(directory.get()), type, program, pin_path, "cgroup " + cgroup,
                              [&](const LinkInfo& info) {
                                return info.type == bpf_link_type_cgroup && info.cgroup.cgroup_id == status.st_ino &&
                                       info.cgroup.attach_type == type;
                              });
  if (!attached && attached.error().code == ErrorCode::denied && attached.error().hint.empty())
    attached.error().hint = "another program may hold this cgroup hook exclusively; see bpftool cgroup show " + cgroup;
  return attached;
}

}  // namespace weft::bpfrt
