// service get and trace, and the maps of services.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "cli/fake_agent.h"

namespace weft::cli {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ServicesTest = testing::FakeAgent;

constexpr auto service = R"({"namespace":"shop","name":"web","type":"LoadBalancer","headless":false,
  "cluster_ips":["10.96.0.10","fd00:96::10"],"load_balancer_ips":["198.51.100.10"],"external_ips":[],"external_name":"",
  "source_ranges":["192.0.2.0/24"],"traffic_policy":{"internal":"Cluster","external":"Local"},
  "health_check_node_port":32000,"local_endpoints":1,"pending":"","warnings":["NodePort 0.0.0.0 port 80/TCP leads to a/b"],
  "ports":[{"id":4,"port_name":"http","family":4,"protocol":"TCP","port":80,"algorithm":"maglev","forwarding":"snat",
  "affinity_seconds":10800,"slots":{"internal":2,"external":1},"refused":3,"source_denied":2,
  "frontends":[{"kind":"ClusterIP","address":"10.96.0.10","port":80},{"kind":"NodePort","address":"0.0.0.0","port":30080}],
  "backends":[
   {"id":1,"address":"10.0.0.2","port":8080,"namespace":"shop","pod":"web-0","local":true,"ready":true,"serving":true,
    "terminating":false,"healthy":true,"internal":true,"external":true,"state":"active","connections":12,"active":2,
    "packets":90,"bytes":45000,"node":"n1","zone":"a","weight":1,"check":null,
    "unchecked":"a NetworkPolicy selects it"},
   {"id":2,"address":"10.0.0.3","port":8080,"namespace":"shop","pod":"","local":false,"ready":false,"serving":true,
    "terminating":true,"healthy":false,"internal":false,"external":false,"state":"draining","connections":5,"active":1,
    "packets":9,"bytes":450,"node":"n2","zone":"b","weight":3,"check":{"healthy":false,"probes":7,
    "last_error":"it answered 503","failures_in_a_row":7,"successes_in_a_row":0}}]}]})";

// Pages as the agent gives them; all of them make one list.
TEST_F(ServicesTest, AListOfPagesIsOneList) {
  on_loop([&] {
    server_->handle("service.list", [](const json& params) -> api::Answer {
      const auto page = params.value("continue", 0);
      json answer{{"items", json::array({{{"namespace", "shop"}, {"name", fmt::format("s{}", page)}}})}};
      if (page < 2) answer["continue"] = page + 1;
      return answer;
    });
  });
  const auto names = json::parse(weft({"service", "list", "-o", "json"}).out);
  ASSERT_EQ(names.size(), 3U);
  EXPECT_EQ(names[2]["name"], "s2");
  EXPECT_EQ(weft({"service", "list", "-o", "name"}).out, "shop/s0\nshop/s1\nshop/s2\n");
  const auto table = weft({"service", "list"}).out;
  EXPECT_EQ(std::ranges::count(table, '\n'), 4) << "one header\n" << table;
}

TEST_F(ServicesTest, ABackendOnANodeThatIsGoneIsSaidToBe) {
  answers("service.get", R"({"namespace":"shop","name":"web","ports":[{"backends":[{"id":1,"address":"10.0.0.2",
    "port":80,"ready":false,"node":"n2","node_gone":true}]}]})");
  EXPECT_THAT(weft({"service", "get", "shop/web"}).out, HasSubstr(" not-ready,node-gone "));
}

TEST_F(ServicesTest, TheListTellsWhatIsNotServedAndWhy) {
  answers("service.list", R"({"items":[{"id":1,"namespace":"shop","name":"web","type":"ClusterIP","port_name":"http",
    "address":"10.96.0.1","port":80,"protocol":"TCP","active":0,"problem":"it leads to a/b, which had it first",
    "backends":[{"id":1,"ready":true}]},
    {"id":null,"namespace":"shop","name":"big","type":"ClusterIP","kind":null,"address":"",
     "problem":"it is not served: no room","backends":[]}]})");
  EXPECT_EQ(
      weft({"service", "list"}).out,
      "ID  SERVICE   TYPE       PORT NAME  ADDRESS     PORT  PROTOCOL  READY  OPEN  PROBLEM\n"
      "1   shop/web  ClusterIP  http       10.96.0.1   80    TCP       1/1    0     it leads to a/b, which had it "
      "first\n"
      "-   shop/big  ClusterIP  -          <left out>  -     -         0/0    -     it is not served: no room\n");
  EXPECT_EQ(json::parse(weft({"service", "list", "-o", "json"}).out)[1]["problem"], "it is not served: no room");
}

TEST_F(ServicesTest, GetShowsOneServiceWhole) {
  answers("service.get", service);
  const auto ran = weft({"service", "get", "shop/web"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(params("service.get"), (json{{"name", "shop/web"}, {"namespace", ""}}));
  EXPECT_EQ(
      ran.out,
      "shop/web  LoadBalancer\n"
      "  Cluster IPs   10.96.0.10,fd00:96::10\n"
      "  Load balancer 198.51.100.10\n"
      "  Source ranges 192.0.2.0/24\n"
      "  Policy        internal Cluster, external Local\n"
      "  Health port   32000, local endpoints 1\n"
      "                ! NodePort 0.0.0.0 port 80/TCP leads to a/b\n"
      "\n"
      "http 80/TCP IPv4  id 4, maglev, snat, affinity 3h00m; refused 3, source denied 2\n"
      "  ClusterIP     10.96.0.10:80\n"
      "  NodePort      0.0.0.0:30080\n"
      "\n"
      "ID  BACKEND                     NODE  WEIGHT  CONDITION                                NEW FLOWS  STATE     "
      "OPEN  CONNECTIONS  BYTES    CHECK\n"
      "1   shop/web-0 (10.0.0.2:8080)  n1    1       ready                                    all        active    "
      "2     12           45.0 KB  not checked from here: a NetworkPolicy selects it\n"
      "2   10.0.0.3:8080               n2    3       not-ready,serving,terminating,unhealthy  none       draining  "
      "1     5            450 B    it answered 503\n");
  EXPECT_THAT(weft({"service", "get", "web", "-n", "shop", "-o", "wide"}).out, HasSubstr("ZONE"));
  EXPECT_EQ(params("service.get"), (json{{"name", "web"}, {"namespace", "shop"}}));
  EXPECT_EQ(json::parse(weft({"service", "get", "shop/web", "-o", "json"}).out), json::parse(service));
  refuses("service.get", ErrorCode::not_found, "no Service shop/nope");
  EXPECT_EQ(weft({"service", "get", "shop/nope"}).code, 1);
}

json trace(const std::string& choice, const std::string& flows = "[]") {
  return {
      {"service",
       {{"namespace", "shop"}, {"name", "web"}, {"port_name", "http"}, {"id", 4}, {"port", 80}, {"protocol", "TCP"}}},
      {"frontend", {{"kind", "ClusterIP"}, {"address", "10.96.0.10"}, {"port", 80}}},
      {"client", {{"text", "shop/client"}, {"address", "10.0.0.9"}, {"endpoint", 5}, {"port", 0}}},
      {"algorithm", "random"},
      {"forwarding", "snat"},
      {"choice", json::parse(choice)},
      {"flows", {{"items", json::parse(flows)}, {"more", false}}}};
}

TEST_F(ServicesTest, TraceSaysWhichBackendAndWhy) {
  answers(
      "service.trace",
      trace(R"({"scope":"internal","backend":{"id":1,"address":"10.0.0.2","port":8080,"namespace":"shop","pod":"web-0"},
                    "shares":[],"why":"it is the only one","source_ranges":{"restricted":true,"allowed":true},
                    "affinity":{"seconds":60,"backend":null,"age_seconds":null}})",
            R"([{"client":"10.0.0.9:40000","client_pod":"shop/client","destination":"10.96.0.10:80","protocol":"TCP",
                     "state":"open","backend":{"id":1,"address":"10.0.0.2","port":8080,"namespace":"shop","pod":"web-0"},
                     "translated_source":"192.0.2.1:45056","encapsulation":"","exit":"pod","device":"weft1002","packets":5,
                     "bytes":500,"reply_packets":4,"reply_bytes":4000,"age_seconds":70}])")
          .dump());
  const auto ran = weft({"service", "trace", "--from", "shop/client", "--to", "svc/shop/web", "--port", "80",
                         "--source-port", "40000", "--limit", "7", "--all-flows"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(params("service.trace"), (json{{"from", "shop/client"},
                                           {"to", "svc/shop/web"},
                                           {"port", "80"},
                                           {"source_port", 40000},
                                           {"limit", 7},
                                           {"all_flows", true}}));
  EXPECT_EQ(
      ran.out,
      "shop/client to shop/web http port 80/TCP at ClusterIP 10.96.0.10:80, random\n"
      "-> shop/web-0 (10.0.0.2:8080)\n"
      "   it is the only one\n"
      "   affinity of 1m00s: nothing is remembered of this client\n"
      "   source ranges: the client is in them\n"
      "\n"
      "CLIENT          TO             PROTOCOL  STATE  BACKEND                     LEAVES BY                        "
      "AGE    PACKETS  BYTES\n"
      "10.0.0.9:40000  10.96.0.10:80  TCP       open   shop/web-0 (10.0.0.2:8080)  pod weft1002 as 192.0.2.1:45056  "
      "1m10s  5/4      500 B/4.0 KB\n");
}

TEST_F(ServicesTest, TraceGivesSharesOrTheReasonOfARefusal) {
  answers("service.trace", trace(R"({"backend":null,"why":"random: any of 2 slots","shares":[
      {"backend":{"id":1,"address":"10.0.0.2","port":8080,"namespace":"shop","pod":"web-0"},"share":0.75},
      {"backend":{"id":2,"address":"fd00::3","port":8080,"namespace":"","pod":""},"share":0.25}]})")
                               .dump());
  const auto shares = weft({"service", "trace", "--from", "shop/client", "--to", "10.96.0.10", "--port", "80/TCP"});
  EXPECT_THAT(shares.out,
              AllOf(HasSubstr("-> random: any of 2 slots\n"), HasSubstr(" 75.0%  shop/web-0 (10.0.0.2:8080)\n"),
                    HasSubstr(" 25.0%  [fd00::3]:8080\n")));
  EXPECT_THAT(shares.err, HasSubstr("no flow of it"));
  answers("service.trace", trace(R"({"backend":null,"shares":[],"why":"no endpoint can take new flows"})").dump());
  EXPECT_THAT(weft({"service", "trace", "--from", "host", "--to", "svc/shop/web"}).out,
              HasSubstr("-> nobody: no endpoint can take new flows\n"));
  EXPECT_EQ(weft({"service", "trace"}).code, 2);
  refuses("service.trace", ErrorCode::invalid, "port: \"http\" is not a port like 80/TCP");
  EXPECT_EQ(weft({"service", "trace", "--to", "svc/shop/web", "--port", "http"}).code, 2);
  refuses("service.trace", ErrorCode::not_found, "no Service shop/nope");
  EXPECT_EQ(weft({"service", "trace", "--to", "svc/shop/nope"}).code, 1);
}

TEST_F(ServicesTest, APortWithoutANameLeavesNoGap) {
  auto answer = trace(R"({"backend":null,"shares":[],"why":"no endpoint can take new flows"})");
  answer["service"]["port_name"] = "";
  answers("service.trace", answer.dump());
  EXPECT_THAT(weft({"service", "trace", "--from", "host", "--to", "svc/shop/web"}).out,
              HasSubstr("shop/client to shop/web port 80/TCP at "));
}

TEST_F(ServicesTest, ListIsOfANamespaceWhenAsked) {
  answers("service.list", R"({"items":[]})");
  EXPECT_EQ(weft({"service", "list", "-n", "shop"}).code, 0);
  EXPECT_EQ(params("service.list"), (json{{"namespace", "shop"}, {"limit", 500}}));
  EXPECT_EQ(weft({"service", "list"}).code, 0);
  EXPECT_EQ(params("service.list"), (json{{"limit", 500}}));
}

TEST_F(ServicesTest, MapsOfServicesHaveALimit) {
  answers("bpf.list", R"({"items":[{"slot":1,"backend":3},{"slot":2,"backend":4}]})");
  EXPECT_EQ(weft({"bpf", "lb", "slots", "list"}).code, 0);
  EXPECT_EQ(params("bpf.list"), (json{{"map", "lb-slots"}, {"limit", 1000}}));
  EXPECT_THAT(weft({"bpf", "lb", "slots", "list", "--limit", "2"}).err, HasSubstr("there may be more"));
  EXPECT_EQ(weft({"bpf", "lb", "frontends", "list", "--limit", "0"}).err, "");
  EXPECT_EQ(params("bpf.list"), (json{{"map", "lb-frontends"}}));
  EXPECT_EQ(weft({"bpf", "lb", "nothing", "list"}).code, 2);
}

TEST_F(ServicesTest, NamesAreCompleted) {
  answers("get", R"({"items":[{"metadata":{"namespace":"shop","name":"web"}}]})");
  EXPECT_THAT(run_bare({"__complete", "--", "--socket", directory_ + "/s", "service", "get", ""}).out,
              HasSubstr("shop/web"));
  EXPECT_THAT(run_bare({"__complete", "--", "--socket", directory_ + "/s", "service", "trace", "--to", ""}).out,
              HasSubstr("svc/shop/web"));
  EXPECT_THAT(run_bare({"__complete", "--", "bpf", "lb", ""}).out, AllOf(HasSubstr("slots"), HasSubstr("l2")));
}

}  // namespace
}  // namespace weft::cli
