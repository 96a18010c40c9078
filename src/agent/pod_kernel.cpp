#include "agent/attachment.h"
#include "sys/netns.h"
#include "sys/system.h"

namespace weft::agent {
namespace {

class RealPodKernel final : public PodKernel {
 public:
  explicit RealPodKernel(datapath::Datapath& datapath) : datapath_(datapath) {}
  Result<Fd> open_netns(const std::string& path) override { return sys::open_netns(path); }
  Result<std::uint64_t> netns_cookie(int netns) override { return sys::netns_cookie(netns); }
  Result<std::uint64_t> netns_inode(int netns) override { return sys::netns_inode(netns); }
  Result<std::unique_ptr<sys::Netlink>> open_netlink(int netns) override { return sys::open_netlink_in(netns); }
  Result<void> enable_ipv6(int netns, const std::string& ifname) override {
    WEFT_TRY(const auto scope, sys::NetnsScope::enter(netns));
    return sys::write_sysctl("net/ipv6/conf/" + ifname + "/disable_ipv6", "0");
  }
  Result<void> attach_programs(std::uint32_t ifindex) override { return datapath_.attach_pod(ifindex); }
  Result<bool> programs_attached(std::uint32_t ifindex) override { return datapath_.pod_attached(ifindex); }

 private:
  datapath::Datapath& datapath_;
};

}  // namespace

std::unique_ptr<PodKernel> real_pod_kernel(datapath::Datapath& datapath) {
  return std::make_unique<RealPodKernel>(datapath);
}

}  // namespace weft::agent
