#include "agent/attachment.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "datapath/testing.h"
#include "sys/fake_netlink.h"

namespace weft::agent {
namespace {

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

control::PoolOptions pool() {
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
    ASSERT_TRUE(attachment.adopt(notes));
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

AttachRequest request(int netns = 7, const std::string& container = "c1") {
  AttachRequest request;
  request.key = {container, "eth0"};
  request.netns = fmt::format("/ns/{}", netns);
  request.namespace_ = "shop";
  request.pod = "web";
  request.network = "weft";
  return request;
}

void expect_nothing_left(Machine& machine, AgentRun& run, const std::string& when) {
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

void expect_attached(Machine& machine, AgentRun& run, const json& result) {
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

TEST(Attachment, AddGivesAddressesRoutesAndAResult) {
  Machine machine("add");
  AgentRun run(machine);
  const auto result = run.attachment.add(request());
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ((*result)["ips"][0]["address"], "10.1.0.2/32");
  EXPECT_EQ((*result)["ips"][0]["gateway"], "10.1.0.1");
  EXPECT_EQ((*result)["ips"][1]["address"], "fd01::2/128");
  EXPECT_EQ((*result)["interfaces"][1]["sandbox"], "/ns/7");
  expect_attached(machine, run, *result);
  ASSERT_TRUE(run.remove(request().key));
  expect_nothing_left(machine, run, "after DEL");
}

TEST(Attachment, AnUnacknowledgedAddIsRepeatedAnAcknowledgedOneRefused) {
  Machine machine("repeat");
  AgentRun run(machine);
  const auto first = run.attachment.add(request());
  const auto again = run.attachment.add(request());
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, *first);
  run.attachment.acknowledge(request().key);
  const auto refused = run.attachment.add(request());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::exists);
}

TEST(Attachment, AnAddInAnotherNamespaceReplacesTheOld) {
  Machine machine("moved");
  AgentRun run(machine);
  ASSERT_TRUE(run.attachment.add(request(7)));
  run.attachment.acknowledge(request().key);
  const auto moved = run.attachment.add(request(8));
  ASSERT_TRUE(moved) << moved.error().message;
  EXPECT_EQ(machine.kernel.at(7).devices.size(), 1U);
  EXPECT_NE(machine.kernel.at(8).find("eth0"), nullptr);
  EXPECT_EQ(run.store.allocations()->size(), 2U);
}

TEST(Attachment, AnInterfaceOfSomebodyElseIsKept) {
  Machine machine("taken");
  AgentRun run(machine);
  ASSERT_TRUE(machine.kernel.open(7)->create_dummy("eth0", {}));
  const auto refused = run.attachment.add(request());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::exists);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("eth0"));
  EXPECT_NE(machine.kernel.at(7).find("eth0"), nullptr);
  EXPECT_TRUE(run.attachment.records().empty());
  EXPECT_TRUE(run.store.endpoints()->empty());
}

TEST(Attachment, RequestedAddressesAreGivenOrRefused) {
  Machine machine("requested");
  AgentRun run(machine);
  auto wanted = request();
  wanted.addresses = {*IpAddress::parse("10.1.0.77")};
  wanted.mac = *MacAddress::parse("02:00:00:00:00:77");
  ASSERT_TRUE(run.attachment.add(wanted));
  EXPECT_EQ(machine.kernel.at(7).find("eth0")->mac, *wanted.mac);
  auto clash = request(8, "c2");
  clash.addresses = wanted.addresses;
  EXPECT_FALSE(run.attachment.add(clash));
  EXPECT_EQ(run.store.endpoints()->size(), 1U);
}

TEST(Attachment, DelOfAnUnknownContainerIsNoError) {
  Machine machine("unknown");
  AgentRun run(machine);
  EXPECT_TRUE(run.remove({"nobody", "eth0"}));
}

TEST(Attachment, GarbageCollectionTakesOnlyTheNetworksOwn) {
  Machine machine("collect");
  AgentRun run(machine);
  ASSERT_TRUE(run.attachment.add(request(7, "c1")));
  ASSERT_TRUE(run.attachment.add(request(8, "c2")));
  auto other = request(9, "c3");
  other.network = "another";
  ASSERT_TRUE(run.attachment.add(other));
  const auto removed = run.attachment.collect("weft", {{"c2", "eth0"}});
  ASSERT_TRUE(removed);
  EXPECT_THAT(*removed, ::testing::ElementsAre(store::EndpointKey{"c1", "eth0"}));
}

TEST(Attachment, CheckTellsWhatIsWrong) {
  Machine machine("check");
  AgentRun run(machine);
  const auto good = request();
  EXPECT_EQ(run.attachment.check(good, {}).error().code, ErrorCode::not_found);
  const auto result = *run.attachment.add(good);
  EXPECT_TRUE(run.attachment.check(good, result));
  EXPECT_FALSE(run.attachment.check(request(8), result)) << "another namespace";
  auto without = result;
  without["ips"] = json::array();
  EXPECT_FALSE(run.attachment.check(good, without));
  auto& inside = machine.kernel.at(7);
  const auto addresses = inside.addresses;
  inside.addresses.clear();
  EXPECT_FALSE(run.attachment.check(good, result));
  inside.addresses = addresses;
  machine.pods.attached.clear();
  EXPECT_FALSE(run.attachment.check(good, result));
}

TEST(Attachment, ADeviceLostBehindOurBackLeavesTheMapsAndDelStillWorks) {
  Machine machine("lost");
  AgentRun run(machine);
  ASSERT_TRUE(run.attachment.add(request()));
  EXPECT_FALSE(run.attachment.notice_lost_devices());
  machine.kernel.delete_namespace(7);
  EXPECT_TRUE(run.attachment.notice_lost_devices());
  EXPECT_FALSE(run.attachment.notice_lost_devices());
  ASSERT_TRUE(run.remove(request().key));
  expect_nothing_left(machine, run, "after DEL");
}

// Any single call into the kernel fails: the ADD says so, nothing is left, and the next one succeeds.
TEST(Attachment, AFailedAddLeavesNothing) {
  for (std::uint64_t step = 1;; ++step) {
    Machine machine("faults");
    AgentRun run(machine);
    machine.steps.fail_at = step;
    const auto result = run.attachment.add(request());
    machine.steps.fail_at = 0;
    const auto when = fmt::format("step {}", step);
    if (machine.steps.count < step) {
      ASSERT_GT(step, 20U) << "too few steps were tried";
      break;
    }
    if (result) {  // an IPv6 address that is refused is asked for again
      expect_attached(machine, run, *result);
      continue;
    }
    EXPECT_THAT(result.error().message, ::testing::HasSubstr("injected fault")) << when;
    expect_nothing_left(machine, run, when + ": " + result.error().message);
    const auto retried = run.attachment.add(request());
    ASSERT_TRUE(retried) << when << ": " << retried.error().message;
    expect_attached(machine, run, *retried);
  }
}

// Every call from some step on fails, the undoing included: it is finished when the trouble is over.
TEST(Attachment, AnUndoingThatFailsIsFinishedLater) {
  for (std::uint64_t step = 1; step < 20; ++step) {
    Machine machine("undo");
    AgentRun run(machine);
    machine.maps.fails = [&](std::uint64_t, const std::string&) { return machine.steps.count >= step; };
    machine.steps.fail_at = step;
    (void)run.attachment.add(request());
    machine.maps.heal();
    machine.steps.fail_at = 0;
    if (run.attachment.records().empty()) continue;
    run.attachment.finish_removals();
    if (run.attachment.records().empty()) expect_nothing_left(machine, run, fmt::format("step {}", step));
  }
}

TEST(Attachment, AStoreThatCannotWriteLeavesNothing) {
  Machine machine("disk");
  AgentRun run(machine);
  {
    const DiskFull full;
    EXPECT_FALSE(run.attachment.add(request()));
  }
  expect_nothing_left(machine, run, "the first write failed");
  std::optional<DiskFull> full;
  run.attachment.set_checkpoint([&](const char* done) {
    if (std::string_view(done) == "host-configured") full.emplace();
  });
  EXPECT_FALSE(run.attachment.add(request()));
  full.reset();
  run.attachment.set_checkpoint({});
  EXPECT_EQ(machine.kernel.at().devices.size(), 1U) << "the device goes even when the store cannot say so";
  run.attachment.finish_removals();
  expect_nothing_left(machine, run, "the last write failed");
  const auto retried = run.attachment.add(request());
  ASSERT_TRUE(retried) << retried.error().message;
  expect_attached(machine, run, *retried);
  full.emplace();
  EXPECT_FALSE(run.remove(request().key));
  full.reset();
  expect_attached(machine, run, *retried);
  ASSERT_TRUE(run.remove(request().key));
  expect_nothing_left(machine, run, "after DEL");
}

// The process ends before any call into the kernel, map writes included, or after any named step.
// The next run undoes or keeps what it finds, and ADD, asked again, succeeds.
void expect_recovery(Machine& machine, const std::string& when) {
  SCOPED_TRACE(when);
  machine.steps.kill_at = 0;
  machine.maps.heal();
  AgentRun run(machine);
  run.start();
  if (run.attachment.records().empty()) expect_nothing_left(machine, run, "after recovery");
  const auto result = run.attachment.add(request());
  ASSERT_TRUE(result) << result.error().message;
  expect_attached(machine, run, *result);
  ASSERT_TRUE(run.remove(request().key));
  expect_nothing_left(machine, run, "after DEL");
}

TEST(Attachment, AKillInAnAddIsRecovered) {
  std::uint64_t steps = 0;
  for (std::uint64_t step = 1;; ++step) {
    Machine machine("kill-add");
    bool killed = false;
    {
      AgentRun run(machine);
      machine.steps.kill_at = step;
      machine.maps.fails = [&](std::uint64_t, const std::string&) { return !machine.steps.take("map write"); };
      try {
        (void)run.attachment.add(request());
      } catch (const Killed&) {
        killed = true;
      }
      machine.steps.kill_at = 0;
    }
    if (!killed) break;
    steps = step;
    expect_recovery(machine, fmt::format("killed before step {}", step));
  }
  EXPECT_GT(steps, 20U);
}

TEST(Attachment, AKillAfterEachNamedStepIsRecovered) {
  std::set<std::string> seen;
  for (const auto* step :
       {"record-stored", "device-made", "maps-written", "programs-attached", "pod-configured", "host-configured",
        "ready-stored", "deleting-stored", "left-maps", "device-gone", "record-gone"}) {
    Machine machine("kill-step");
    {
      AgentRun run(machine);
      run.attachment.set_checkpoint([&](const char* done) {
        if (std::string_view(done) != step) return;
        seen.insert(step);
        throw Killed{};
      });
      try {
        (void)run.attachment.add(request());
        (void)run.remove(request().key);
      } catch (const Killed&) {
      }
    }
    expect_recovery(machine, step);
  }
  EXPECT_EQ(seen.size(), 11U) << "every named step is one that happens";
}

TEST(Attachment, AKillInADelIsRecovered) {
  for (std::uint64_t step = 1;; ++step) {
    Machine machine("kill-del");
    bool killed = false;
    {
      AgentRun run(machine);
      ASSERT_TRUE(run.attachment.add(request()));
      machine.steps.count = 0;
      machine.steps.kill_at = step;
      machine.maps.fails = [&](std::uint64_t, const std::string&) { return !machine.steps.take("map write"); };
      try {
        (void)run.remove(request().key);
      } catch (const Killed&) {
        killed = true;
      }
      machine.steps.kill_at = 0;
    }
    if (!killed) break;
    expect_recovery(machine, fmt::format("killed before step {} of DEL", step));
  }
}

TEST(Attachment, ARestartKeepsWhatIsReady) {
  Machine machine("restart");
  json result;
  {
    AgentRun run(machine);
    result = *run.attachment.add(request());
  }
  AgentRun run(machine);
  run.start();
  expect_attached(machine, run, result);
  const auto again = run.attachment.add(request());
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, result) << "not acknowledged: the same answer";
}

TEST(Attachment, HealingSetsWhatOthersUndidOnTheHostAgain) {
  Machine machine("heal");
  AgentRun run(machine);
  ASSERT_TRUE(run.attachment.add(request()));
  const auto& record = run.attachment.records().begin()->second;
  const auto index = static_cast<int>(record.ifindex);
  EXPECT_TRUE(run.attachment.heal_hosts().repaired.empty());
  EXPECT_TRUE(run.attachment.heal_programs(8).empty());
  const auto check = [&] { return run.attachment.check(request(), json()); };
  const auto undo_and_heal = [&](const char* what, const auto& undo) {
    SCOPED_TRACE(what);
    undo();
    EXPECT_FALSE(check());
    EXPECT_EQ(run.attachment.heal_hosts().repaired.size() + run.attachment.heal_programs(8).size(), 1U);
    EXPECT_TRUE(check());
    EXPECT_TRUE(run.attachment.heal_hosts().repaired.empty());
  };
  auto& host = machine.kernel.at();
  undo_and_heal("route", [&] { host.routes.erase(host.routes.begin()); });
  undo_and_heal("route through another device", [&] { host.routes.front().device = 1; });
  undo_and_heal("source", [&] { host.routes.front().source.reset(); });
  undo_and_heal("neighbour", [&] { host.neighbours.clear(); });
  undo_and_heal("device", [&] { ASSERT_TRUE(machine.kernel.open()->set_up(index, false)); });
  undo_and_heal("programs", [&] { machine.pods.attached.clear(); });
  ASSERT_TRUE(machine.kernel.open()->delete_device(index));
  EXPECT_TRUE(run.attachment.notice_lost_devices());
  EXPECT_TRUE(run.attachment.heal_programs(8).empty());
  EXPECT_THAT(run.attachment.heal_hosts().failed.at("c1/eth0"), ::testing::HasSubstr("shop/web"));
}

TEST(Attachment, AnAddRightAfterTheRemovalOfAnotherWaitsForIt) {
  Machine machine("back-to-back");
  AgentRun run(machine);
  for (int round = 0; round < 5; ++round) {
    const auto container = fmt::format("c{}", round);
    const auto added = run.attachment.add(request(7, container));
    ASSERT_TRUE(added) << added.error().message;
    ASSERT_TRUE(run.attachment.remove(request(7, container).key));  // answered before the device is gone
  }
}

TEST(Attachment, TheNodesOwnNamespaceIsRefused) {
  Machine machine("own-netns");
  AgentRun run(machine);
  run.attachment.set_node_netns(1007);
  const auto refused = run.attachment.add(request(7));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid);
  EXPECT_THAT(refused.error().message, ::testing::StartsWith("CNI_NETNS: "));
  expect_nothing_left(machine, run, "after the refusal");
  EXPECT_TRUE(run.attachment.add(request(8)));
}

}  // namespace
}  // namespace weft::agent
