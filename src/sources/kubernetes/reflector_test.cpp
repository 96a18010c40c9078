#include "sources/kubernetes/reflector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <set>

#include "sources/kubernetes/testing/world.h"

namespace weft::kubernetes::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json pod(const std::string& address, const json& more = {}) {
  json object{{"metadata", json::object()}, {"spec", {{"nodeName", "n1"}}}, {"status", {{"podIP", address}}}};
  if (!more.is_null()) object.merge_patch(more);
  return object;
}
std::string path(const std::string& name) { return "/api/v1/namespaces/x/pods/" + name; }

Result<Decoded> decode_address(const Object& object) {
  std::string_view address;
  if (object.root["status"]["podIP"].get(address) != simdjson::SUCCESS)
    return fail(ErrorCode::invalid, "status.podIP: expected text", "look who writes it");
  return std::make_shared<const std::string>(address);
}

// A reflector that is watched: what was told, applied to a copy that must equal the view at every turn.
class Watched {
 public:
  Watched(World& world, Http& http, ReflectorOptions options) {
    options.path = options.path.empty() ? "/api/v1/pods" : options.path;
    options.decode = decode_address;
    options.backoff = {milliseconds(5), milliseconds(50)};
    reflector = std::make_unique<Reflector>(
        http, world.scheduler(), fixed_random(), std::move(options),
        ReflectorHandlers{.changed = [this](const Change& change) { take(change); }, .state = [this] { ++states; }});
  }

  void take(const Change& change) {
    EXPECT_FALSE(change.empty());
    std::set<std::string> keys;
    for (const auto& each : change.set) {
      EXPECT_TRUE(keys.emplace(each.key).second) << each.key << " is told twice";
      const std::string key(each.key);
      EXPECT_EQ(copy.contains(key), each.before != nullptr);
      copy[key] = as<std::string>(each.now->value);
      told += "+" + key.substr(2) + "=" + copy[key];
    }
    for (const auto& each : change.erased) {
      EXPECT_TRUE(keys.emplace(each.key).second) << each.key << " is told twice";
      EXPECT_EQ(copy.erase(std::string(each.key)), 1U);
      told += "-" + std::string(each.key.substr(2));
    }
    EXPECT_EQ(copy, view());
  }
  [[nodiscard]] std::map<std::string, std::string> view() const {
    std::map<std::string, std::string> values;
    for (const auto& [key, entry] : reflector->view()) values[key] = as<std::string>(entry.value);
    return values;
  }
  std::string taken() { return std::exchange(told, {}); }

  std::unique_ptr<Reflector> reflector;
  std::map<std::string, std::string> copy;
  std::string told;
  int states = 0;
};

class ReflectorTest : public ::testing::Test {
 protected:
  void follow(ReflectorOptions options = {}) {
    watched.emplace(world, *http, std::move(options));
    EXPECT_TRUE(world.run_until([&] { return watched->reflector->live(); }));
  }
  // Until what is told is this.
  void expect(const std::string& told) {
    EXPECT_TRUE(world.run_until([&] { return watched->told.size() >= told.size(); }, seconds(5)));
    EXPECT_EQ(watched->taken(), told);
  }
  Reflector& reflector() { return *watched->reflector; }
  std::size_t lists_asked() {
    std::size_t count = 0;
    for (const auto& request : server.requests()) count += request.find("watch=") == std::string::npos ? 1 : 0;
    return count;
  }

  World world;
  ApiServer server;
  std::unique_ptr<Http> http = world.connect(server.access());
  std::optional<Watched> watched;
};

TEST_F(ReflectorTest, ListsInPagesAndFollows) {
  for (int i = 0; i < 5; ++i) server.store().put(path("p" + std::to_string(i)), pod("10.0.0." + std::to_string(i)));
  follow({.page = 2});
  expect("+p0=10.0.0.0+p1=10.0.0.1+p2=10.0.0.2+p3=10.0.0.3+p4=10.0.0.4");
  EXPECT_TRUE(reflector().synced());
  EXPECT_EQ(lists_asked(), 3U);
  EXPECT_THAT(server.requests()[0], HasSubstr("limit=2&resourceVersion=0"));
  server.store().put(path("p1"), pod("10.0.1.1"));
  expect("+p1=10.0.1.1");
  server.store().remove(path("p0"));
  expect("-p0");
  server.store().put(path("p9"), pod("10.0.0.9"));
  expect("+p9=10.0.0.9");
  EXPECT_EQ(reflector().resource_version(), std::to_string(server.store().version()));
  EXPECT_EQ(reflector().lists(), 1U);
}

TEST_F(ReflectorTest, AConsistentListIsAskedForWithoutAVersion) {
  server.store().put(path("a"), pod("1"));
  follow({.consistent = true});
  expect("+a=1");
  EXPECT_EQ(server.requests()[0], "GET /api/v1/pods?limit=500");
}

TEST_F(ReflectorTest, SelectorsSelect) {
  server.store().put(path("a"), pod("1"));
  server.store().put(path("b"), pod("2", {{"spec", {{"nodeName", "n2"}}}}));
  server.store().put(path("c"), pod("3", {{"metadata", {{"labels", {{"app", "web"}}}}}}));
  follow({.field_selector = "spec.nodeName=n1", .label_selector = "app!=web"});
  expect("+a=1");
  // What matches no more is gone.
  server.store().put(path("a"), pod("1", {{"metadata", {{"labels", {{"app", "web"}}}}}}));
  expect("-a");
  server.store().put(path("b"), pod("2"));
  expect("+b=2");
}

TEST_F(ReflectorTest, AWatchThatEndsOrBreaksIsGoneOnWith) {
  server.store().put(path("a"), pod("1"));
  follow();
  expect("+a=1");
  server.end_watches();
  server.store().put(path("a"), pod("2"));
  expect("+a=2");
  server.break_watches();
  server.store().put(path("a"), pod("3"));
  expect("+a=3");
  server.cut_next_event();
  world.run_for(milliseconds(60));
  server.store().put(path("a"), pod("4"));
  expect("+a=4");
  server.stop();
  EXPECT_TRUE(world.run_until([&] { return !reflector().live(); }));
  ASSERT_TRUE(reflector().problem());
  EXPECT_EQ(reflector().problem()->reason, Reason::unavailable);
  server.store().put(path("a"), pod("5"));
  server.store().put(path("b"), pod("6"));
  server.start();
  EXPECT_TRUE(world.run_until([&] { return watched->copy.size() == 2; }));
  EXPECT_EQ(watched->view(), (std::map<std::string, std::string>{{"x/a", "5"}, {"x/b", "6"}}));
  EXPECT_EQ(reflector().lists(), 1U);
}

TEST_F(ReflectorTest, ATimeoutOfTheServerIsNoTrouble) {
  follow({.watch_for = seconds(1)});
  const auto states = watched->states;
  EXPECT_TRUE(world.run_until([&] { return reflector().watches() >= 2; }, seconds(5)));
  EXPECT_EQ(watched->states, states);
  EXPECT_TRUE(reflector().live());
}

// As an event of a stream, and as the status of an answer.
TEST_F(ReflectorTest, AfterACompactionDifferencesAreTold) {
  for (const bool as_event : {true, false}) {
    ApiServer other({.gone_as_event = as_event});
    http = world.connect(other.access());
    for (const auto* name : {"a", "b", "c", "d"}) other.store().put(path(name), pod(name));
    follow();
    expect("+a=a+b=b+c=c+d=d");
    other.stop();
    EXPECT_TRUE(world.run_until([&] { return !reflector().live(); }));
    other.store().put(path("b"), pod("new"));
    other.store().remove(path("c"));
    other.store().put(path("d"), pod("again", {{"metadata", {{"uid", "another"}}}}));
    other.store().put(path("e"), pod("e"));
    other.store().compact();
    other.start();
    expect("+b=new+d=again+e=e-c");
    EXPECT_EQ(reflector().lists(), 2U);
    EXPECT_TRUE(world.run_until([&] { return reflector().live(); }));
    watched.reset();
  }
}

TEST_F(ReflectorTest, BookmarksSaveTheList) {
  server.store().put(path("a"), pod("1"));
  follow();
  expect("+a=1");
  // Others change; nothing of ours does, and what ours was is compacted.
  for (int i = 0; i < 10; ++i) server.store().put("/api/v1/nodes/n" + std::to_string(i), json::object());
  const auto version = std::to_string(server.store().version());
  EXPECT_TRUE(world.run_until([&] { return reflector().resource_version() == version; }, seconds(5)));
  server.store().compact();
  server.break_watches();
  EXPECT_TRUE(world.run_until([&] { return reflector().watches() == 2; }));
  EXPECT_EQ(reflector().lists(), 1U);
}

TEST_F(ReflectorTest, ATokenThatExpiresBetweenPages) {
  for (int i = 0; i < 4; ++i) server.store().put(path("p" + std::to_string(i)), pod(std::to_string(i)));
  server.fail({.path_contains = "continue=", .status = 410});
  follow({.page = 2});
  expect("+p0=0+p1=1+p2=2+p3=3");
  // Then all at once.
  EXPECT_THAT(server.requests(), Contains(HasSubstr("limit=0")));
}

TEST_F(ReflectorTest, AChangeBetweenPagesIsNotMissed) {
  for (int i = 0; i < 6; ++i) server.store().put(path("p" + std::to_string(i)), pod(std::to_string(i)));
  server.slow_lists(64, milliseconds(2));
  watched.emplace(world, *http, ReflectorOptions{.page = 2});
  EXPECT_TRUE(world.run_until([&] { return server.requests().size() == 2; }));
  server.store().remove(path("p0"));
  server.store().put(path("p5"), pod("new"));
  EXPECT_TRUE(world.run_until([&] { return reflector().live() && watched->copy.size() == 5; }));
  EXPECT_EQ(watched->copy["x/p5"], "new");
}

TEST_F(ReflectorTest, ThrottledAndFailingServersAreWaitedFor) {
  server.store().put(path("a"), pod("1"));
  server.fail({.path_contains = "limit=", .status = 500, .times = 3});
  server.fail({.path_contains = "limit=", .status = 429, .retry_after = 1});
  const auto start = std::chrono::steady_clock::now();
  follow();
  expect("+a=1");
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(950));
  server.fail({.path_contains = "watch=", .status = 503, .times = 2});
  server.break_watches();
  EXPECT_TRUE(
      world.run_until([&] { return reflector().problem() && reflector().problem()->reason == Reason::server; }));
  server.store().put(path("a"), pod("2"));
  expect("+a=2");
  EXPECT_FALSE(reflector().problem());
}

TEST_F(ReflectorTest, WhoIsRefusedSaysSoAndGoesOnWhenHeIsTaken) {
  server.set_token("other");
  watched.emplace(world, *http, ReflectorOptions{});
  EXPECT_TRUE(world.run_until([&] { return reflector().problem().has_value(); }));
  EXPECT_EQ(reflector().problem()->reason, Reason::unauthenticated);
  EXPECT_THAT(reflector().problem()->message, HasSubstr("GET /api/v1/pods of http://127.0.0.1:"));
  server.set_token("");
  EXPECT_TRUE(world.run_until([&] { return reflector().live(); }));
}

TEST_F(ReflectorTest, AResourceThatComesLaterIsFound) {
  watched.emplace(world, *http, ReflectorOptions{.path = "/apis/weft.dev/v1/things"});
  EXPECT_TRUE(world.run_until([&] { return reflector().problem().has_value(); }));
  EXPECT_EQ(reflector().problem()->reason, Reason::not_found);
  server.store().add_resource("/apis/weft.dev/v1/things", {.kind = "Thing", .api_version = "weft.dev/v1"});
  EXPECT_TRUE(world.run_until([&] { return reflector().live(); }));
}

TEST_F(ReflectorTest, ASilentWatchIsOpenedAnewElsewhere) {
  server.store().put(path("a"), pod("1"));
  follow({.silence = milliseconds(1500)});
  expect("+a=1");
  world.run_for(seconds(2));
  EXPECT_EQ(reflector().watches(), 1U);  // bookmarks are signs of life
  const int connections = server.connections();
  server.hush(true);
  EXPECT_TRUE(world.run_until([&] { return reflector().watches() == 2; }));
  EXPECT_GT(server.connections(), connections);
  server.hush(false);
  server.store().put(path("a"), pod("2"));
  expect("+a=2");
}

TEST_F(ReflectorTest, WhatCannotBeDecodedStaysAsItWas) {
  server.store().put(path("a"), pod("1"));
  server.store().put(path("b"), json::object());
  follow();
  expect("+a=1");
  EXPECT_THAT(reflector().troubles().at("x/b"), HasSubstr("status.podIP: expected text; look who writes it"));
  server.store().put(path("a"), json::object());
  EXPECT_TRUE(world.run_until([&] { return reflector().troubles().size() == 2; }));
  EXPECT_EQ(watched->view()["x/a"], "1");
  // Through a list it is the same.
  server.stop();
  server.store().compact();
  server.store().put(path("c"), pod("3"));
  server.store().compact();
  server.start();
  expect("+c=3");
  EXPECT_EQ(watched->view()["x/a"], "1");
  EXPECT_EQ(reflector().troubles().size(), 2U);
  server.store().put(path("b"), pod("2"));
  expect("+b=2");
  server.store().remove(path("a"));
  expect("-a");
  EXPECT_TRUE(reflector().troubles().empty());
  // Another of the same name is not what it was.
  server.store().put(path("b"), {{"metadata", {{"uid", "another"}}}});
  expect("-b");
}

TEST_F(ReflectorTest, LinesThatAreNoEventsLeadToAList) {
  server.store().put(path("a"), pod("1"));
  follow();
  expect("+a=1");
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(world.run_until([&] { return reflector().live() && server.watches() == 1; }));
    server.inject("{\"type\":\"ADDED\",\"object\":");
    ASSERT_TRUE(world.run_until([&] { return reflector().problem().has_value(); }));
    EXPECT_THAT(reflector().problem()->message, HasSubstr("this is no event of a watch"));
  }
  server.store().put(path("a"), pod("2"));
  expect("+a=2");
  EXPECT_EQ(reflector().lists(), 2U);
}

TEST_F(ReflectorTest, AClusterFromABackupIsToldAnew) {
  for (const auto* name : {"a", "b", "c"}) server.store().put(path(name), pod(name));
  follow();
  expect("+a=a+b=b+c=c");
  server.stop();
  server.store().wipe(1);
  server.store().put(path("a"), pod("old"));
  server.start();
  // The version is ours again, later, and yet another object's.
  expect("+a=old-b-c");
  EXPECT_TRUE(world.run_until([&] { return reflector().live(); }));
}

// Whatever happens, the view becomes the server's state, and what was told leads there.
TEST_F(ReflectorTest, AnyTroubleEndsInTheServersState) {
  const auto random = fixed_random();
  follow({.page = 3, .silence = milliseconds(2000)});
  for (int round = 0; round < 150; ++round) {
    for (std::uint64_t i = random() % 4; i > 0; --i) {
      const auto name = path("p" + std::to_string(random() % 12));
      if (random() % 3 == 0)
        server.store().remove(name);
      else if (random() % 5 == 0)
        server.store().put(name, pod(std::to_string(round), {{"metadata", {{"uid", "u" + std::to_string(random())}}}}));
      else
        server.store().put(name, pod(std::to_string(round)));
    }
    switch (random() % 9) {
      case 0:
        server.break_watches();
        break;
      case 1:
        server.end_watches();
        break;
      case 2:
        server.cut_next_event();
        break;
      case 3:
        server.store().compact();
        break;
      case 4:
        server.fail({.path_contains = "limit=", .status = random() % 2 == 0 ? 500 : 410});
        break;
      case 5:
        server.fail({.path_contains = "watch=", .status = random() % 2 == 0 ? 503 : 410});
        break;
      case 6:
        server.stop();
        server.store().compact();
        server.start();
        break;
      default:
        break;
    }
    world.run_for(milliseconds(random() % 20));
  }
  const auto truth = [&] {
    std::map<std::string, std::string> values;
    const auto list = json::parse(server.store().list(*parse_path("/api/v1/pods"), {}, "", "", 0).text);
    for (const auto& item : list["items"])
      values["x/" + item["metadata"]["name"].get<std::string>()] = item["status"]["podIP"].get<std::string>();
    return values;
  };
  EXPECT_TRUE(world.run_until([&] { return watched->view() == truth(); }));
  EXPECT_EQ(watched->copy, truth());
  EXPECT_GT(reflector().lists(), 1U);
}

TEST_F(ReflectorTest, AHandlerMayDestroyIt) {
  server.store().put(path("a"), pod("1"));
  std::unique_ptr<Reflector> reflector;
  int told = 0;
  reflector =
      std::make_unique<Reflector>(*http, world.scheduler(), fixed_random(), ReflectorOptions{.path = "/api/v1/pods"},
                                  ReflectorHandlers{.changed = [&](const Change&) {
                                    if (++told == 2) reflector.reset();
                                  }});
  EXPECT_TRUE(world.run_until([&] { return told == 1 && reflector->live(); }));
  server.store().put(path("a"), pod("2"));
  EXPECT_TRUE(world.run_until([&] { return told == 2; }));
  world.run_for(milliseconds(100));
}

}  // namespace
}  // namespace weft::kubernetes::testing
