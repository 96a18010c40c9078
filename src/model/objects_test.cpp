#include "model/objects.h"

#include <gtest/gtest.h>

#include "model/expand.h"
#include "model/names.h"
#include "model/reader.h"

namespace weft::model {
namespace {

TEST(Kind, WordsInAnyCase) {
  for (const char* word : {"ns", "Namespace", "NAMESPACES"})
    EXPECT_EQ(parse_kind(word).value(), Kind::namespace_) << word;
  for (const char* word : {"po", "pod", "Pods"}) EXPECT_EQ(parse_kind(word).value(), Kind::pod) << word;
  for (const char* word : {"deploy", "Deployment", "deployments"})
    EXPECT_EQ(parse_kind(word).value(), Kind::deployment) << word;
  for (const char* word : {"svc", "service", "Services"}) EXPECT_EQ(parse_kind(word).value(), Kind::service) << word;
  for (const char* word : {"endpointslice", "EndpointSlices"})
    EXPECT_EQ(parse_kind(word).value(), Kind::endpoint_slice) << word;
  for (const char* word : {"netpol", "networkpolicies", "NetworkPolicy"})
    EXPECT_EQ(parse_kind(word).value(), Kind::network_policy) << word;
  for (const char* word : {"lbpool", "LoadBalancerPools", "loadbalancerpool"})
    EXPECT_EQ(parse_kind(word).value(), Kind::load_balancer_pool) << word;
  for (const char* word : {"l2ann", "L2Announcement", "l2announcements"})
    EXPECT_EQ(parse_kind(word).value(), Kind::l2_announcement) << word;
  for (const char* word : {"bgpp", "BGPPeering", "bgppeerings"})
    EXPECT_EQ(parse_kind(word).value(), Kind::bgp_peering) << word;
  for (const char* word : {"egw", "EgressGateway", "egressgateways"})
    EXPECT_EQ(parse_kind(word).value(), Kind::egress_gateway) << word;
  EXPECT_FALSE(parse_kind("configmap"));
  EXPECT_FALSE(parse_kind(""));
}

TEST(Kind, NameIsReadBack) {
  for (const Kind kind :
       {Kind::namespace_, Kind::pod, Kind::deployment, Kind::service, Kind::endpoint_slice, Kind::network_policy,
        Kind::load_balancer_pool, Kind::l2_announcement, Kind::bgp_peering, Kind::egress_gateway})
    EXPECT_EQ(parse_kind(to_string(kind)).value(), kind);
}

TEST(Kind, SomeLieInNoNamespace) {
  for (const Kind kind :
       {Kind::namespace_, Kind::load_balancer_pool, Kind::l2_announcement, Kind::bgp_peering, Kind::egress_gateway})
    EXPECT_FALSE(has_namespace(kind));
  for (const Kind kind : {Kind::pod, Kind::deployment, Kind::service, Kind::endpoint_slice, Kind::network_policy})
    EXPECT_TRUE(has_namespace(kind));
}

TEST(Balancing, WordsAreReadBack) {
  for (const char* word : {"random", "round-robin", "least-connections", "maglev", "source-hash"})
    EXPECT_EQ(to_string(parse_algorithm(word).value()), word);
  for (const char* word : {"snat", "dsr-ipip", "dsr-geneve", "dsr-option"})
    EXPECT_EQ(to_string(parse_forwarding(word).value()), word);
  const auto algorithm = parse_algorithm("Random");
  ASSERT_FALSE(algorithm);
  EXPECT_EQ(algorithm.error().message, "\"Random\" is no algorithm Weft knows");
  EXPECT_EQ(algorithm.error().hint, "use one of random, round-robin, least-connections, maglev, source-hash");
  EXPECT_FALSE(parse_forwarding("dsr"));
}

TEST(Names, DnsLabels) {
  for (const char* good : {"a", "web-1", "1a", "9"}) EXPECT_EQ(check_dns_label(good), "") << good;
  for (const char* bad : {"", "-a", "a-", "A", "a.b", "a_b", "ä"}) EXPECT_NE(check_dns_label(bad), "") << bad;
  EXPECT_EQ(check_dns_label(std::string(63, 'a')), "");
  EXPECT_NE(check_dns_label(std::string(64, 'a')), "");
  EXPECT_NE(check_dns_1035_label("9a"), "");
  EXPECT_EQ(check_dns_1035_label("a9"), "");
}

TEST(Names, Subdomains) {
  for (const char* good : {"a", "a.b", "web.shop.svc", "1.2"}) EXPECT_EQ(check_dns_subdomain(good), "") << good;
  for (const char* bad : {"", ".", "a.", ".a", "a..b", "a.-b"}) EXPECT_NE(check_dns_subdomain(bad), "") << bad;
  EXPECT_NE(check_dns_subdomain(std::string(254, 'a')), "");
}

TEST(Names, Labels) {
  for (const char* good : {"a", "app.kubernetes.io/name", "A_b.c-d", "x/9"})
    EXPECT_EQ(check_label_key(good), "") << good;
  for (const char* bad : {"", "/a", "a/", "a/b/c", "-a", "A.io/x", "a b"}) EXPECT_NE(check_label_key(bad), "") << bad;
  for (const char* good : {"", "a", "A.b_c-1"}) EXPECT_EQ(check_label_value(good), "") << good;
  for (const char* bad : {"-", "a b", "a/", "ä"}) EXPECT_NE(check_label_value(bad), "") << bad;
  EXPECT_NE(check_label_value(std::string(64, 'a')), "");
}

TEST(Names, PortNames) {
  for (const char* good : {"http", "a", "web-2", "9p"}) EXPECT_EQ(check_port_name(good), "") << good;
  for (const char* bad : {"", "80", "-a", "a-", "a--b", "HTTP", "a_b", "sixteen-letters1"})
    EXPECT_NE(check_port_name(bad), "") << bad;
}

TEST(Nearest, FindsTyposAndNothingFar) {
  const std::vector<std::string_view> known{"podSelector", "namespaceSelector", "ipBlock"};
  EXPECT_EQ(nearest("podSelctor", known), "podSelector");
  EXPECT_EQ(nearest("podselector", known), "podSelector");
  EXPECT_EQ(nearest("ipBlcok", known), "ipBlock");
  EXPECT_EQ(nearest("colour", known), "");
  EXPECT_EQ(nearest(std::string(100, 'p'), known), "");
}

TEST(Quoted, ShowsControlsAndCutsBetweenCharacters) {
  EXPECT_EQ(in_quotes("a\n\x1b\"b"), "\"a\\n\\x1b\\\"b\"");
  std::string longer(79, 'a');
  longer += "\xc3\xa4";
  EXPECT_EQ(in_quotes(longer), "\"" + std::string(79, 'a') + "...\"");
}

TEST(Expand, OrdinalsFromZeroWithTheTemplatesLabels) {
  Deployment deployment;
  deployment.meta = {"shop", "web", {{"own", "1"}}, {}, "", {"a.yaml", 7}};
  deployment.replicas = 3;
  deployment.template_labels = {{"app", "web"}};
  deployment.template_annotations = {{"note", "x"}};
  deployment.template_spec.containers.push_back({"c", "", {}, {}, {{"http", 80, Protocol::tcp, 0}}});
  const auto pods = expand(deployment);
  ASSERT_EQ(pods.size(), 3U);
  EXPECT_EQ(pods[2].meta.key().to_string(), "shop/web-2");
  EXPECT_EQ(pods[0].meta.name, "web-0");
  EXPECT_EQ(pods[1].meta.labels, (LabelMap{{"app", "web"}}));
  EXPECT_EQ(pods[1].meta.annotations, (LabelMap{{"note", "x"}}));
  EXPECT_EQ(pods[1].workload, "web");
  EXPECT_EQ(pods[1].meta.location.line, 7);
  EXPECT_EQ(pods[1].spec, deployment.template_spec);
  deployment.replicas = 0;
  EXPECT_TRUE(expand(deployment).empty());
}

}  // namespace
}  // namespace weft::model
