// What ADD, DEL, CHECK, GC and healing do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/attachment_testing.h"

namespace weft::agent {
namespace {

using namespace testing;  // NOLINT: the rig is made for these tests

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

TEST(Attachment, AnAddressByNameStaysThePodsWhenItIsMadeAnew) {
  Machine machine("static");
  AgentRun run(machine);
  run.start();
  const auto address = *IpAddress::parse("10.1.0.77");
  run.attachment.set_choose([&](const AttachRequest&) -> Result<control::AddressRequest> {
    return control::AddressRequest{.pool = {}, .addresses = {address}, .resting = true};
  });
  ASSERT_TRUE(run.attachment.add(request(7, "c1")));
  EXPECT_EQ(run.attachment.records().begin()->second.addresses, std::vector{address});
  const auto clash = run.attachment.add(request(8, "c2"));
  ASSERT_FALSE(clash);
  EXPECT_EQ(clash.error().message, "pod shop/web: 10.1.0.77 is in use by pod shop/web (container c1)");
  // The old container's removal is under way when the new one comes.
  ASSERT_TRUE(run.attachment.remove({"c1", "eth0"}));
  ASSERT_TRUE(run.attachment.add(request(8, "c2")));
  ASSERT_EQ(run.attachment.records().size(), 1U);
  EXPECT_EQ(run.attachment.records().begin()->second.addresses, std::vector{address});
  run.attachment.set_choose([](const AttachRequest&) -> Result<control::AddressRequest> {
    return fail(ErrorCode::not_found, "there is no pool \"green\"");
  });
  EXPECT_EQ(run.attachment.add(request(7, "c3")).error().message, "pod shop/web: there is no pool \"green\"");
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

// A runtime that failed at the sandbox's other network forgets it without DEL, and makes another one.
TEST(Attachment, ASandboxThatWasForgottenGoesOnceItsPodHasAnotherOrIsGone) {
  Machine machine("forgotten");
  AgentRun run(machine);
  const auto nobody = [](const store::EndpointRecord&) { return false; };
  ASSERT_TRUE(run.attachment.add(request(7, "first")));
  EXPECT_TRUE(run.attachment.abandoned([](const auto&) { return true; }).empty()) << "it is there";
  machine.kernel.delete_namespace(7);
  EXPECT_TRUE(run.attachment.notice_lost_devices());
  EXPECT_TRUE(run.attachment.abandoned(nobody).empty()) << "it may be the pod's only one";
  EXPECT_THAT(run.attachment.abandoned([](const auto&) { return true; }),
              ::testing::ElementsAre(request(7, "first").key));
  ASSERT_TRUE(run.attachment.add(request(8, "second")));
  EXPECT_THAT(run.attachment.abandoned(nobody), ::testing::ElementsAre(request(7, "first").key));
  ASSERT_TRUE(run.remove(request(7, "first").key));
  EXPECT_TRUE(run.attachment.abandoned(nobody).empty());
}

// Any single call into the kernel fails: the ADD says so, nothing is left, and the next one succeeds.
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
