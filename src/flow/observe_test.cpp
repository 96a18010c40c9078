// The observe method over a real socket.
#include "flow/observe.h"

#include <gmock/gmock.h>

#include <future>
#include <nlohmann/json.hpp>

#include "api/answer.h"
#include "api/client.h"
#include "api/testing.h"
#include "flow/testing.h"

namespace weft::flow {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ObserveTest : public api::testing::ServedTest {
 protected:
  void SetUp() override {
    ServedTest::SetUp();
    on_loop([this] {
      server_->handle_stream("observe", [this](const json& params, api::Stream stream) {
        serve_observe(*store_, "node1", params, std::move(stream));
        started_.set_value();
        started_ = {};
      });
    });
  }
  void TearDown() override {
    close();
    // Every observation went with its connection.
    EXPECT_EQ(store_->subscribers(), 0U);
    ServedTest::TearDown();
  }

  void add(std::uint16_t first, std::uint16_t last) {
    on_loop([&] {
      for (auto i = first; i <= last; ++i) {
        auto value = testing::event(i % 2 == 0 ? WEFT_EVENT_DENIED : WEFT_EVENT_NEW);
        value.sport = testing::port(i);
        store_->add(value);
      }
      store_->notify();
    });
  }
  // The source ports of the events, lost ones negative, until the stream's end or `stop` of them.
  std::vector<int> observe(const json& params, std::size_t stop = 1'000'000,
                           const std::function<void(int)>& seen = {}) {
    std::vector<int> ports;
    auto client = api::Client::connect(socket());
    EXPECT_TRUE(client);
    auto ended = client->stream("observe", params, [&](const json& flow) {
      ports.push_back(flow.contains("lost") ? -flow["lost"].get<int>() : flow["source"]["port"].get<int>());
      if (seen) seen(ports.back());
      return ports.size() < stop;
    });
    EXPECT_TRUE(ended) << ended.error().error.message;
    return ports;
  }

  std::unique_ptr<FlowStore> store_ = std::make_unique<FlowStore>(FlowStoreOptions{.capacity = 100});
  std::promise<void> started_;
};

TEST_F(ObserveTest, HistoryShowsTheLast) {
  EXPECT_TRUE(observe(json::object()).empty());
  add(1, 50);
  EXPECT_EQ(observe(json::object()).size(), 20U);
  EXPECT_THAT(observe({{"last", 3}}), ElementsAre(48, 49, 50));
  EXPECT_THAT(observe({{"last", 3}, {"filters", {{"verdict", "dropped"}}}}), ElementsAre(46, 48, 50));
  EXPECT_EQ(observe({{"last", 1000}}).size(), 50U);
  EXPECT_TRUE(observe({{"last", 0}}).empty());
}

TEST_F(ObserveTest, TimesBoundTheHistory) {
  on_loop([this] {
    const auto base = static_cast<std::uint64_t>(wall_now() - wall_offset());
    for (std::uint16_t i = 1; i <= 10; ++i) {
      auto value = testing::event();
      value.time = base - (10U - i) * 60'000'000'000ULL;
      value.sport = testing::port(i);
      store_->add(value);
    }
  });
  EXPECT_THAT(observe({{"since", "150s"}}), ElementsAre(8, 9, 10));
  EXPECT_THAT(observe({{"until", "450s"}}), ElementsAre(1, 2));
  EXPECT_THAT(observe({{"since", "270s"}, {"until", "90s"}, {"last", 2}}), ElementsAre(7, 8));
}

TEST_F(ObserveTest, FollowerSeesWhatComesAndWhatWasLost) {
  add(1, 5);
  auto started = started_.get_future();
  auto follower = std::async(std::launch::async, [&] { return observe({{"follow", true}, {"last", 1}}, 5); });
  started.wait();
  add(6, 7);
  on_loop([this] {
    store_->add_lost(9);
    store_->notify();
  });
  add(8, 20);
  EXPECT_THAT(follower.get(), ElementsAre(5, 6, 7, -9, 8));
}

TEST_F(ObserveTest, FollowerStartsNowUnlessAsked) {
  add(1, 5);
  auto started = started_.get_future();
  auto follower = std::async(std::launch::async, [&] { return observe({{"follow", true}}, 1); });
  started.wait();
  add(6, 6);
  EXPECT_THAT(follower.get(), ElementsAre(6));
}

TEST_F(ObserveTest, FollowerSlowerThanTheRingIsToldTheNumber) {
  auto started = started_.get_future();
  auto follower = std::async(std::launch::async, [&] { return observe({{"follow", true}}, 3); });
  started.wait();
  on_loop([this] {
    for (std::uint16_t i = 1; i <= 150; ++i) {
      auto value = testing::event();
      value.sport = testing::port(i);
      store_->add(value);
    }
    store_->notify();
  });
  EXPECT_THAT(follower.get(), ElementsAre(-50, 51, 52));
}

TEST_F(ObserveTest, LongHistoryIsPulledAsItIsRead) {
  on_loop([this] { store_ = std::make_unique<FlowStore>(FlowStoreOptions{.capacity = 5000}); });
  add(1, 5000);
  const auto ports = observe({{"since", "1000d"}, {"last", 5000}});
  ASSERT_EQ(ports.size(), 5000U);
  EXPECT_TRUE(std::ranges::is_sorted(ports));
}

TEST_F(ObserveTest, WrongParametersAreRefused) {
  for (const auto* params :
       {R"({"folow":true})", R"({"since":"yesterday"})", R"({"filters":{"pods":"x"}})", R"({"last":-1})"}) {
    auto client = api::Client::connect(socket());
    auto ended = client->stream("observe", json::parse(params), [](const json&) { return true; });
    ASSERT_FALSE(ended) << params;
    EXPECT_EQ(ended.error().error.code, ErrorCode::invalid);
  }
}

}  // namespace
}  // namespace weft::flow
