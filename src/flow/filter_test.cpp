#include "flow/filter.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "flow/testing.h"

namespace weft::flow {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

struct Case {
  const char* filters;
  bool matches;
};

void check(const weft_event& event, const std::vector<Case>& cases) {
  const auto flow = enrich(event, testing::shop());
  for (const auto& entry : cases) {
    auto filter = FlowFilter::parse(json::parse(entry.filters));
    ASSERT_TRUE(filter) << entry.filters << ": " << filter.error().message;
    EXPECT_EQ(filter->matches(flow), entry.matches) << entry.filters;
  }
}

TEST(FlowFilter, SelectsByWhoAndWhat) {
  check(testing::event(WEFT_EVENT_DENIED), {
                                               {"null", true},
                                               {"{}", true},
                                               {R"({"pod":[]})", true},
                                               {R"({"pod":["shop/web-0"]})", true},
                                               {R"({"pod":"db-0"})", true},
                                               {R"({"pod":["shop/web"]})", true},
                                               {R"({"pod":["shop/"]})", true},
                                               {R"({"pod":["other/web-0"]})", false},
                                               {R"({"pod":["web-1"]})", false},
                                               {R"({"from_pod":["web-0"]})", true},
                                               {R"({"from_pod":["db-0"]})", false},
                                               {R"({"to_pod":["db-0"]})", true},
                                               {R"({"from_pod":["db-0","web-0"],"to_pod":["db"]})", true},
                                               {R"({"from_pod":["web-0"],"to_pod":["web-0"]})", false},
                                               {R"({"namespace":["shop"]})", true},
                                               {R"({"from_namespace":["other"]})", false},
                                               {R"({"to_namespace":["other","shop"]})", true},
                                               {R"({"label":["app=web"]})", true},
                                               {R"({"label":["k8s:app=web"]})", true},
                                               {R"({"label":["app"]})", true},
                                               {R"({"label":["app=web,tier=front"]})", true},
                                               {R"({"label":["app=web,tier=back"]})", false},
                                               {R"({"label":["app=db,tier=front"]})", false},
                                               {R"({"label":["container:name=db"]})", true},
                                               {R"({"label":["name=db"]})", false},
                                               {R"({"to_label":["app=web"]})", false},
                                               {R"({"identity":["301"]})", true},
                                               {R"({"from_identity":["301"]})", false},
                                               {R"({"identity":["host","300"]})", true},
                                               {R"({"ip":["10.0.0.10"]})", true},
                                               {R"({"ip":["10.0.0.0/24"]})", true},
                                               {R"({"ip":["fd00::/8"]})", false},
                                               {R"({"ip":["::/0"]})", false},
                                               {R"({"port":["6379"]})", true},
                                               {R"({"port":["6379/UDP"]})", false},
                                               {R"({"port":["34567/tcp"]})", true},
                                               {R"({"port":["80"]})", false},
                                               {R"({"protocol":["tcp"]})", true},
                                               {R"({"protocol":["udp","sctp"]})", false},
                                               {R"({"verdict":["dropped"]})", true},
                                               {R"({"verdict":["deny"]})", true},
                                               {R"({"verdict":["FORWARDED"]})", false},
                                               {R"({"type":["denied"]})", true},
                                               {R"({"type":["new","closed"]})", false},
                                               {R"({"drop_reason":["policy-denied"]})", true},
                                               {R"({"drop_reason":["spoofed-source"]})", false},
                                               {R"({"service":["shop/db"]})", false},
                                           });
}

TEST(FlowFilter, SelectsServices) {
  auto event = testing::event();
  event.daddr = testing::addr("10.96.0.5");
  event.backend_addr = testing::addr("10.0.0.20");
  event.backend_port = testing::port(6380);
  event.service_id = 7;
  check(event, {
                   {R"({"service":["shop/db"]})", true},
                   {R"({"service":["svc/shop/db"]})", true},
                   {R"({"service":["db"]})", true},
                   {R"({"service":["shop/"]})", true},
                   {R"({"service":["shop/web"]})", false},
                   {R"({"ip":["10.96.0.5"]})", true},
                   {R"({"ip":["10.0.0.20"]})", true},
                   {R"({"port":["6380"]})", true},
                   {R"({"to_pod":["db-0"]})", true},
                   {R"({"drop_reason":["policy-denied"]})", false},
               });
}

TEST(FlowFilter, UnknownPeersMatchNothingByName) {
  auto event = testing::event();
  event.src_endpoint = event.dst_endpoint = 0;
  event.saddr = testing::addr("192.0.2.1");
  event.daddr = testing::addr("192.0.2.2");
  event.src_identity = event.dst_identity = 2;
  check(event, {{R"({"pod":["shop/"]})", false},
                {R"({"namespace":["shop"]})", false},
                {R"({"label":["app"]})", false},
                {R"({"label":["reserved:world"]})", true},
                {R"({"identity":["world"]})", true},
                {R"({"identity":["reserved:host"]})", false}});
}

TEST(FlowFilter, ErrorsSayWhatIsWrong) {
  struct Wrong {
    const char* filters;
    const char* message;
    const char* hint;
  };
  const std::vector<Wrong> cases{
      {"[]", "expected an object", ""},
      {R"({"pods":["x"]})", "no filter \"pods\"", "pod"},
      {R"({"pod":[3]})", "filters.pod: expected text", ""},
      {R"({"pod":[""]})", "filters.pod", ""},
      {R"({"port":["http"]})", "filters.port: \"http\" is not a port", ""},
      {R"({"port":["0"]})", "filters.port", ""},
      {R"({"ip":["10.0.0"]})", "filters.ip", ""},
      {R"({"identity":["-1"]})", "filters.identity", ""},
      {R"({"protocol":["tpc"]})", "filters.protocol", ""},
      {R"({"verdict":["drop"]})", "filters.verdict", "DROPPED"},
      {R"({"type":["opened"]})", "filters.type", "new"},
      {R"({"drop_reason":["policy"]})", "filters.drop_reason", "policy-denied"},
      {R"({"label":["=web"]})", "filters.label", ""},
      {R"({"label":["app=web,"]})", "filters.label", ""},
  };
  for (const auto& entry : cases) {
    auto filter = FlowFilter::parse(json::parse(entry.filters));
    ASSERT_FALSE(filter) << entry.filters;
    EXPECT_EQ(filter.error().code, ErrorCode::invalid);
    EXPECT_THAT(filter.error().message, HasSubstr(entry.message));
    EXPECT_THAT(filter.error().hint, HasSubstr(entry.hint)) << entry.filters;
  }
}

}  // namespace
}  // namespace weft::flow
