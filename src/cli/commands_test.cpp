// The other commands, usage errors and completion.
#include <gmock/gmock.h>

#include "cli/fake_agent.h"
#include "cli/output.h"

namespace weft::cli {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using CommandsTest = testing::FakeAgent;

TEST_F(CommandsTest, AbsentAgentIsCodeThree) {
  const auto ran = run_bare({"--socket", directory_ + "/none", "status"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.err, HasSubstr("the agent does not answer at " + directory_ + "/none"));
  EXPECT_THAT(ran.err, HasSubstr("weftd"));
  const auto lab = run_bare({"--lab", "no-such-lab", "status"});
  EXPECT_EQ(lab.code, 3);
  EXPECT_THAT(lab.err, HasSubstr("/run/weft/lab/no-such-lab/node1/weft.sock"));
  EXPECT_THAT(lab.err, HasSubstr("weft lab up"));
}

TEST_F(CommandsTest, SocketComesFromTheEnvironmentToo) {
  answers("identity.list", R"({"items":[]})");
  ::setenv("WEFT_SOCKET", (socket()).c_str(), 1);
  EXPECT_EQ(run_bare({"identity", "list"}).code, 0);
  EXPECT_EQ(run_bare({"--lab", "no-such-lab", "identity", "list"}).code, 3);
  ::unsetenv("WEFT_SOCKET");
}

TEST_F(CommandsTest, WrongUsageIsCodeTwoWithAHint) {
  struct Case {
    std::vector<std::string> arguments;
    const char* error;
  };
  const std::vector<Case> cases{
      {{}, "COMMAND"},
      {{"staus"}, "did you mean status"},
      {{"policy"}, "explain"},
      {{"policy", "explian"}, "did you mean explain"},
      {{"status", "--nope"}, "--nope"},
      {{"status", "-o", "xml"}, "xml"},
      {{"get"}, "KIND"},
      {{"apply"}, "--filename"},
      {{"observe", "--last", "many"}, "--last many"},
      {{"policy", "explain", "--from", "a"}, "--to"},
      {{"completion", "tcsh"}, "tcsh"},
      {{"--lab", "../../etc", "status"}, "is not a lab's name"},
      {{"lab", "up", "--timeout", "soon"}, "500ms"},
      {{"lab", "net", "--name", "no/lab", "show"}, "is not a lab's name"},
      {{"get", "gizmo"}, "use namespace, pod"},
      {{"get", "gizmo/a"}, "\"gizmo\" is not a kind"},
      {{"get", "pod", "shop/a", "-n", "other"}, "names another namespace"},
      {{"delete", "gizmo", "a"}, "\"gizmo\" is not a kind"},
      {{"delete", "all", "a"}, "\"all\" is not a kind"},
      {{"delete", "pod", "a", "-f", "-"}, "not both"},
      {{"help", "nothing"}, "nothing"},
      {{"--lab", "", "status"}, "lab's name"},
      {{"bpf", "nosuch", "list"}, "\"weft bpf\" has no command \"nosuch\""},
      {{"bpf", "flow", "list"}, "did you mean flows"},
      {{"bpf", "flows", "list", "--limit", "-3"}, "--limit"},
  };
  for (const auto& entry : cases) {
    const auto ran = run_bare(entry.arguments);
    EXPECT_EQ(ran.code, 2) << (entry.arguments.empty() ? "" : entry.arguments.front());
    EXPECT_THAT(ran.err, HasSubstr(entry.error));
    EXPECT_EQ(ran.out, "");
  }
}

TEST_F(CommandsTest, EveryCommandHasHelpWithAnExample) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{{"version"},
                                                                                     {"status"},
                                                                                     {"doctor"},
                                                                                     {"node", "delete"},
                                                                                     {"apply"},
                                                                                     {"get"},
                                                                                     {"delete"},
                                                                                     {"store", "push"},
                                                                                     {"endpoint", "list"},
                                                                                     {"identity", "list"},
                                                                                     {"service", "list"},
                                                                                     {"service", "get"},
                                                                                     {"service", "trace"},
                                                                                     {"bpf", "lb"},
                                                                                     {"bpf", "lb", "slots", "list"},
                                                                                     {"policy", "list"},
                                                                                     {"policy", "explain"},
                                                                                     {"policy", "status"},
                                                                                     {"ipam", "list"},
                                                                                     {"operator"},
                                                                                     {"operator", "status"},
                                                                                     {"bpf"},
                                                                                     {"bpf", "list"},
                                                                                     {"bpf", "flows", "list"},
                                                                                     {"observe"},
                                                                                     {"completion"},
                                                                                     {"lab"},
                                                                                     {"lab", "up"},
                                                                                     {"lab", "apply"},
                                                                                     {"lab", "delete"},
                                                                                     {"bgp", "status"},
                                                                                     {"bgp", "peers"},
                                                                                     {"bgp", "routes"},
                                                                                     {"lab", "exec"},
                                                                                     {"lab", "list"},
                                                                                     {"lab", "down"},
                                                                                     {"lab", "probe"},
                                                                                     {"help"}}) {
    auto with_help = words;
    with_help.emplace_back("--help");
    const auto ran = run_bare(with_help);
    EXPECT_EQ(ran.code, 0);
    EXPECT_THAT(ran.out, HasSubstr("Example:")) << words.front();
    EXPECT_THAT(ran.out, HasSubstr("Usage: weft " + words.front()));
    auto helped = words;
    helped.insert(helped.begin(), "help");
    EXPECT_EQ(run_bare(helped).out, ran.out);
  }
  EXPECT_THAT(run_bare({"--help"}).out, HasSubstr("Exit codes"));
  EXPECT_THAT(run_bare({"--help"}).out, HasSubstr("weft policy explain --from"));
}

TEST_F(CommandsTest, VersionWorksWithoutAnAgent) {
  EXPECT_THAT(run_bare({"--version"}).out, StartsWith("weft 0."));
  EXPECT_EQ(run_bare({"-V"}).code, 0);
  EXPECT_THAT(run_bare({"--socket", directory_ + "/none", "version"}).out, StartsWith("weft 0."));
  answers("status", R"({"version":"9.9"})");
  EXPECT_THAT(weft({"version"}).out, HasSubstr("weftd 9.9\n"));
  EXPECT_EQ(json::parse(weft({"version", "-o", "json"}).out)["agent"], "9.9");
}

constexpr auto status = R"({"version":"0.1.0","instance":"default","node":"n1","uptime_seconds":130,"pid":7,
  "rss_bytes":21300000,"health":"degraded","problems":["map weft_flow4_v2 is full"],
  "kernel":{"release":"6.18.5","attach":"tcx","redirect_peer":true},
  "datapath":{"epoch":5,"events":true,"maps":[{"name":"weft_policy_v1","type":"hash","entries":3,"max_entries":100,
  "memory_bytes":4096}],"drops":[{"reason":"policy-denied","meaning":"not allowed","packets":4,"bytes":2400,
  "last":"2026-01-02T03:04:05Z"},
  {"reason":"malformed","meaning":"bad","packets":0,"bytes":0}],"stats":[{"name":"forwarded","meaning":"f","value":9}]},
  "uplinks":[{"name":"eth0","attached":true,"xdp":{"mode":"native","detail":""}},{"name":"eth1","attached":false}],
  "pods":{"total":3,"attached":2},"identities":4,"policies":1,"services":2,"flows":{"seen":10,"lost":1,"kept":9},
  "ipam":[{"name":"default","cidr":"10.0.0.0/24","family":4,"capacity":253,"allocated":2,"quarantined":1}],
  "reconcile":{"pending":0,"failed":1,"last_error":"EBUSY"}})";

TEST_F(CommandsTest, StatusForPeople) {
  answers("status", status);
  const auto ran = weft({"status"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out,
            "Weft 0.1.0 on node n1, instance default\n"
            "Health      degraded\n"
            "            ! map weft_flow4_v2 is full\n"
            "Agent       pid 7, up 2m10s, 21.3 MB resident\n"
            "Kernel      6.18.5: attach tcx, redirect_peer yes\n"
            "Uplinks     eth0 (attached, XDP native), eth1 (NOT ATTACHED)\n"
            "Datapath    epoch 5, events yes\n"
            "Pods        2 attached, 3 declared\n"
            "Objects     4 identities, 1 policies, 2 service frontends\n"
            "Flows       10 seen, 9 kept, 1 lost\n"
            "Addresses   default 10.0.0.0/24: 2 of 253 allocated, 1 in quarantine\n"
            "Reconcile   0 pending, 1 failed: EBUSY\n"
            "\n"
            "DROPPED        PACKETS  BYTES   LAST                  MEANING\n"
            "policy-denied  4        2.4 KB  2026-01-02T03:04:05Z  not allowed\n");
  EXPECT_THAT(weft({"status", "-o", "wide"}).out, HasSubstr("weft_policy_v1"));
  EXPECT_THAT(weft({"status"}, "", true).out, HasSubstr("\x1b[31mdegraded\x1b[0m"));
  EXPECT_EQ(json::parse(weft({"status", "-o", "json"}).out), json::parse(status));
  // An agent of another version: nothing is required.
  answers("status", "{}");
  EXPECT_EQ(weft({"status", "-o", "wide"}).code, 0);
}

TEST_F(CommandsTest, StatusSaysWhatToDoAndWhichPodsHaveNoNetwork) {
  answers("status", R"({"health":"degraded","problems":["node b is away","etcd (http://x) is away"],
    "remedies":{"node b is away":"start weftd there"},"pods":{"total":3,"attached":2},
    "unattached":[{"namespace":"shop","pod":"web-0","reason":"no pool bleu","tries":4,"since":"2026-11-29T12:00:00Z"}],
    "cluster":{"name":"west","joined":false,"since":"S","refused":"another is alive","alive":1,"nodes":2,
    "tunnel":"none"}})");
  const auto out = weft({"status"}).out;
  EXPECT_THAT(
      out, HasSubstr("            ! node b is away\n"
                     "              start weftd there\n"
                     "            ! etcd (http://x) is away\n"
                     "            ! pod shop/web-0 has no network, tried 4 times since 2026-11-29T12:00:00Z: no pool "
                     "bleu\n"));
  EXPECT_THAT(out, HasSubstr("Pods        2 attached, 3 declared, 1 COULD NOT BE ATTACHED\n"));
  EXPECT_THAT(out, HasSubstr("Cluster     west: KEPT OUT since S"));
}

TEST_F(CommandsTest, StatusNamesTheApiServerThatObjectsAreFrom) {
  const auto line = [&](const std::string& kubernetes) {
    answers("status", R"({"health":"ok","problems":[],"kubernetes":)" + kubernetes + "}");
    const auto out = weft({"status"}).out;
    const auto begin = out.find("Kubernetes");
    return begin == std::string::npos ? std::string() : out.substr(begin, out.find('\n', begin) - begin);
  };
  EXPECT_EQ(line(R"({"server":"https://a:6443","objects":7,"taken":true,"since":"","problem":""})"),
            "Kubernetes  https://a:6443: 7 objects");
  EXPECT_EQ(line(R"({"server":"https://a:6443","objects":3,"taken":false,"since":"","problem":"no answer yet"})"),
            "Kubernetes  https://a:6443: 3 objects, not all of them are here yet");
  EXPECT_EQ(line(R"({"server":"https://a:6443","objects":7,"taken":true,"since":"S","problem":"refused"})"),
            "Kubernetes  https://a:6443: 7 objects, NOT HEARD OF since S: refused");
  EXPECT_EQ(line("null"), "");
}

TEST_F(CommandsTest, HealthTellsOfNodesThatAreAwayAndOfTheEdge) {
  answers("node.health", R"({"items":[{"node":"b","way":"vxlan","problem":"node b is away","remedy":"start weftd there",
    "note":"","probes":[]},{"node":"c","way":"vxlan","problem":"","remedy":"","note":"node c is away; at the edge",
    "probes":[]}]})");
  const auto ran = weft({"health"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, HasSubstr("! node b is away\n  start weftd there\n- node c is away; at the edge\n"));
  answers("node.health", R"({"items":[{"node":"c","way":"vxlan","problem":"","note":"node c is away","probes":[]}]})");
  EXPECT_EQ(weft({"health"}).code, 0) << "it may be";
}

// As docs/cli.md has them.
TEST_F(CommandsTest, HealthHasACodeForEachAnswer) {
  EXPECT_EQ(run_bare({"--socket", directory_ + "/none", "health"}).code, 3);
  const auto code = [&](const char* answer) {
    answers("node.health", answer);
    return weft({"health"}).code;
  };
  EXPECT_EQ(code(R"({"items":[{"node":"b","problem":"","probes":[]}]})"), 0);
  EXPECT_EQ(code(R"({"items":[{"node":"b","problem":"","probes":[]}],"as_of":"S"})"), 0) << "as of then";
  EXPECT_EQ(code(R"({"items":[{"node":"b","problem":"node b is away","probes":[]}]})"), 1);
  EXPECT_EQ(code(R"({"items":[],"as_of":"S","unheard":true})"), 3);
  EXPECT_EQ(code(R"({"items":[{"node":"b","problem":"bad","probes":[]}],"as_of":"S","unheard":true})"), 1);
  refuses("node.health", ErrorCode::unsupported, "this node is by itself");
  EXPECT_EQ(weft({"health"}).code, 1);
}

TEST_F(CommandsTest, WhatIsOldIsSaidToBe) {
  const char* items = R"({"items":[],"as_of":"2026-11-29T12:00:00Z"})";
  for (const auto* method : {"node.list", "node.health", "service.list", "egress.list", "operator.status",
                             "encryption.status", "service.get", "ipam.list", "policy.explain"})
    answers(method, items);
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"node", "list"},
                                             {"node", "list", "-o", "json"},
                                             {"health"},
                                             {"service", "list"},
                                             {"service", "get", "a"},
                                             {"egress", "list"},
                                             {"operator", "status"},
                                             {"ipam", "list"},
                                             {"policy", "explain", "--from=a", "--to=b", "--port=80"},
                                             {"encryption", "status"}})
    EXPECT_THAT(weft(words).err, HasSubstr("as of 2026-11-29T12:00:00Z: etcd has not answered this node since"))
        << words[0];
  answers("node.list", R"({"items":[]})");
  EXPECT_EQ(weft({"node", "list"}).err, "no nodes are known yet\n");
}

TEST_F(CommandsTest, AnAgentThatHasHeardOfNoNodeYetDoesNotCallThemWell) {
  answers("node.health", R"({"items":[],"as_of":"S","unheard":true})");
  const auto ran = weft({"health"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.err, HasSubstr("etcd has told this node nothing since its agent was started at S"));
  EXPECT_THAT(ran.err + ran.out, HasSubstr("the other nodes are not known yet\n"));
  EXPECT_EQ(weft({"health", "-o", "json"}).code, 3);
  answers("status", R"({"version":"0.1.0","node":"a","health":"degraded","problems":[],
    "cluster":{"name":"west","joined":false,"since":"S","alive":0,"nodes":0}})");
  EXPECT_THAT(weft({"status"}).out, HasSubstr("west: AWAY since S, the nodes are not known yet, tunnel"));
}

// Code 3, as for an agent that is not there: what was asked is not known to it.
TEST_F(CommandsTest, AnAgentThatHasHeardOfNoNodeYetSaysThatItDoesNotKnow) {
  constexpr auto* since = "etcd has told this node nothing since its agent was started at S";
  answers("node.list", R"({"items":[],"as_of":"S","unheard":true})");
  for (const auto* output : {"table", "json"}) {
    const auto nodes = weft({"node", "list", "-o", output});
    EXPECT_EQ(nodes.code, 3);
    EXPECT_THAT(nodes.err, HasSubstr(since));
  }
  EXPECT_THAT(weft({"node", "list"}).err, HasSubstr("\nthe cluster's nodes are not known yet\n"));

  answers("operator.status", R"({"acting":null,"items":[],"as_of":"S","unheard":true})");
  const auto operators = weft({"operator", "status"});
  EXPECT_EQ(operators.code, 3);
  EXPECT_EQ(operators.out, "who does the cluster's duties is not known yet\n");
  EXPECT_THAT(operators.err, AllOf(HasSubstr(since), Not(HasSubstr("no weft-operator"))));
  EXPECT_EQ(weft({"operator", "status", "-o", "json"}).code, 3);

  answers("encryption.status", R"({"devices":[],"items":[],"as_of":"S","unheard":true})");
  EXPECT_EQ(weft({"encryption", "status"}).code, 3);
  EXPECT_THAT(weft({"encryption", "status"}).err, Not(HasSubstr("no other nodes")));

  answers("ipam.list", R"({"cidrs":[{"pool":"default","cidr":"10.0.0.0/16","family":4,"block_length":24,"blocks":256,
    "taken":null,"here":null}],"pools":[],"allocations":[],"quarantine":[],"as_of":"S","unheard":true})");
  const auto ipam = weft({"ipam", "list"});
  EXPECT_EQ(ipam.code, 0) << "the addresses given here are known";
  EXPECT_THAT(ipam.out, HasSubstr("default  10.0.0.0/16  /24        256     -      -\n"));
  EXPECT_THAT(ipam.err, AllOf(HasSubstr(since), HasSubstr("which blocks this node has is not known yet\n")));
}

TEST_F(CommandsTest, OfALabThatIsNamedTheListHasNoOther) {
  EXPECT_EQ(run_bare({"lab", "list", "--name", "no-such-lab"}).code, 1);
  EXPECT_EQ(run_bare({"--lab", "no-such-lab", "lab", "list", "-o", "json"}).code, 1);
}

TEST_F(CommandsTest, WhatATerminalWouldObeyIsEscaped) {
  answers("identity.list",
          R"({"items":[{"id":300,"labels":["k8s:a=\u009b31m\u202e\u2066\u007f","k8s:b=\u00e4\u20ac\u0001"]}]})");
  const auto text = weft({"identity", "list", "-o", "json"}).out;
  EXPECT_THAT(text, HasSubstr(R"("k8s:a=\u009b31m\u202e\u2066\u007f","k8s:b=)"
                              "\xc3\xa4\xe2\x82\xac"
                              R"(\u0001")"));
  EXPECT_EQ(json::parse(text)[0]["labels"][0],
            "k8s:a=\xc2\x9b"
            "31m\xe2\x80\xae\xe2\x81\xa6\x7f");
  EXPECT_THAT(weft({"identity", "list"}).out, HasSubstr("k8s:a=?31m???"));
}

TEST_F(CommandsTest, ListsAsTablesAndArrays) {
  answers("endpoint.list", R"({"items":[{"id":2,"namespace":"shop","pod":"web-0","workload":"web","state":"ready",
    "addresses":["10.0.0.2","fd00::2"],"identity":256,"labels":["k8s:app=web"],"device":"weft2",
    "policy":{"ingress":true,"egress":false,"class":1},"socket_lb":{"covered":true,"detail":""}},
    {"id":3,"namespace":"shop","pod":"db-0","state":"ready","addresses":[],"identity":257,"labels":[],
    "policy":{"ingress":false,"egress":false},"socket_lb":{"covered":null,"detail":"no process yet"}}]})");
  EXPECT_EQ(weft({"endpoint", "list"}).out,
            "ID  POD         STATE  ADDRESSES         IDENTITY  POLICY   SOCKET LB\n"
            "2   shop/web-0  ready  10.0.0.2,fd00::2  256       ingress  yes\n"
            "3   shop/db-0   ready  -                 257       none     unknown (no process yet)\n");
  EXPECT_THAT(weft({"endpoint", "list", "-o", "wide"}).out, HasSubstr("k8s:app=web"));
  EXPECT_EQ(weft({"endpoint", "list", "-o", "name"}).out, "shop/web-0\nshop/db-0\n");
  const auto items = json::parse(weft({"endpoint", "list", "-o", "json"}).out);
  ASSERT_TRUE(items.is_array());
  EXPECT_EQ(items[0]["identity"], 256);

  answers("service.list", R"({"items":[{"id":1,"namespace":"shop","name":"web","type":"ClusterIP","port_name":"http",
    "address":"10.96.0.1","port":80,"protocol":"TCP","affinity_seconds":0,"active":7,
    "backends":[{"id":1,"address":"10.0.0.2","port":8080,"pod":"web-0","ready":true},
                {"id":2,"address":"10.0.0.3","port":8080,"pod":"web-1","ready":false}]},
    {"id":null,"namespace":"shop","name":"front","type":"LoadBalancer","kind":"LoadBalancer","address":"",
     "pending":"every IPv4 address of LoadBalancerPool a is taken","problem":"it waits","backends":[]}]})");
  EXPECT_EQ(weft({"service", "list"}).out,
            "ID  SERVICE     TYPE          PORT NAME  ADDRESS    PORT  PROTOCOL  READY  OPEN  PROBLEM\n"
            "1   shop/web    ClusterIP     http       10.96.0.1  80    TCP       1/2    7     -\n"
            "-   shop/front  LoadBalancer  -          <waiting>  -     -         0/0    -     it waits\n");
  answers("policy.list", R"({"items":[{"namespace":"shop","name":"deny","location":{"file":"p.yaml","line":3},
    "ingress_rules":0,"egress_rules":0,"types":["Ingress"],"selects":["shop/a","shop/b"]}]})");
  EXPECT_THAT(weft({"policy", "list"}).out, HasSubstr("shop/deny  Ingress  0        0       2     p.yaml:3"));
  answers("policy.status", R"({"items":[{"namespace":"shop","name":"web","version":"4","state":"waiting","selected":3,
    "enforcing":1,"behind":[{"node":"b","version":"3","reason":"it has not told yet"},{"node":"c","version":"",
    "reason":"the map is full"}]},{"namespace":"shop","name":"idle","version":"1","state":"no pods","selected":0,
    "enforcing":0,"behind":[]}]})");
  const auto told = weft({"policy", "status"});
  EXPECT_EQ(told.out,
            "POLICY     VERSION  NODES  STATE    BEHIND\n"
            "shop/web   4        1/3    waiting  b@3,c\n"
            "shop/idle  1        0/0    no pods  -\n");
  EXPECT_EQ(told.code, 1);
  EXPECT_THAT(weft({"policy", "status", "shop/web", "-o", "wide"}).out, HasSubstr("it has not told yet"));
  EXPECT_EQ(params("policy.status"), (json{{"namespace", "shop"}, {"name", "web"}}));
  answers("identity.list", R"({"items":[]})");
  EXPECT_EQ(weft({"identity", "list"}).err, "no identities\n");
  EXPECT_EQ(weft({"identity", "list", "-o", "json"}).out, "[]\n");
}

TEST_F(CommandsTest, EncryptionTellsOfKeysAndNodes) {
  const auto* well = R"({"encryption":"wireguard","implementation":"wireguard-go","strict":true,"node_to_node":false,
    "rotating":true,"waits_for":["b"],"devices":[{"name":"weft-wg1","generation":1,"public_key":"K=","port":51872,
    "ready":true,"restarts":2,"problem":""}],"items":[{"node":"b","state":"encrypted","generation":1,
    "endpoint":"192.0.2.2:51872","last_handshake":"2026-11-29T12:00:00Z","sent_bytes":1000,"received_bytes":2000,
    "problem":""},{"node":"c","state":"refused","generation":0,"endpoint":"","last_handshake":null,"sent_bytes":0,
    "received_bytes":0,"problem":""}]})";
  answers("encryption.status", well);
  const auto ran = weft({"encryption", "status"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out,
            "WireGuard by wireguard-go, strict: nothing in clear\n"
            "weft-wg1: key K= of generation 1, UDP port 51872, started again 2 times\n"
            "keys are changing; the earlier one is kept for b\n"
            "\n"
            "NODE  STATE      ENDPOINT         GENERATION  LAST HANDSHAKE        SENT    RECEIVED\n"
            "b     encrypted  192.0.2.2:51872  1           2026-11-29T12:00:00Z  1.0 KB  2.0 KB\n"
            "c     refused    -                0           -                     0 B     0 B\n");
  EXPECT_EQ(json::parse(weft({"encryption", "status", "-o", "json"}).out), json::parse(well));
  answers("encryption.status", R"({"devices":[],"items":[{"node":"b","problem":"no handshake with node b"}]})");
  const auto wrong = weft({"encryption", "status"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.out, HasSubstr("! no handshake with node b\n"));
  answers("encryption.status", R"({"rotating":true,"waits_for":["b"],"devices":[],"items":[{"node":"b",
    "waits":"node b makes no handshake","problem":"the change of keys does not end: node b makes no handshake",
    "remedy":"let UDP port 51871 pass"}]})");
  EXPECT_THAT(
      weft({"encryption", "status"}).out,
      AllOf(HasSubstr("the earlier one is kept for b\n  node b makes no handshake\n"),
            HasSubstr("! the change of keys does not end: node b makes no handshake\n  let UDP port 51871 pass\n")));
  answers("encryption.rotate", well);
  EXPECT_EQ(weft({"encryption", "rotate"}).code, 0);
}

TEST_F(CommandsTest, IpamShowsPoolsAllocationsAndQuarantine) {
  answers("ipam.list", R"({"pools":[{"name":"default","cidr":"10.0.0.0/24","family":4,"capacity":253,"allocated":1,
    "quarantined":1}],"allocations":[{"address":"10.0.0.2","owner":"c1/eth0","namespace":"shop","pod":"web-0"}],
    "quarantine":[{"address":"10.0.0.9","until":"2026-01-02T03:04:05Z"}]})");
  const auto ran = weft({"ipam", "list"});
  EXPECT_THAT(ran.out, HasSubstr("default  10.0.0.0/24  253       1          1"));
  EXPECT_THAT(ran.out, HasSubstr("10.0.0.2  shop/web-0  c1/eth0"));
  EXPECT_THAT(ran.out, HasSubstr("10.0.0.9     2026-01-02T03:04:05Z"));
  EXPECT_TRUE(json::parse(weft({"ipam", "list", "-o", "json"}).out).is_object());
}

TEST_F(CommandsTest, BpfMapsAndEntries) {
  answers("bpf.maps", R"({"items":[{"name":"weft_policy_v1","type":"hash","key_bytes":12,"value_bytes":8,"entries":25,
    "max_entries":100,"memory_bytes":8192}]})");
  EXPECT_THAT(weft({"bpf", "list"}).out, HasSubstr("weft_policy_v1  hash  25 (25%)"));
  answers("bpf.list", R"({"items":[{"address":"10.0.0.2","identity":256,"flags":["host"]},
                                   {"address":"10.0.0.3","identity":257,"extra":true}]})");
  EXPECT_EQ(weft({"bpf", "endpoints", "list", "--limit", "5"}).out,
            "ADDRESS   FLAGS  IDENTITY  EXTRA\n"
            "10.0.0.2  host   256       -\n"
            "10.0.0.3  -      257       yes\n");
  EXPECT_EQ(params("bpf.list"), (json{{"map", "endpoints"}, {"limit", 5}}));
  answers("bpf.stats", R"({"items":[{"name":"forwarded","value":3}]})");
  EXPECT_EQ(weft({"bpf", "stats"}).code, 0);
  EXPECT_EQ(params("bpf.stats"), json::object());
  weft({"bpf", "flows", "stats"});
  EXPECT_EQ(params("bpf.stats"), (json{{"map", "flows"}}));
  EXPECT_EQ(weft({"bpf", "nothing", "list"}).code, 2);
}

TEST_F(CommandsTest, ExplainVerdictFirstWhateverItIsCodeZero) {
  answers("policy.explain", R"({"items":[{"from":{"namespace":"shop","pod":"web-0","address":"10.0.0.2"},
    "to":{"namespace":"shop","pod":"db-0","address":"10.0.0.3"},"service":{"namespace":"shop","name":"db"},
    "port":6379,"protocol":"TCP","verdict":"deny","rule":{"text":"default deny","location":{"file":"p.yaml","line":3}},
    "text":["ingress of shop/db-0 is isolated by shop/db"],"change":["add a rule to shop/db"]}]})");
  const auto ran = weft({"policy", "explain", "--from", "shop/web", "--to", "svc/shop/db", "--port", "6379/TCP"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out,
            "DENIED  shop/web-0 (10.0.0.2) -> shop/db-0 (10.0.0.3) through svc/shop/db port 6379/TCP\n"
            "  ingress of shop/db-0 is isolated by shop/db\n"
            "  written in p.yaml:3\n"
            "to change that:\n"
            "  add a rule to shop/db\n");
  EXPECT_EQ(params("policy.explain"), (json{{"from", "shop/web"}, {"to", "svc/shop/db"}, {"port", "6379/TCP"}}));
  EXPECT_TRUE(
      json::parse(weft({"policy", "explain", "--from", "a", "--to", "b", "--port", "1", "-o", "json"}).out).is_array());
  refuses("policy.explain", ErrorCode::not_found, "there is no pod \"x\"");
  const auto refused = weft({"policy", "explain", "--from", "x", "--to", "b", "--port", "1"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(refused.err, "weft: there is no pod \"x\"\n  a hint\n");
}

// The agent is the judge of these words.
TEST_F(CommandsTest, WhatTheAgentFindsInvalidInTheWordsIsWrongUsage) {
  refuses("policy.explain", ErrorCode::invalid, "port \"80/NOPE\": bad");
  refuses("bpf.list", ErrorCode::invalid, "params.limit: bad");
  const auto ran = weft({"policy", "explain", "--from", "x", "--to", "b", "--port", "80/NOPE"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.err, "weft: port \"80/NOPE\": bad\n  a hint\n");
  EXPECT_EQ(weft({"bpf", "flows", "list", "--limit", "9"}).code, 2);
  refuses_stream("observe", ErrorCode::invalid, "filters.port: bad");
  EXPECT_EQ(weft({"observe", "--port", "x"}).code, 2);
  refuses_stream("observe", ErrorCode::internal, "broken");
  EXPECT_EQ(weft({"observe"}).code, 1);
  // No words of the command line: a document.
  refuses("delete", ErrorCode::invalid, "a bad document");
  EXPECT_EQ(weft({"delete", "-f", "-"}).code, 1);
}

json flow(const char* verdict) {
  return {{"time", "2026-01-02T12:00:01.123456789Z"},
          {"type", "denied"},
          {"verdict", verdict},
          {"drop_reason", "policy-denied"},
          {"protocol", "TCP"},
          {"source", {{"namespace", "shop"}, {"pod", "web-0"}, {"port", 34567}}},
          {"destination", {{"namespace", "shop"}, {"pod", "db-0"}, {"port", 6379}}},
          {"deciding", "ingress"},
          {"rule", {{"ingress", {{"text", "default deny ingress by shop/db"}}}}}};
}

TEST_F(CommandsTest, ObserveSendsFiltersAndPrintsFlows) {
  streams("observe", {flow("DROPPED"), {{"lost", 3}}});
  const auto ran = weft({"observe", "--pod", "shop/web-0", "--pod", "db", "--from-namespace", "shop", "-l", "app=web",
                         "--drop-reason", "policy-denied", "--since", "5m", "--last", "7"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out,
            "12:00:01.123 shop/web-0:34567 -> shop/db-0:6379 TCP  DROPPED policy-denied  "
            "default deny ingress by shop/db\n"
            "             ... 3 events lost\n");
  EXPECT_EQ(params("observe"), json::parse(R"({"follow":false,"last":7,"since":"5m","filters":{
    "pod":["shop/web-0","db"],"from_namespace":["shop"],"label":["app=web"],"drop_reason":["policy-denied"]}})"));

  EXPECT_THAT(weft({"observe", "-o", "table"}).out, StartsWith("TIME          SOURCE            DESTINATION"));
  EXPECT_THAT(weft({"observe", "-f", "-o", "table"}).out, HasSubstr("LOST"));
  EXPECT_EQ(params("observe"), (json{{"follow", true}}));
  std::istringstream lines(weft({"observe", "-o", "json"}).out);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(json::parse(line), flow("DROPPED"));
  std::getline(lines, line);
  EXPECT_EQ(json::parse(line)["lost"], 3);
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) words.push_back(line.substr(0, line.find('\t')));
  return words;
}

TEST_F(CommandsTest, CompletionKnowsTheTreeAndTheNames) {
  using ::testing::Contains;
  using ::testing::ElementsAre;
  using ::testing::IsEmpty;
  answers("get", R"({"items":[{"metadata":{"namespace":"shop","name":"web-0"}},
                              {"metadata":{"namespace":"shop","name":"db-0"}}]})");
  auto complete = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"__complete", "--", "--socket", socket()});
    return words_of(run_bare(words).out);
  };
  EXPECT_THAT(complete({"sta"}), ElementsAre("status"));
  EXPECT_THAT(complete({""}), Contains("observe"));
  EXPECT_THAT(complete({""}), Contains("lab"));
  EXPECT_THAT(complete({""}), Not(Contains("__complete")));
  EXPECT_THAT(complete({"policy", ""}), ElementsAre("list", "explain", "status"));
  EXPECT_THAT(complete({"policy", "explain", "--f"}), ElementsAre("--from"));
  EXPECT_THAT(complete({"status", "--so"}), ElementsAre("--socket"));
  EXPECT_THAT(complete({"status", "-o", ""}), ElementsAre("table", "wide", "json", "yaml"));
  EXPECT_THAT(complete({"status", "--output=j"}), ElementsAre("--output=json"));
  EXPECT_THAT(complete({"status", "--output", "=", "j"}), ElementsAre("json"));
  EXPECT_THAT(complete({"status", "--output", "="}), ElementsAre("table", "wide", "json", "yaml"));
  EXPECT_THAT(complete({"lab", "up", "--tunnel", ""}), ElementsAre("none", "vxlan", "geneve", "ipip"));
  EXPECT_THAT(complete({"lab", "up", "--encryption", "wireguard-"}),
              ElementsAre("wireguard-strict", "wireguard-nodes"));
  EXPECT_THAT(complete({"lab", "list", "-o", ""}), ElementsAre("table", "json"));
  EXPECT_THAT(complete({"lab", "net", "partition", "--from", ""}), ElementsAre("all", "etcd"));
  EXPECT_THAT(complete({"lab", "kill", "--name", "no-such-lab", ""}), IsEmpty());
  EXPECT_THAT(complete({"bpf", "pa"}), ElementsAre("path-mtus"));
  answers("node.list", R"({"items":[{"name":"w1"},{"name":"w2"}]})");
  EXPECT_THAT(complete({"node", "delete", ""}), ElementsAre("w1", "w2"));
  EXPECT_THAT(complete({"node", "delete", "w1", ""}), IsEmpty());
  EXPECT_THAT(complete({"observe", "--pod", "shop/w"}), ElementsAre("shop/web-0"));
  EXPECT_THAT(complete({"observe", "--verdict", "d"}), ElementsAre("dropped"));
  EXPECT_THAT(complete({"get", "po"}), ElementsAre("podaddresspools", "pods"));
  EXPECT_THAT(complete({"get", "e"}), ElementsAre("egressgateways", "endpointslices"));
  EXPECT_THAT(complete({"egress", ""}), ElementsAre("list"));
  EXPECT_THAT(complete({"get", "l"}), ElementsAre("l2announcements", "loadbalancerpools"));
  EXPECT_THAT(complete({"get", "pods", ""}), ElementsAre("shop/web-0", "shop/db-0"));
  EXPECT_THAT(complete({"policy", "explain", "--to", "svc/shop/w"}), ElementsAre("svc/shop/web-0"));
  EXPECT_THAT(complete({"apply", "-f", ""}), ElementsAre(":files"));
  EXPECT_THAT(complete({"help", "bpf", "fl"}), ElementsAre("flows"));
  EXPECT_THAT(complete({"nonsense", ""}), IsEmpty());
  EXPECT_EQ(run_bare({"__complete"}).code, 0);
  for (const auto* shell : {"bash", "zsh", "fish"})
    EXPECT_THAT(run_bare({"completion", shell}).out, HasSubstr("weft __complete"));
}

TEST_F(CommandsTest, EgressListSaysWhoIsTheGatewayAndWhyOthersAreNot) {
  answers("egress.list", R"({"items":[
    {"name":"partner","destinations":["192.0.2.0/24"],"excluded":["192.0.2.7/32"],"failover":"Next","problem":"",
     "pods":[{"namespace":"shop","pod":"web-0","node":"w1"}],
     "gateways":[{"node":"w1","state":"unused","addresses":[],"why":"it is away"},
                 {"node":"w2","state":"active","addresses":["198.51.100.9","2001:db8::9"],"why":""},
                 {"node":"w3","state":"standby","addresses":["198.51.100.3"],"why":""}]},
    {"name":"rest","destinations":["0.0.0.0/0"],"excluded":[],"pods":[],"gateways":[],"problem":"no node is named"}]})");
  EXPECT_EQ(weft({"egress", "list"}).out,
            "NAME     PODS  DESTINATIONS  ACTIVE                         STANDBY  WHY NOT\n"
            "partner  1     192.0.2.0/24  w2 (198.51.100.9,2001:db8::9)  w3       w1: it is away\n"
            "rest     0     0.0.0.0/0     -                              -        no node is named\n");
  EXPECT_THAT(weft({"egress", "list", "-o", "wide"}).out, HasSubstr("shop/web-0@w1"));
  EXPECT_EQ(json::parse(weft({"egress", "list", "-o", "json"}).out)[0]["name"], "partner");
  answers("egress.list", R"({"items":[]})");
  EXPECT_THAT(weft({"egress", "list"}).err, HasSubstr("no egress gateways"));
}

TEST(Output, TablesAlignAlsoBeyondAscii) {
  std::ostringstream out;
  std::ostringstream odd;
  print_table(odd, {"A"}, {{"zone\x1b[2J\nnode9 alive"}});
  EXPECT_EQ(odd.str(), "A\nzone?[2J?node9 alive\n") << "what others told does not move the cursor";
  print_table(out, {"A", "LONG HEADER", "C"}, {{"ä", "x", "tail   "}, {"bbb", "", ""}});
  EXPECT_EQ(out.str(), "A    LONG HEADER  C\nä    x            tail\nbbb\n");
  EXPECT_EQ(duration_text(5), "5s");
  EXPECT_EQ(duration_text(3600 * 27), "1d03h");
}

constexpr auto operators = R"({"acting":{"name":"op-1","kind":"operator"},"stands_in":true,"items":[
  {"name":"op-1","run":"a1","acts":true,"host":"h1","version":"0.1.0","started":"2026-01-02T03:04:05Z",
   "last_round":"2026-01-02T03:05:05Z","rounds":9,"collected":{"nodes":1,"endpoints":1,"blocks":2,"users":1,"identities":4},
   "services_served":3,"services_waiting":0,"problem":""},
  {"name":"op-2","run":"b2","acts":false,"host":"h2","version":"0.1.0","started":"","last_round":"","rounds":0,
   "collected":{"nodes":0,"endpoints":0,"blocks":0,"users":0,"identities":0},"services_served":0,"services_waiting":0,
   "problem":"etcd is away"}]})";

TEST_F(CommandsTest, OperatorStatusShowsWhoActsAndWhatWasDone) {
  answers("operator.status", operators);
  const auto table = weft({"operator", "status"}).out;
  EXPECT_THAT(table, StartsWith("operator op-1 does the cluster's duties\n\n"));
  EXPECT_THAT(table, ::testing::ContainsRegex("op-1 +acts +h1 +9 +2026-01-02T03:05:05Z +1 +2 +4 +3 +0 +-"));
  EXPECT_THAT(table, ::testing::ContainsRegex("op-2 +stands by +h2 .*etcd is away"));
  EXPECT_EQ(weft({"operator", "status", "-o", "name"}).out, "op-1\nop-2\n");
  EXPECT_EQ(json::parse(weft({"operator", "status", "-o", "json"}).out), json::parse(operators));
  answers("operator.status", R"({"acting":{"name":"node2","kind":"node"},"stands_in":true,"items":[]})");
  const auto stands_in = weft({"operator", "status"});
  EXPECT_EQ(stands_in.code, 0);
  EXPECT_EQ(stands_in.out, "node node2 does the cluster's duties\n");
  EXPECT_THAT(stands_in.err, HasSubstr("no weft-operator is there"));
  answers("operator.status", R"({"acting":null,"stands_in":false,"items":[]})");
  EXPECT_THAT(weft({"operator", "status"}).out, StartsWith("nobody does"));
}

}  // namespace
}  // namespace weft::cli
