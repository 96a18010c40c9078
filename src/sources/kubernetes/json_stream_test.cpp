#include "sources/kubernetes/json_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "sources/kubernetes/decode.h"

namespace weft::kubernetes {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Split {
  std::vector<std::string> items;
  std::string rest;
};

// In pieces of every length, the same comes out.
Result<Split> split(const std::string& list) {
  Result<Split> whole;
  for (std::size_t step = list.size(); step > 0; step = step == 1 ? 0 : step / 2) {
    Split result;
    ItemSplitter splitter;
    Result<void> pushed;
    for (std::size_t at = 0; at < list.size() && pushed; at += step)
      pushed = splitter.push(list.substr(at, step), [&](std::string_view item) { result.items.emplace_back(item); });
    if (!pushed) return fail(pushed.error());
    WEFT_TRY(result.rest, splitter.finish());
    if (step != list.size()) {
      EXPECT_EQ(result.items, whole->items) << step;
      EXPECT_EQ(result.rest, whole->rest) << step;
    }
    whole = result;
  }
  return whole;
}

TEST(ItemSplitter, ItemsAreCutOutWhereverTheyStand) {
  const auto list =
      split(R"( {"kind":"items","metadata":{"items":[{"x":1}]},"items": [ {"a":"}]\"{"} , {"b":[{}]}],"z":[{}]} )");
  ASSERT_TRUE(list);
  EXPECT_THAT(list->items, ElementsAre(R"({"a":"}]\"{"})", R"({"b":[{}]})"));
  EXPECT_THAT(list->rest, HasSubstr(R"({"kind":"items","metadata":{"items":[{"x":1}]},"items": [],"z":[{}]})"));
  EXPECT_THAT(split(R"({"items":[],"a":1})")->items, IsEmpty());
  EXPECT_THAT(split(R"({"items":null})")->items, IsEmpty());
  EXPECT_THAT(split(R"({"x":["items",[{}]]})")->items, IsEmpty());
}

TEST(ItemSplitter, WhatIsNoListIsRefused) {
  EXPECT_FALSE(ItemSplitter().finish());
  for (const auto* bad : {" ", "{", R"({"items":[)", R"({"items":[{})", R"({"items":[1]})", R"({"items":["a"]})", "x{}",
                          "{}x", "}", "\"a\"", R"({"a":"b)"})
    EXPECT_FALSE(split(bad)) << bad;
}

TEST(ItemSplitter, AnObjectHasALimit) {
  ItemSplitter splitter;
  ASSERT_TRUE(splitter.push(R"({"items":[{"a":")", [](std::string_view) {}));
  const std::string much(most_object_bytes / 2, 'x');
  EXPECT_TRUE(splitter.push(much, [](std::string_view) {}));
  const auto more = splitter.push(much, [](std::string_view) {});
  ASSERT_FALSE(more);
  EXPECT_THAT(more.error().message, HasSubstr("an object has more than"));
}

TEST(LineSplitter, LinesAreCutOutWhereverTheyStand) {
  const std::string text = "{\"a\":1}\n\n{\"b\":2}\r\n{\"c\"";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    LineSplitter splitter;
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size(); at += step)
      ASSERT_TRUE(splitter.push(text.substr(at, step), [&](std::string_view line) { lines.emplace_back(line); }));
    EXPECT_THAT(lines, ElementsAre("{\"a\":1}", "{\"b\":2}\r")) << step;
    EXPECT_TRUE(splitter.within_line());
  }
}

std::string padded(std::string text) {
  text.reserve(text.size() + json_padding);
  return text;
}

TEST(Decode, EventsAreTakenApart) {
  const auto event = split_event(R"({"object":{"a":"\"}"}, "type" : "MODIFIED"})");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->type, EventType::modified);
  EXPECT_EQ(event->object, R"({"a":"\"}"})");
  for (const auto* bad :
       {"", "{}", "[]", R"({"type":"ADDED"})", R"({"object":{}})", R"({"type":"OTHER","object":{}})",
        R"({"type":"ADDED","object":{})", R"({"type":"ADDED","object":"x"})", R"({"type":"ADDED","object":{"a)"})
    EXPECT_FALSE(split_event(bad)) << bad;
}

TEST(Decode, AnObjectIsFollowedByItsMetadata) {
  Decoder decoder;
  const auto text = padded(R"({"spec":{},"metadata":{"name":"a","namespace":"b","uid":"u","resourceVersion":"7"}})");
  const auto object = decoder.object(text);
  ASSERT_TRUE(object) << object.error().message;
  EXPECT_EQ(object->meta.key(), "b/a");
  EXPECT_EQ(object->meta.uid, "u");
  EXPECT_EQ(object->meta.resource_version, "7");
  for (const auto* bad : {"", "[]", "{}", R"({"metadata":{"name":1,"resourceVersion":"1"}})",
                          R"({"metadata":{"name":"a"}})", R"({"metadata":{"name":"a","resourceVersion":"1"})",
                          "{\"metadata\":{\"name\":\"\xff\",\"resourceVersion\":\"1\"}}"}) {
    const auto copy = padded(bad);
    EXPECT_FALSE(decoder.object(copy)) << bad;
  }
}

TEST(Decode, AStatusIsAFailure) {
  Decoder decoder;
  const auto gone =
      decoder.answer(410, R"({"kind":"Status","code":410,"reason":"Expired","message":"too\nold"})", "here");
  EXPECT_EQ(gone.reason, Reason::expired);
  EXPECT_EQ(gone.message, "here: 410 Expired: too old");
  const auto future = decoder.answer(
      504,
      R"({"code":504,"reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge"}],"retryAfterSeconds":1}})",
      "x");
  EXPECT_EQ(future.reason, Reason::future_version);
  EXPECT_EQ(future.retry_after, std::chrono::seconds(1));
  EXPECT_EQ(decoder.answer(502, "<html>bad gateway</html>", "x").reason, Reason::server);
  EXPECT_EQ(decoder.answer(409, R"({"code":409,"reason":"AlreadyExists"})", "x").reason, Reason::exists);
  EXPECT_EQ(decoder.answer(409, R"({"code":409,"reason":"Conflict"})", "x").reason, Reason::conflict);
  EXPECT_EQ(decoder.answer(429, "", "x").reason, Reason::throttled);
}

TEST(Decode, WhatIsLeftOfAList) {
  Decoder decoder;
  const auto text = padded(R"({"kind":"PodList","metadata":{"resourceVersion":"12","continue":"abc"},"items":[]})");
  const auto end = decoder.list_end(text);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->resource_version, "12");
  EXPECT_EQ(end->more, "abc");
  const auto other = padded(R"({"kind":"Status","metadata":{"resourceVersion":"12"}})");
  EXPECT_FALSE(decoder.list_end(other));
}

}  // namespace
}  // namespace weft::kubernetes
