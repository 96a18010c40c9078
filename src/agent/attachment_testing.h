// What the tests of attachments share: a kernel in memory whose steps can fail or be the last, the store's file, and
// runs of the agent on them.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/attachment.h"
#include "datapath/testing.h"
#include "sys/fake_netlink.h"

namespace weft::agent::testing {

using datapath::to_abi;
using nlohmann::json;
using store::EndpointState;

struct Killed {};  // thrown where a test wants the process to end

// Every call into the kernel counts one step; a test lets one of them fail, or be the process's last.
struct Steps {
  std::uint64_t count = 0;
  std::uint64_t fail_at = 0;  // 0: never
  std::uint64_t kill_at = 0;
  Result<void> take(const char* what) {
    ++count;
    if (kill_at != 0 && count >= kill_at) throw Killed{};
    if (count == fail_at) return fail(ErrorCode::io, fmt::format("injected fault at step {} ({})", count, what));
    return {};
  }
};

// The namespace a descriptor of FakePods stands for.
using Descriptors = std::map<int, int>;

class SteppedNetlink final : public sys::Netlink {
 public:
  SteppedNetlink(std::unique_ptr<sys::Netlink> inner, Steps& steps, const Descriptors& descriptors)
      : inner_(std::move(inner)), steps_(steps), descriptors_(descriptors) {}
  Result<std::vector<sys::Device>> devices() override { return inner_->devices(); }
  Result<sys::Device> device(const std::string& name) override {
    WEFT_CHECK(steps_.take("read a device"));
    return inner_->device(name);
  }
  Result<sys::Device> device(int index) override { return inner_->device(index); }
  Result<sys::Device> create_veth(const sys::VethRequest& request) override {
    WEFT_CHECK(steps_.take("create veth"));
    auto fake = request;
    fake.peer_netns = descriptors_.at(request.peer_netns);
    return inner_->create_veth(fake);
  }
  Result<sys::Device> create_dummy(const std::string& name, const MacAddress& mac) override {
    return inner_->create_dummy(name, mac);
  }
  Result<sys::Device> create_vxlan(const std::string& name, std::uint16_t port, const MacAddress& mac) override {
    return inner_->create_vxlan(name, port, mac);
  }
  Result<sys::Device> create_wireguard(const std::string& name) override { return inner_->create_wireguard(name); }
  Result<sys::Device> create_tun(const std::string& name) override { return inner_->create_tun(name); }
  Result<void> delete_device(int index) override {
    WEFT_CHECK(steps_.take("delete device"));
    return inner_->delete_device(index);
  }
  Result<void> set_up(int index, bool up) override {
    WEFT_CHECK(steps_.take("set up"));
    return inner_->set_up(index, up);
  }
  Result<void> set_mtu(int index, std::uint32_t mtu) override { return inner_->set_mtu(index, mtu); }
  Result<void> set_group(int index, std::uint32_t group) override { return inner_->set_group(index, group); }
  Result<void> delete_group(std::uint32_t group) override { return inner_->delete_group(group); }
  Result<std::vector<sys::DeviceAddress>> addresses() override { return inner_->addresses(); }
  Result<void> add_address(const sys::DeviceAddress& address) override {
    WEFT_CHECK(steps_.take("add address"));
    return inner_->add_address(address);
  }
  Result<void> delete_address(const sys::DeviceAddress& address) override { return inner_->delete_address(address); }
  Result<std::vector<sys::Route>> routes() override { return inner_->routes(); }
  Result<std::vector<IpAddress>> next_hops() override { return inner_->next_hops(); }
  Result<sys::WayTo> way_to(const IpAddress& address) override { return inner_->way_to(address); }
  Result<void> replace_route(const sys::Route& route) override {
    WEFT_CHECK(steps_.take("set route"));
    return inner_->replace_route(route);
  }
  Result<void> delete_route(const sys::Route& route) override { return inner_->delete_route(route); }
  Result<std::vector<sys::Neighbour>> neighbours() override { return inner_->neighbours(); }
  Result<void> replace_neighbour(int device, const IpAddress& address, const MacAddress& mac) override {
    WEFT_CHECK(steps_.take("set neighbour"));
    return inner_->replace_neighbour(device, address, mac);
  }

 private:
  std::unique_ptr<sys::Netlink> inner_;
  Steps& steps_;
  const Descriptors& descriptors_;
};

// "/ns/7" is namespace 7 of the fake kernel.
class FakePods final : public PodKernel {
 public:
  FakePods(sys::FakeKernel& kernel, Steps& steps) : kernel_(kernel), steps_(steps) {}
  Result<Fd> open_netns(const std::string& path) override {
    WEFT_CHECK(steps_.take("open netns"));
    if (!path.starts_with("/ns/")) return fail(ErrorCode::not_found, "no namespace " + path);
    Fd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    descriptors[fd.get()] = std::stoi(path.substr(4));
    return fd;
  }
  Result<std::uint64_t> netns_cookie(int netns) override {
    return 1000 + static_cast<std::uint64_t>(descriptors.at(netns));
  }
  Result<std::uint64_t> netns_inode(int netns) override {
    return 2000 + static_cast<std::uint64_t>(descriptors.at(netns));
  }
  Result<std::unique_ptr<sys::Netlink>> open_netlink(int netns) override {
    WEFT_CHECK(steps_.take("open netlink"));
    return std::make_unique<SteppedNetlink>(kernel_.open(descriptors.at(netns)), steps_, descriptors);
  }
  Result<void> enable_ipv6(int, const std::string&) override { return steps_.take("enable IPv6"); }
  Result<void> attach_programs(std::uint32_t ifindex) override {
    WEFT_CHECK(steps_.take("attach programs"));
    attached.insert(ifindex);
    return {};
  }
  Result<bool> programs_attached(std::uint32_t ifindex) override { return attached.contains(ifindex); }

  Descriptors descriptors;
  std::set<std::uint32_t> attached;

 private:
  sys::FakeKernel& kernel_;
  Steps& steps_;
};

// While it lives no file of this process can grow, so the store cannot write.
class DiskFull {
 public:
  DiskFull() {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit none{0, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  ~DiskFull() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  DiskFull(const DiskFull&) = delete;
  DiskFull& operator=(const DiskFull&) = delete;

 private:
  rlimit before_{};
};

// What outlives the agent: the kernel, its maps, the store's file.
struct Machine {
  explicit Machine(const std::string& name)
      : directory(std::filesystem::temp_directory_path() / fmt::format("weft-attachment-{}-{}", ::getpid(), name)) {
    std::filesystem::remove_all(directory);
    std::filesystem::create_directories(directory);
  }
  ~Machine() { std::filesystem::remove_all(directory); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  std::filesystem::path directory;
  sys::FakeKernel kernel;
  Steps steps;
  FakePods pods{kernel, steps};
  datapath::testing::FakeMaps maps;
};

inline control::PoolOptions pool() {
  control::PoolOptions options;
  options.cidrs = {*Cidr::parse("10.1.0.0/24"), *Cidr::parse("fd01::/64")};
  options.quarantine = std::chrono::seconds(0);
  return options;
}

// One run of the agent, as far as attaching is concerned.
class AgentRun {
 public:
  explicit AgentRun(Machine& machine)
      : machine_(machine),
        store(*store::Store::open(machine.directory / "weft.db")),
        netlink_(machine.kernel.open(), machine.steps, machine.pods.descriptors),
        ipam(restore(store)),
        tables_(*machine.maps.open()),
        attachment(store, netlink_, machine.pods, ipam, [this] { return publish(); }) {
    attachment.set_reaper(std::make_unique<Reaper>(machine.kernel.open(), [](const store::EndpointKey&) {}));
  }

  // What the agent does at its start.
  void start() {
    std::vector<std::string> notes;
    ASSERT_TRUE(attachment.recover(notes));
    ASSERT_TRUE(publish());
    attachment.adopt(notes);
  }
  Result<void> remove(const store::EndpointKey& key) {
    auto removed = attachment.remove(key);
    attachment.reaper().wait_for(key);
    attachment.reaped(key);
    return removed;
  }

 private:
  static control::Ipam restore(store::Store& store) {
    std::vector<control::Allocation> allocations;
    const auto rows = store.allocations();
    for (const auto& row : *rows) allocations.push_back({row.address, row.owner});
    return {pool(), std::move(allocations), {}};
  }
  Result<void> publish() {
    WEFT_CHECK(machine_.steps.take("publish"));
    datapath::DesiredRows rows;
    for (const auto& [key, record] : attachment.records()) {
      if (record.state == EndpointState::deleting || record.ifindex == 0) continue;
      weft_endpoint row{};
      row.ifindex = record.ifindex;
      row.endpoint_id = record.endpoint_id;
      for (const auto& address : record.addresses) rows.endpoints[to_abi(address)] = row;
      rows.netns[record.netns_cookie] = {record.endpoint_id, 0};
    }
    return tables_->apply(rows, {});
  }

  Machine& machine_;

 public:
  store::Store store;

 private:
  SteppedNetlink netlink_;

 public:
  control::Ipam ipam;

 private:
  std::unique_ptr<datapath::Tables> tables_;

 public:
  Attachment attachment;
};

inline AttachRequest request(int netns = 7, const std::string& container = "c1") {
  AttachRequest request;
  request.key = {container, "eth0"};
  request.netns = fmt::format("/ns/{}", netns);
  request.namespace_ = "shop";
  request.pod = "web";
  request.network = "weft";
  return request;
}

inline void expect_nothing_left(Machine& machine, AgentRun& run, const std::string& when) {
  SCOPED_TRACE(when);
  EXPECT_TRUE(run.attachment.records().empty());
  EXPECT_TRUE(run.store.endpoints()->empty());
  EXPECT_TRUE(run.store.allocations()->empty());
  for (const auto& allocation : run.ipam.allocations()) EXPECT_EQ(allocation.owner.find("c1/"), std::string::npos);
  EXPECT_EQ(machine.kernel.at().devices.size(), 1U) << "only the loopback";
  EXPECT_TRUE(machine.kernel.at().routes.empty());
  EXPECT_EQ(machine.kernel.at(7).devices.size(), 1U);
  EXPECT_TRUE(machine.maps.endpoints().empty());
  EXPECT_TRUE(machine.maps.all().netns.empty());
}

inline void expect_attached(Machine& machine, AgentRun& run, const json& result) {
  ASSERT_EQ(run.attachment.records().size(), 1U);
  const auto& record = run.attachment.records().begin()->second;
  EXPECT_EQ(record.state, EndpointState::ready);
  EXPECT_EQ(record.addresses.size(), 2U);
  EXPECT_EQ(result["interfaces"][0]["name"], record.device);
  EXPECT_EQ(result["ips"].size(), 2U);
  for (const auto& address : record.addresses) EXPECT_EQ(machine.maps.endpoints().count(to_abi(address)), 1U);
  EXPECT_EQ(run.store.allocations()->size(), 2U);
  const auto* inside = machine.kernel.at(7).find("eth0");
  ASSERT_NE(inside, nullptr);
  EXPECT_TRUE(inside->up);
  EXPECT_EQ(machine.kernel.at(7).addresses.size(), 2U);
  EXPECT_EQ(machine.kernel.at(7).routes.size(), 4U);
  EXPECT_EQ(machine.kernel.at().routes.size(), 2U);
  EXPECT_EQ(machine.kernel.at().devices.size(), 2U);
  EXPECT_TRUE(machine.pods.attached.contains(record.ifindex));
}

}  // namespace weft::agent::testing
