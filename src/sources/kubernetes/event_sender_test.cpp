#include "sources/kubernetes/event_sender.h"

#include <gmock/gmock.h>

#include "sources/kubernetes/testing/world.h"

namespace weft::kubernetes::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class EventSenderTest : public ::testing::Test {
 protected:
  EventSenderTest() {
    options.instance = "node-a";
    options.count_every = milliseconds(50);
    options.refill = milliseconds(1);
    options.backoff = {milliseconds(5), milliseconds(40)};
  }
  EventSender& sender() {
    if (!sender_) sender_.emplace(*http, world.scheduler(), fixed_random(), options);
    return *sender_;
  }
  static EventText about(const std::string& pod, const std::string& reason = "FailedAttach",
                         const std::string& note = "no address is left") {
    return {.about = {"v1", "Pod", "shop", pod, "uid-of-" + pod}, .reason = reason, .action = "Attach", .note = note};
  }
  // Of the namespace, in the order of their names.
  std::vector<json> events(const std::string& space = "shop") {
    const auto all = server.store().list({.resource = "/apis/events.k8s.io/v1/events", .namespace_name = space},
                                         {.namespace_name = space}, "", "", 0);
    return json::parse(all.text).at("items").get<std::vector<json>>();
  }
  bool sent(std::uint64_t count) {
    return world.run_until([&] { return sender().counts().sent >= count; });
  }

  World world;
  ApiServer server;
  std::unique_ptr<Http> http = world.connect(server.access());
  EventSenderOptions options;
  std::optional<EventSender> sender_;
};

TEST_F(EventSenderTest, AnEventSaysWhatWhereAndBy) {
  sender().tell(about("web-1"));
  ASSERT_TRUE(sent(1));
  ASSERT_THAT(events(), SizeIs(1));
  const auto event = events().front();
  EXPECT_EQ(event["reason"], "FailedAttach");
  EXPECT_EQ(event["action"], "Attach");
  EXPECT_EQ(event["note"], "no address is left");
  EXPECT_EQ(event["type"], "Warning");
  EXPECT_EQ(event["reportingController"], "weft.io/agent");
  EXPECT_EQ(event["reportingInstance"], "node-a");
  EXPECT_EQ(
      event["regarding"],
      (json{{"apiVersion", "v1"}, {"kind", "Pod"}, {"namespace", "shop"}, {"name", "web-1"}, {"uid", "uid-of-web-1"}}));
  EXPECT_THAT(event["metadata"]["name"].get<std::string>(), ::testing::StartsWith("web-1."));
  EXPECT_FALSE(event.contains("series"));
  EXPECT_EQ(event["eventTime"].get<std::string>().size(), std::string("2026-01-02T03:04:05.000006Z").size());
}

TEST_F(EventSenderTest, WhatHasNoNamespaceIsToldInDefault) {
  sender().tell({.about = {"v1", "Node", "", "node-a", "u"}, .reason = "Ready", .note = "n", .warning = false});
  ASSERT_TRUE(sent(1));
  EXPECT_EQ(events("default").front()["type"], "Normal");
  EXPECT_FALSE(events("default").front()["regarding"].contains("namespace"));
}

TEST_F(EventSenderTest, TheSameAgainRaisesTheCountOfItsSeries) {
  for (int i = 0; i < 5; ++i) sender().tell(about("web-1"));
  ASSERT_TRUE(sent(2));
  ASSERT_THAT(events(), SizeIs(1));
  EXPECT_EQ(events().front()["series"]["count"], 5);
  EXPECT_TRUE(events().front()["series"].contains("lastObservedTime"));
  const auto requests = server.requests().size();
  for (int i = 0; i < 200; ++i) sender().tell(about("web-1", "FailedAttach", "another text"));
  ASSERT_TRUE(sent(3));
  EXPECT_LE(server.requests().size(), requests + 2) << "200 times are one request, or two";
  EXPECT_EQ(events().front()["series"]["count"], 205);
  EXPECT_EQ(events().front()["note"], "no address is left");
  // Another reason, and another pod, are others.
  sender().tell(about("web-1", "AddressConflict"));
  sender().tell(about("web-2"));
  ASSERT_TRUE(sent(5));
  EXPECT_THAT(events(), SizeIs(3));
}

TEST_F(EventSenderTest, AfterAWhileTheSameIsAnother) {
  options.same_within = milliseconds(60);
  sender().tell(about("web-1"));
  ASSERT_TRUE(sent(1));
  world.run_for(milliseconds(120));
  sender().tell(about("web-1"));
  ASSERT_TRUE(sent(2));
  EXPECT_THAT(events(), SizeIs(2));
}

TEST_F(EventSenderTest, WithoutTheServerTheNewestWait) {
  options.most_queued = 3;
  server.stop();
  for (int i = 0; i < 10; ++i) sender().tell(about("web-" + std::to_string(i)));
  world.run_for(milliseconds(50));
  EXPECT_LE(sender().queued(), 3U);
  EXPECT_GE(sender().counts().dropped, 6U);
  EXPECT_THAT(sender().problem(), HasSubstr("127.0.0.1"));
  server.start();
  ASSERT_TRUE(sent(3));
  ASSERT_THAT(events(), SizeIs(3));
  EXPECT_EQ(events().back()["regarding"]["name"], "web-9");
}

TEST_F(EventSenderTest, WhatIsRefusedIsNotTriedForEver) {
  server.fail({.method = "POST", .path_contains = "events", .status = 403, .times = 1});
  sender().tell(about("web-1"));
  ASSERT_TRUE(world.run_until([&] { return sender().counts().refused == 1; }));
  EXPECT_THAT(sender().problem(), HasSubstr("403"));
  EXPECT_EQ(sender().queued(), 0U);
  sender().tell(about("web-1"));
  ASSERT_TRUE(sent(1));
  EXPECT_THAT(events(), SizeIs(1));
}

TEST_F(EventSenderTest, AServerThatSlowsDownIsTriedAgain) {
  server.fail({.method = "POST", .path_contains = "events", .status = 503, .times = 3});
  sender().tell(about("web-1"));
  ASSERT_TRUE(sent(1));
  EXPECT_THAT(events(), SizeIs(1));
  EXPECT_EQ(sender().counts().refused, 0U);
}

// The server keeps events for an hour.
TEST_F(EventSenderTest, AnEventThatIsForgottenIsToldAnew) {
  sender().tell(about("web-1"));
  ASSERT_TRUE(sent(1));
  const auto name = events().front()["metadata"]["name"].get<std::string>();
  server.store().remove("/apis/events.k8s.io/v1/namespaces/shop/events/" + name);
  sender().tell(about("web-1"));
  ASSERT_TRUE(world.run_until([&] { return sender().counts().refused == 1; }));
  sender().tell(about("web-1"));
  ASSERT_TRUE(sent(2));
  EXPECT_THAT(events(), SizeIs(1));
}

TEST_F(EventSenderTest, ManyAtOnceAreSpreadOut) {
  options.burst = 5;
  options.refill = milliseconds(100);
  for (int i = 0; i < 20; ++i) sender().tell(about("web-" + std::to_string(i)));
  world.run_for(milliseconds(250));
  EXPECT_GE(sender().counts().sent, 5U);
  EXPECT_LE(sender().counts().sent, 9U);
}

TEST_F(EventSenderTest, WhatIsTooLongIsCut) {
  options.most_known = 2;
  std::string note(1023, 'x');
  note += "\u00e9\u00e9";
  sender().tell(about(std::string(253, 'p'), "Long", note));
  ASSERT_TRUE(sent(1));
  EXPECT_EQ(events().front()["note"].get<std::string>(), std::string(1023, 'x'));
  EXPECT_EQ(events().front()["metadata"]["name"].get<std::string>().size(), 253U);
  // What is remembered has an end.
  for (int i = 0; i < 5; ++i) sender().tell(about("web-" + std::to_string(i)));
  world.run_until([&] { return sender().queued() == 0; });
  EXPECT_LE(events().size(), 6U);
}

}  // namespace
}  // namespace weft::kubernetes::testing
