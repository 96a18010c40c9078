// What is attached, whoever attached it.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>

#include "bpfrt/bpf_link.h"
#include "bpfrt/link.h"

namespace weft::bpfrt {

Result<bool> is_cgroup_attached(const std::string& cgroup, int attach_type, const std::string& pin_path,
                                std::uint32_t program_id) {
  struct stat status {};
  if (::stat(cgroup.c_str(), &status) < 0) return fail(errno_error("stat cgroup " + cgroup, errno));
  const Fd link(bpf_obj_get(pin_path.c_str()));
  if (!link.valid()) {
    if (errno == ENOENT) return false;
    return fail(errno_error("open pinned " + pin_path, errno));
  }
  LinkInfo info;
  if (read_link_info(link.get(), info) != 0) return fail(errno_error("read link " + pin_path, errno));
  return info.type == bpf_link_type_cgroup && info.prog_id == program_id && info.cgroup.cgroup_id == status.st_ino &&
         info.cgroup.attach_type == static_cast<std::uint32_t>(attach_type);
}

std::vector<AttachedProgram> tcx_programs(int ifindex, Hook hook) {
  std::vector<AttachedProgram> programs;
  std::array<std::uint32_t, 64> ids{};
  auto count = static_cast<std::uint32_t>(ids.size());
  const auto type = static_cast<bpf_attach_type>(hook == Hook::ingress ? bpf_tcx_ingress : bpf_tcx_egress);
  // For tcx the kernel reads the target as an ifindex.
  if (bpf_prog_query(ifindex, type, 0, nullptr, ids.data(), &count) != 0) return programs;
  for (std::uint32_t i = 0; i < count; ++i) {
    const Fd program(bpf_prog_get_fd_by_id(ids[i]));
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    if (!program.valid() || bpf_obj_get_info_by_fd(program.get(), &info, &size) != 0) continue;
    programs.push_back({ids[i], info.name});
  }
  return programs;
}

std::optional<std::uint32_t> pinned_link_program(const std::string& pin_path) {
  const Fd link(bpf_obj_get(pin_path.c_str()));
  LinkInfo info;
  if (!link.valid() || read_link_info(link.get(), info) != 0) return std::nullopt;
  return info.prog_id;
}

}  // namespace weft::bpfrt
