// What a cluster brings to the publisher comes as differences: whatever the order, the maps end up as if all of it had
// been compiled at once.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "agent/node_testing.h"
#include "agent/publisher.h"
#include "datapath/testing.h"

namespace weft::agent {
namespace {

constexpr auto config_text =
    "node: here\nstore: etcd\netcd_endpoints: [\"http://127.0.0.1:2379\"]\npod_cidrs: [10.244.0.0/16]\n"
    "service_cidrs: [10.96.0.0/16]\n";

class PublisherCluster : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(config) << config.error().message;
    open();
    node.uplinks[1] = {"eth0", 1500, IpAddress::v4(0xc0000201), {}, {}};
    node.addresses = {IpAddress::v4(0xc0000201)};
    for (const auto* name : {"b", "c", "d"}) reach(name, ++number);
    for (cluster::IdentityNumber id = 300; id < 304; ++id) learn(id);
  }
  void open() {
    tables = maps.open().value();
    publisher = Publisher::open({*config, store, *objects, *tables}, 0, problems).value();
    objects->on_change([this](const ObjectChange& change) { publisher->object_changed(change); });
    publisher->set_node(node);
    publisher->set_records(records);
    publisher->set_may_announce([](const weft_l2_key&) { return true; });
    publisher->set_others(others);
    publisher->set_cluster({.clustered = true});
  }
  void learn(cluster::IdentityNumber id) {
    publisher->compiler().learn({{id, control::identity_labels("default", {{"app", fmt::format("a{}", id % 2)},
                                                                           {"set", fmt::format("s{}", id)}})}},
                                {}, false);
  }
  void reach(const std::string& name, std::uint32_t as) {
    view.plan.reach[name].number = as;
    view.plan.nodes[as].way = WEFT_WAY_VXLAN;
  }
  // As ClusterLink tells it.
  void tell(const std::string& from, const cluster::SharedEndpoints& pods) {
    const auto revision = others.identities_revision();
    OthersChange change;
    const auto difference = others.replace(from, pods);
    change.addresses.insert(difference.left.begin(), difference.left.end());
    for (const auto& name : difference.gone) change.pods.insert({name.namespace_, name.name});
    for (const auto& [name, pod] : difference.set) {
      change.pods.insert({name.namespace_, name.name});
      change.addresses.insert(pod.addresses.begin(), pod.addresses.end());
    }
    change.peers = revision != others.identities_revision();
    publisher->others_changed(std::move(change));
  }
  void apply(const std::string& yaml) {
    auto outcome = model::parse_manifests("t.yaml", yaml);
    ASSERT_TRUE(outcome.problems.empty()) << outcome.problems.front().to_string();
    for (const auto& document : outcome.documents)
      if (const auto* service = std::get_if<model::Service>(&document.object)) {
        const auto assigned = publisher->services().assign(*service);
        ASSERT_TRUE(assigned) << assigned.error().message;
      }
    ASSERT_TRUE(objects->apply(outcome.documents));
  }
  void attach(const std::string& name, const IpAddress& address) {
    const auto id = 100 + static_cast<std::uint32_t>(records.size());
    const auto record = testing::ready_record({"default", name}, id, address);
    records[record.key] = record;
  }
  [[nodiscard]] datapath::Rows<weft_addr, weft_remote> present() const {
    return maps.rows<weft_addr, weft_remote>("weft_remote_v1");
  }
  // Said plainly, from all there is.
  [[nodiscard]] datapath::Rows<weft_addr, weft_remote> expected() const {
    datapath::Rows<weft_addr, weft_remote> rows;
    const auto& cidrs = publisher->compiler().cidrs();
    const auto add = [&](const IpAddress& address, std::uint32_t identity, std::uint32_t at, std::uint32_t flags) {
      for (const auto& [key, record] : records)
        if (record.addresses.front() == address) return;
      if (!node_has(address))
        rows.try_emplace(datapath::to_abi(address), weft_remote{identity, cidrs.narrowest(address), at, flags});
    };
    for (const auto& [address, owner] : view.plan.addresses)
      add(address, WEFT_IDENTITY_REMOTE_NODE, owner.number, WEFT_REMOTE_NODE);
    std::map<std::pair<cluster::PodName, std::string>, cluster::SharedEndpoint> all;
    others.each([&](const cluster::ToldPod& pod) { all[{pod.name, pod.node}] = pod.told; });
    for (const auto& [who, pod] : all)
      if (const auto reach = view.plan.reach.find(who.second); !pod.host_network && reach != view.plan.reach.end())
        for (const auto& address : pod.addresses) add(address, pod.identity, reach->second.number, 0);
    return rows;
  }
  [[nodiscard]] bool node_has(const IpAddress& address) const { return node.addresses.contains(address); }
  Result<void> publish() {
    return publisher->others_need_compile() ? publisher->publish() : publisher->publish_others();
  }
  // Addresses that the Service `web` sends new flows to.
  [[nodiscard]] std::set<IpAddress> backends() const {
    std::set<IpAddress> found;
    for (const auto* port : publisher->services().ports_of({"default", "web"}))
      for (const auto& backend : port->backends)
        if (backend.internal) found.insert(backend.address);
    return found;
  }

  // Said plainly: who it selects, each name once, and not one that is here.
  [[nodiscard]] std::set<IpAddress> expected_backends() const {
    const auto service = objects->read_as<model::Service>({model::Kind::service, {"default", "web"}});
    const auto wanted = (*service)->selector->at("app");
    std::set<cluster::PodName> seen;
    for (const auto& [key, record] : records) seen.insert({"default", record.pod});
    std::map<std::pair<cluster::PodName, std::string>, cluster::SharedEndpoint> all;
    others.each([&](const cluster::ToldPod& each) { all[{each.name, each.node}] = each.told; });
    std::set<IpAddress> selected;
    for (const auto& [who, told] : all)
      if (seen.insert(who.first).second && view.plan.reach.contains(who.second) &&
          wanted == fmt::format("a{}", told.identity % 2))
        selected.insert(told.addresses.front());
    return selected;
  }

  Result<Config> config = parse_config("test", config_text);
  datapath::testing::FakeMaps maps;
  store::Store store = *store::Store::open(":memory:");
  std::vector<std::string> problems;
  Result<Objects> objects = Objects::load(store, problems);
  Node node;
  Publisher::Records records;
  cluster::PodTable others{"here"};
  ClusterView view{.clustered = true, .known = true};
  std::uint32_t number = 0;
  std::unique_ptr<datapath::Tables> tables;
  std::unique_ptr<Publisher> publisher;
};

cluster::SharedEndpoint pod(unsigned last, cluster::IdentityNumber identity) {
  return {.addresses = {IpAddress::v4(0x0af40200 + last)}, .identity = identity};
}

constexpr auto web = R"(
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: a0}, clusterIP: 10.96.0.1, ports: [{port: 80}]}
)";

TEST_F(PublisherCluster, APodElsewhereIsARowAndNothingElse) {
  publisher->set_cluster(view);
  OthersChange all;
  all.all = true;
  publisher->others_changed(all);
  cluster::SharedEndpoints pods;
  for (unsigned n = 10; n < 60; ++n) pods[{"default", fmt::format("p{}", n)}] = pod(n, 300 + n % 4);
  tell("b", pods);
  ASSERT_TRUE(publish());
  EXPECT_EQ(present().size(), 50U);
  const auto epoch = tables->epoch();
  pods[{"default", "another"}] = pod(99, 300);
  const auto writes = maps.writes();
  tell("b", pods);
  EXPECT_FALSE(publisher->others_need_compile());
  ASSERT_TRUE(publish());
  EXPECT_EQ(maps.writes() - writes, 1U);
  EXPECT_EQ(tables->epoch(), epoch);
  pods.erase({"default", "another"});
  tell("b", pods);
  ASSERT_TRUE(publish());
  EXPECT_EQ(tables->epoch(), epoch + 1) << "flows to it are decided again";
  // A local attachment costs its own rows, however many there are elsewhere.
  attach("own", IpAddress::v4(0x0af40102));
  const auto before = maps.writes();
  ASSERT_TRUE(publisher->publish());
  EXPECT_LT(maps.writes() - before, 6U);
  EXPECT_TRUE(datapath::testing::same(present(), expected()));
}

TEST_F(PublisherCluster, UntilTheClusterIsKnownWholeTheMapsKeepWhatTheyHold) {
  publisher->set_cluster(view);
  publisher->others_changed({.all = true, .peers = false, .addresses = {}, .pods = {}});
  tell("b", {{{"default", "x"}, pod(10, 300)}, {{"default", "y"}, pod(11, 300)}});
  ASSERT_TRUE(publish());
  others = cluster::PodTable("here");
  open();
  attach("own", IpAddress::v4(0x0af4020b));  // the address y had
  ASSERT_TRUE(publisher->publish());
  EXPECT_EQ(present().size(), 1U) << "x stays, y's address is this node's";
  for (cluster::IdentityNumber id = 300; id < 304; ++id) learn(id);
  tell("b", {{{"default", "z"}, pod(12, 301)}});
  publisher->set_cluster(view);
  publisher->others_changed({.all = true, .peers = false, .addresses = {}, .pods = {}});
  ASSERT_TRUE(publish());
  EXPECT_TRUE(datapath::testing::same(present(), expected()));
  EXPECT_EQ(present().size(), 1U);
}

// Egress gateways follow nodes and identities: pods elsewhere come and go beside them, and a start without etcd keeps
// them, by the device that encrypts now.
TEST_F(PublisherCluster, TheDatapathKnowsWhichTunnelsThereAre) {
  const auto ways = [&](weft_way way) {
    for (auto& [index, row] : view.plan.nodes) row.way = static_cast<std::uint8_t>(way);
    publisher->set_cluster(view);
    EXPECT_TRUE(publisher->publish());
    return tables->config().flags & (WEFT_CONFIG_TUNNEL | WEFT_CONFIG_VXLAN | WEFT_CONFIG_GENEVE);
  };
  EXPECT_EQ(ways(WEFT_WAY_VXLAN), std::uint32_t{WEFT_CONFIG_TUNNEL | WEFT_CONFIG_VXLAN});
  EXPECT_EQ(ways(WEFT_WAY_GENEVE), std::uint32_t{WEFT_CONFIG_TUNNEL | WEFT_CONFIG_GENEVE});
  EXPECT_EQ(ways(WEFT_WAY_WIREGUARD), std::uint32_t{WEFT_CONFIG_TUNNEL});
  EXPECT_EQ(ways(WEFT_WAY_DIRECT), 0U);
}

TEST_F(PublisherCluster, TheDatapathKnowsWhatTheNodeSaysToRoutersAndNodes) {
  publisher->set_cluster(view);
  ASSERT_TRUE(publisher->publish());
  EXPECT_EQ(tables->config().flags & WEFT_CONFIG_BGP, 0U);
  EXPECT_EQ(tables->config().wireguard_port, 0);
  const auto epoch = tables->epoch();
  apply(
      "apiVersion: weft.io/v1alpha1\nkind: BGPPeering\nmetadata: {name: a}\n"
      "spec: {localAS: 1, peers: [{address: 192.0.2.1, peerAS: 2}]}\n");
  ASSERT_TRUE(publisher->publish());
  EXPECT_NE(tables->config().flags & WEFT_CONFIG_BGP, 0U);
  EXPECT_GT(tables->epoch(), epoch) << "pods' connections to routers are decided again";
  config->encryption = Config::Encryption::wireguard;
  config->wireguard_port = 4000;
  ASSERT_TRUE(publisher->publish());
  EXPECT_EQ(tables->config().wireguard_port, htons(4000));
  EXPECT_EQ(tables->config().wireguard_next_port, htons(4001));
}

TEST_F(PublisherCluster, EgressGatewaysAndEncryptedWaysStayWhilePodsElsewhereChange) {
  view.nodes["b"] = {.labels = {{"role", "gateway"}}, .underlay = {IpAddress::v4(0xc0000202)}, .alive = true};
  view.plan.reach["b"].way = WEFT_WAY_VXLAN;
  auto& way = view.plan.nodes[view.plan.reach["c"].number];
  way.way = WEFT_WAY_WIREGUARD;
  way.ifindex = 7;
  view.wireguard = {7};
  publisher->set_cluster(view);
  publisher->others_changed({.all = true, .peers = false, .addresses = {}, .pods = {}});
  apply(
      "apiVersion: weft.io/v1alpha1\nkind: EgressGateway\nmetadata: {name: e}\nspec:\n"
      "  selectors: [{podSelector: {matchLabels: {set: s300}}}]\n  destinationCIDRs: [0.0.0.0/0]\n"
      "  gateways: [{nodeSelector: {matchLabels: {role: gateway}}}]\n");
  tell("b", {{{"default", "x"}, pod(10, 300)}});
  ASSERT_TRUE(publisher->publish());
  const auto egress = maps.all().egress;
  ASSERT_EQ(egress.size(), 1U);
  EXPECT_EQ(egress.begin()->second.node[0], view.plan.reach["b"].number);
  tell("b", {{{"default", "x"}, pod(10, 300)}, {{"default", "y"}, pod(11, 300)}});
  EXPECT_FALSE(publisher->others_need_compile());
  ASSERT_TRUE(publish());
  EXPECT_EQ(present().size(), 2U);
  EXPECT_TRUE(datapath::testing::same(maps.all().egress, egress));
  others = cluster::PodTable("here");
  open();
  publisher->set_cluster({.clustered = true, .wireguard = {9}});
  ASSERT_TRUE(publisher->publish());
  EXPECT_EQ(present().size(), 2U);
  EXPECT_TRUE(datapath::testing::same(maps.all().egress, egress));
  EXPECT_EQ(maps.all().nodes.at(view.plan.reach["c"].number).ifindex, 9U);
}

// An agent that starts without the news goes on with those that stood behind a Service elsewhere, until it hears.
TEST_F(PublisherCluster, WhoStandsBehindAServiceElsewhereStaysUntilTheClusterIsKnown) {
  publisher->set_cluster(view);
  publisher->others_changed({.all = true, .peers = false, .addresses = {}, .pods = {}});
  tell("b", {{{"default", "x"}, pod(10, 300)}, {{"default", "y"}, pod(11, 300)}});
  apply(web);
  ASSERT_TRUE(publish());
  ASSERT_EQ(backends(), (std::set{IpAddress::v4(0x0af4020a), IpAddress::v4(0x0af4020b)}));
  others = cluster::PodTable("here");
  open();
  apply(web);
  ASSERT_TRUE(publisher->publish());
  EXPECT_EQ(backends(), (std::set{IpAddress::v4(0x0af4020a), IpAddress::v4(0x0af4020b)}));
  for (cluster::IdentityNumber id = 300; id < 304; ++id) learn(id);
  tell("b", {{{"default", "y"}, pod(11, 300)}, {{"default", "z"}, pod(12, 300)}});
  publisher->set_cluster(view);
  publisher->others_changed({.all = true, .peers = false, .addresses = {}, .pods = {}});
  ASSERT_TRUE(publish());
  EXPECT_EQ(backends(), (std::set{IpAddress::v4(0x0af4020b), IpAddress::v4(0x0af4020c)}));
}

TEST_F(PublisherCluster, AServiceHasThePodsElsewhereThatItSelectsFromThenOn) {
  publisher->set_cluster(view);
  publisher->others_changed({.all = true, .peers = false, .addresses = {}, .pods = {}});
  tell("b", {{{"default", "x"}, pod(10, 300)}, {{"default", "y"}, pod(11, 301)}});
  ASSERT_TRUE(publish());
  apply(web);
  ASSERT_TRUE(publisher->publish_services());
  ASSERT_EQ(publisher->services().ports_of({"default", "web"}).size(), 1U);
  EXPECT_EQ(publisher->services().ports_of({"default", "web"}).front()->backends.size(), 1U);
  EXPECT_EQ(backends(), (std::set{IpAddress::v4(0x0af4020a)}));
  tell("c", {{{"default", "z"}, pod(12, 302)}});
  ASSERT_TRUE(publish());
  EXPECT_EQ(backends(), (std::set{IpAddress::v4(0x0af4020a), IpAddress::v4(0x0af4020c)}));
  ASSERT_TRUE(objects->remove({{model::Kind::service, {"default", "web"}}}));
  ASSERT_TRUE(publisher->publish_services());
  EXPECT_TRUE(backends().empty());
}

// Random news, in any order and with faults, end as if all had been compiled at once.
TEST_F(PublisherCluster, PodsOfAMachineThatIsGoneGetNoNewFlowsOfServices) {
  const auto at_b = IpAddress::v4(0x0af4020a);
  const auto at_c = IpAddress::v4(0x0af4020b);
  const auto gone = [&](bool is) {
    view.nodes["b"].gone = is;
    publisher->set_cluster(view);
    return static_cast<bool>(publish());
  };
  publisher->set_cluster(view);
  publisher->others_changed({.all = true, .peers = false, .addresses = {}, .pods = {}});
  apply(web);
  tell("b", {{{"default", "x"}, pod(10, 300)}});
  tell("c", {{{"default", "y"}, pod(11, 300)}});
  ASSERT_TRUE(publish());
  ASSERT_EQ(backends(), (std::set{at_b, at_c}));
  ASSERT_TRUE(gone(true));
  EXPECT_EQ(backends(), (std::set{at_c}));
  EXPECT_TRUE(present().contains(datapath::to_abi(at_b))) << "packets to the pod itself go where they went";
  ASSERT_TRUE(gone(false));
  EXPECT_EQ(backends(), (std::set{at_b, at_c}));
}

TEST_F(PublisherCluster, RandomNewsEndAsIfAllWereCompiledAtOnce) {
  std::mt19937 random(11);
  const auto pick = [&](unsigned limit) { return static_cast<unsigned>(random() % limit); };
  publisher->set_cluster(view);
  publisher->others_changed({.all = true, .peers = false, .addresses = {}, .pods = {}});
  apply(web);
  std::size_t selected_ever = 0;
  for (int round = 0; round < 600; ++round) {
    bool compile = false;
    switch (pick(8)) {
      case 0: {  // a node comes, goes, or has another number and address
        const std::string name(1, static_cast<char>('b' + pick(3)));
        if (const auto known = view.plan.reach.find(name); known != view.plan.reach.end()) {
          view.plan.nodes.erase(known->second.number);
          std::erase_if(view.plan.addresses, [&](const auto& entry) { return entry.second.node == name; });
          view.plan.reach.erase(known);
        } else {
          reach(name, ++number);
          view.plan.addresses[IpAddress::v4(0x0af40200 + pick(20))] = {name, number};
        }
        publisher->set_cluster(view);
        compile = true;
        break;
      }
      case 1:  // a pod here takes an address that another may have, or goes
        if (records.empty() || pick(2) == 0)
          attach(fmt::format("p{}", pick(6)), IpAddress::v4(0x0af40200 + pick(20)));
        else
          records.erase(records.begin());
        compile = true;
        break;
      case 2:  // CIDRs get and lose identities of their own
        apply(fmt::format(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: default}}\n"
            "spec: {{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: 10.244.2.{}/30}}}}]}}]}}\n",
            pick(4) * 4));
        compile = true;
        break;
      case 3:  // the Service selects others
        apply(
            fmt::format("apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: default}}\n"
                        "spec: {{selector: {{app: a{}}}, clusterIP: 10.96.0.1, ports: [{{port: 80}}]}}\n",
                        pick(2)));
        ASSERT_TRUE(publisher->publish_services());
        break;
      default: {
        cluster::SharedEndpoints pods;
        for (auto left = pick(5); left > 0; --left) {
          auto& told = pods[{"default", fmt::format("p{}", pick(8))}] = pod(pick(20), 300 + pick(4));
          told.host_network = pick(6) == 0;
        }
        tell(std::string(1, static_cast<char>('b' + pick(3))), pods);
      }
    }
    const bool faulty = pick(4) == 0;
    maps.fails = [&](std::uint64_t, const std::string&) { return faulty && pick(4) == 0; };
    const auto published = compile ? publisher->publish() : publish();
    maps.heal();
    if (!published) {
      ASSERT_EQ(published.error().code, ErrorCode::io) << published.error().message;
      // What is owed is written when it is due, or with the next change.
      const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (!tables->retry()) ASSERT_LT(std::chrono::steady_clock::now(), end);
    }
    ASSERT_TRUE(datapath::testing::same(present(), expected())) << "round " << round;
    const auto selected = expected_backends();
    selected_ever += selected.size();
    ASSERT_EQ(backends(), selected) << "round " << round;
  }
  EXPECT_GT(selected_ever, 0U);
}

}  // namespace
}  // namespace weft::agent
