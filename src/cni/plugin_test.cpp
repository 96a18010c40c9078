#include "cni/plugin.h"

#include <gmock/gmock.h>

#include <deque>
#include <vector>

namespace weft::cni {
namespace {

struct Call {
  std::string method;
  Json params;
};

// Answers from a list and remembers what it was asked; outlives the connections made to it.
struct FakeAgent {
  std::deque<Result<Json>> answers;
  std::vector<Call> calls;
  std::vector<Call> notifications;
  int connections = 0;

  Connect connect() {
    class Connection : public Agent {
     public:
      explicit Connection(FakeAgent& agent) : agent_(agent) {}
      Result<Json> call(const std::string& method, const Json& params) override {
        agent_.calls.push_back({method, params});
        if (agent_.answers.empty()) return Json::object();
        auto answer = std::move(agent_.answers.front());
        agent_.answers.pop_front();
        return answer;
      }
      void notify(const std::string& method, const Json& params) override {
        agent_.notifications.push_back({method, params});
      }

     private:
      FakeAgent& agent_;
    };
    return [this](const Invocation&) -> std::unique_ptr<Agent> {
      ++connections;
      return std::make_unique<Connection>(*this);
    };
  }
};

Environment environment_for(const std::string& command) {
  return {{"CNI_COMMAND", command},
          {"CNI_CONTAINERID", "c0ffee"},
          {"CNI_NETNS", "/run/netns/blue"},
          {"CNI_IFNAME", "eth0"},
          {"CNI_ARGS", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0"}};
}

const Json answer = Json::parse(R"({
  "interfaces":[{"name":"weft0a1b","mac":"02:00:00:00:00:01","mtu":1500},
                {"name":"eth0","mac":"02:00:00:00:00:02","mtu":1500,"sandbox":"/run/netns/blue"}],
  "ips":[{"address":"10.244.0.5/32","gateway":"169.254.1.1","interface":1},
         {"address":"fd00:10:244::5/128","interface":1}],
  "routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1","mtu":1450,"scope":0}],
  "dns":{}, "endpoint":7})");

Json add(FakeAgent& agent, const std::string& config, int expected_exit = 0) {
  const auto output = run(environment_for("ADD"), config, agent.connect());
  EXPECT_EQ(output.exit_code, expected_exit) << output.text;
  if (output.acknowledge) output.acknowledge();
  return Json::parse(output.text);
}

TEST(Plugin, AddPrintsTheNewestForm) {
  FakeAgent agent{{answer}, {}, {}};
  EXPECT_EQ(add(agent, R"({"cniVersion":"1.1.0","name":"weft"})"), Json::parse(R"({
    "cniVersion":"1.1.0",
    "interfaces":[{"name":"weft0a1b","mac":"02:00:00:00:00:01","mtu":1500},
                  {"name":"eth0","mac":"02:00:00:00:00:02","mtu":1500,"sandbox":"/run/netns/blue"}],
    "ips":[{"address":"10.244.0.5/32","gateway":"169.254.1.1","interface":1},
           {"address":"fd00:10:244::5/128","interface":1}],
    "routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1","mtu":1450,"scope":0}],
    "dns":{}})"));
}

TEST(Plugin, AddLeavesOutWhatTheVersionLacks) {
  FakeAgent agent{{answer}, {}, {}};
  EXPECT_EQ(add(agent, R"({"cniVersion":"1.0.0","name":"weft"})"), Json::parse(R"({
    "cniVersion":"1.0.0",
    "interfaces":[{"name":"weft0a1b","mac":"02:00:00:00:00:01"},
                  {"name":"eth0","mac":"02:00:00:00:00:02","sandbox":"/run/netns/blue"}],
    "ips":[{"address":"10.244.0.5/32","gateway":"169.254.1.1","interface":1},
           {"address":"fd00:10:244::5/128","interface":1}],
    "routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"}],
    "dns":{}})"));
}

TEST(Plugin, OldResultsNameTheFamily) {
  for (const char* version : {"0.3.1", "0.4.0"}) {
    FakeAgent agent{{answer}, {}, {}};
    const auto result = add(agent, R"({"name":"weft","cniVersion":")" + std::string(version) + "\"}");
    EXPECT_EQ(result["ips"], Json::parse(R"([
      {"version":"4","address":"10.244.0.5/32","gateway":"169.254.1.1","interface":1},
      {"version":"6","address":"fd00:10:244::5/128","interface":1}])"));
    EXPECT_FALSE(result["interfaces"][0].contains("mtu"));
  }
}

TEST(Plugin, AddKeepsThePreviousResult) {
  FakeAgent agent{{answer}, {}, {}};
  const auto result = add(agent, R"({"cniVersion":"1.1.0","name":"weft","prevResult":{"cniVersion":"1.1.0",
    "interfaces":[{"name":"net0","sandbox":"/run/netns/blue"}],
    "ips":[{"address":"192.0.2.9/24","interface":0}],
    "routes":[{"dst":"192.0.2.0/24"}], "dns":{"nameservers":["192.0.2.53"]}}})");
  EXPECT_EQ(result["interfaces"].size(), 3U);
  EXPECT_EQ(result["interfaces"][0]["name"], "net0");
  EXPECT_EQ(result["ips"][0]["interface"], 0);
  EXPECT_EQ(result["ips"][1]["interface"], 2) << "ours comes after the interface that was there";
  EXPECT_EQ(result["routes"].size(), 2U);
  EXPECT_EQ(result["dns"]["nameservers"][0], "192.0.2.53");
  EXPECT_EQ(agent.calls[0].params["config"]["prevResult"]["ips"][0]["address"], "192.0.2.9/24");
}

TEST(Plugin, AddTellsTheAgentAndThenAcknowledges) {
  FakeAgent agent{{answer}, {}, {}};
  const auto output =
      run(environment_for("ADD"), R"({"cniVersion":"1.0.0","name":"weft","runtimeConfig":{"ips":["10.244.0.9"]}})",
          agent.connect());
  ASSERT_EQ(agent.calls.size(), 1U);
  EXPECT_EQ(agent.calls[0].method, "cni.add");
  EXPECT_EQ(agent.calls[0].params, Json::parse(R"({"container_id":"c0ffee","ifname":"eth0","netns":"/run/netns/blue",
    "args":{"K8S_POD_NAMESPACE":"shop","K8S_POD_NAME":"web-0"},
    "config":{"cniVersion":"1.0.0","name":"weft","runtimeConfig":{"ips":["10.244.0.9"]}}})"));
  EXPECT_TRUE(agent.notifications.empty()) << "not before the runtime has the result";
  ASSERT_TRUE(output.acknowledge);
  output.acknowledge();
  ASSERT_EQ(agent.notifications.size(), 1U);
  EXPECT_EQ(agent.notifications[0].method, "cni.ack");
  EXPECT_EQ(agent.notifications[0].params, Json::parse(R"({"container_id":"c0ffee","ifname":"eth0"})"));
  EXPECT_EQ(agent.connections, 1) << "the acknowledgement takes the same connection";
}

TEST(Plugin, SilentCommands) {
  const std::string config =
      R"({"cniVersion":"1.1.0","name":"weft","prevResult":{},"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]})";
  for (const auto& [command, method, params] :
       {std::tuple{"DEL", "cni.del", R"({"container_id":"c0ffee","ifname":"eth0","netns":"/run/netns/blue"})"},
        std::tuple{"GC", "cni.gc", R"({"network":"weft","valid":[{"container_id":"a","ifname":"eth0"}]})"},
        std::tuple{"CHECK", "cni.check", ""}, std::tuple{"STATUS", "cni.status", ""}}) {
    FakeAgent agent;
    const auto output = run(environment_for(command), config, agent.connect());
    EXPECT_EQ(output.exit_code, 0);
    EXPECT_EQ(output.text, "") << command;
    EXPECT_FALSE(output.acknowledge);
    ASSERT_EQ(agent.calls.size(), 1U);
    EXPECT_EQ(agent.calls[0].method, method);
    if (*params != 0) {
      EXPECT_EQ(agent.calls[0].params, Json::parse(params));
    }
  }
}

TEST(Plugin, AgentErrorsBecomeCniErrors) {
  struct Case {
    const char* command;
    ErrorCode code;
    const char* message;
    int number;
  };
  for (const auto& [command, code, message, number] : {
           Case{"ADD", ErrorCode::invalid, "ipam: bad", 7},
           Case{"ADD", ErrorCode::invalid, "CNI_NETNS: not a namespace", 4},
           Case{"CHECK", ErrorCode::not_found, "no such attachment", 3},
           Case{"ADD", ErrorCode::exists, "attached already", 100},
           Case{"ADD", ErrorCode::exhausted, "pool is full", 101},
           Case{"ADD", ErrorCode::denied, "no", 102},
           Case{"ADD", ErrorCode::internal, "no", 103},
           Case{"ADD", ErrorCode::unsupported, "ipRanges", 2},
           Case{"ADD", ErrorCode::io, "netlink", 5},
           Case{"ADD", ErrorCode::unavailable, "away", 11},
           Case{"DEL", ErrorCode::unavailable, "away", 11},
           Case{"CHECK", ErrorCode::unavailable, "away", 11},
           Case{"GC", ErrorCode::unavailable, "away", 11},
           Case{"STATUS", ErrorCode::unavailable, "away", 50},
       }) {
    FakeAgent agent{{fail(code, message, "do this")}, {}, {}};
    const auto output =
        run(environment_for(command),
            R"({"cniVersion":"1.1.0","name":"weft","prevResult":{},"cni.dev/valid-attachments":[]})", agent.connect());
    EXPECT_EQ(output.exit_code, 1);
    const Json error = Json::parse(output.text);
    EXPECT_EQ(error["code"], number) << command << " " << message;
    EXPECT_EQ(error["msg"], message);
    EXPECT_EQ(error["details"], "do this");
    EXPECT_EQ(error["cniVersion"], "1.1.0");
    EXPECT_FALSE(output.acknowledge);
  }
}

TEST(Plugin, VersionNeedsNoAgent) {
  FakeAgent agent;
  const auto output = run({{"CNI_COMMAND", "VERSION"}}, R"({"cniVersion":"0.4.0"})", agent.connect());
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_EQ(Json::parse(output.text),
            Json::parse(R"({"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]})"));
  EXPECT_EQ(agent.connections, 0);
  EXPECT_EQ(Json::parse(run({{"CNI_COMMAND", "VERSION"}}, "", agent.connect()).text)["cniVersion"], "1.1.0");
}

TEST(Plugin, NothingIsAskedWhenTheInputIsWrong) {
  FakeAgent agent;
  const auto output = run(environment_for("ADD"), "{", agent.connect());
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_EQ(Json::parse(output.text)["code"], 6);
  EXPECT_EQ(agent.connections, 0);
}

TEST(Plugin, StrangeAnswersDoNotBreakTheResult) {
  for (const char* strange : {"[]", "7", R"({"interfaces":7,"ips":[1,{"address":5,"interface":"x"}],"dns":[]})"}) {
    FakeAgent agent{{Json::parse(strange)}, {}, {}};
    const auto result = add(agent, R"({"cniVersion":"0.4.0","name":"weft"})");
    EXPECT_EQ(result["cniVersion"], "0.4.0");
  }
}

}  // namespace
}  // namespace weft::cni
