// bpf(2) link commands for tcx, which libbpf 1.1 and the Linux 6.1 headers do not know.
// Numbers and layouts are those of include/uapi/linux/bpf.h in Linux 6.6. Private to this room.
#pragma once

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "base/fd.h"

namespace weft::bpfrt {

inline constexpr std::uint32_t bpf_tcx_ingress = 46;      // BPF_TCX_INGRESS
inline constexpr std::uint32_t bpf_tcx_egress = 47;       // BPF_TCX_EGRESS
inline constexpr std::uint32_t bpf_link_type_tcx = 11;    // BPF_LINK_TYPE_TCX
inline constexpr std::uint32_t bpf_link_type_cgroup = 3;  // BPF_LINK_TYPE_CGROUP
inline constexpr std::uint32_t bpf_link_type_xdp = 6;     // BPF_LINK_TYPE_XDP

struct TcxLinkInfo {
  std::uint32_t ifindex;  // 0 once the device is gone
  std::uint32_t attach_type;
};
struct CgroupLinkInfo {
  std::uint64_t cgroup_id;  // 0 once the cgroup is gone
  std::uint32_t attach_type;
};
struct XdpLinkInfo {
  std::uint32_t ifindex;  // 0 once the device is gone
};

// struct bpf_link_info as far as tcx, cgroup and XDP links fill it; the union begins at offset 16.
struct LinkInfo {
  std::uint32_t type = 0;
  std::uint32_t id = 0;
  std::uint32_t prog_id = 0;
  std::uint32_t padding = 0;
  union {
    TcxLinkInfo tcx;
    CgroupLinkInfo cgroup;
    XdpLinkInfo xdp;
    std::uint64_t rest[8] = {};
  };
};
static_assert(offsetof(LinkInfo, tcx) == 16 && offsetof(LinkInfo, cgroup) == 16);

// The descriptor of a new link, or an invalid one with errno set. `target` is an ifindex or a
// descriptor of a cgroup. `flags`: XDP's mode; for tcx there is no anchor: the program goes last.
inline Fd create_link(int program, std::uint32_t target, std::uint32_t attach_type, std::uint32_t flags = 0) {
  bpf_attr attr{};
  attr.link_create.prog_fd = static_cast<std::uint32_t>(program);
  attr.link_create.target_fd = target;  // a union with target_ifindex
  attr.link_create.attach_type = attach_type;
  attr.link_create.flags = flags;
  return Fd(static_cast<int>(::syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof attr.link_create)));
}

// 0, or -1 with errno set.
inline int read_link_info(int link, LinkInfo& info) {
  std::uint32_t size = sizeof info;
  info = {};
  return bpf_obj_get_info_by_fd(link, &info, &size) == 0 ? 0 : -1;
}

}  // namespace weft::bpfrt
