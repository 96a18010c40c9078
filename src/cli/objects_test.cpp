// apply, get and delete against a server of canned answers.
#include <gmock/gmock.h>

#include <future>
#include <optional>
#include <thread>

#include "cli/fake_agent.h"

namespace weft::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Ran;
using ObjectsTest = testing::FakeAgent;

constexpr auto applied = R"({"applied":[
  {"kind":"NetworkPolicy","namespace":"shop","name":"deny-all","action":"created"},
  {"kind":"Namespace","namespace":"","name":"shop","action":"unchanged"}],"problems":[],"warnings":[
  {"file":"a.yaml","line":3,"column":1,"path":"spec.x","message":"is not acted on"}]})";

TEST_F(ObjectsTest, ApplySendsSortedManifestsAndPrintsWhatBecameOfThem) {
  answers("apply", applied);
  write("m/b.yml", "two");
  write("m/a.yaml", "one");
  write("m/c.json", "three");
  write("m/notes.txt", "no");
  write("m/deep/d.yaml", "four");
  const auto ran = weft({"apply", "-f", directory_ + "/m"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "networkpolicy/shop/deny-all created\nnamespace/shop unchanged\n");
  EXPECT_EQ(ran.err, "a.yaml:3:1: warning: spec.x: is not acted on\n");
  const auto sent = params("apply");
  ASSERT_EQ(sent["documents"].size(), 3U);
  EXPECT_EQ(sent["documents"][0], (json{{"file", directory_ + "/m/a.yaml"}, {"text", "one"}}));
  EXPECT_EQ(sent["documents"][2]["text"], "three");
  EXPECT_EQ(sent["all_or_nothing"], true);
  EXPECT_EQ(sent["dry_run"], false);

  EXPECT_EQ(weft({"apply", "-R", "-f", directory_ + "/m", "--no-all-or-nothing", "--dry-run"}).out,
            "networkpolicy/shop/deny-all created (dry run)\nnamespace/shop unchanged (dry run)\n");
  EXPECT_EQ(params("apply")["documents"].size(), 4U);
  EXPECT_EQ(params("apply")["all_or_nothing"], false);
  EXPECT_EQ(params("apply")["dry_run"], true);
}

TEST_F(ObjectsTest, ApplyReadsStandardInputAndSeveralFiles) {
  answers("apply", applied);
  const auto file = write("x.yaml", "X");
  EXPECT_EQ(weft({"apply", "-f", "-", "-f", file, "-o", "name"}, "from stdin").out,
            "networkpolicy/shop/deny-all\nnamespace/shop\n");
  EXPECT_EQ(params("apply")["documents"][0], (json{{"file", "(stdin)"}, {"text", "from stdin"}}));
  EXPECT_EQ(params("apply")["documents"][1]["text"], "X");
  EXPECT_EQ(json::parse(weft({"apply", "-f", file, "-o", "json"}).out), json::parse(applied));
}

TEST_F(ObjectsTest, ApplyPrintsProblemsWithTheirPlaces) {
  refuses("apply", ErrorCode::invalid, "1 of 2 documents is bad",
          {{"problems",
            {{{"file", "web.yaml"},
              {"line", 12},
              {"column", 9},
              {"path", "spec.ports[0].port"},
              {"message", "expected a number"}}}}});
  const auto ran = weft({"apply", "-f", "-"}, "x");
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("web.yaml:12:9: spec.ports[0].port: expected a number\n"));
  EXPECT_THAT(ran.err, HasSubstr("weft: 1 of 2 documents is bad\n"));
  EXPECT_THAT(ran.err, Not(HasSubstr("no-all-or-nothing")));  // the agent's hint says it
  const auto told = json::parse(weft({"apply", "-f", "-", "-o", "json"}, "x").out);
  EXPECT_EQ(told["applied"], json::array());
  EXPECT_EQ(told["problems"][0]["line"], 12);
  EXPECT_EQ(told["error"]["code"], "invalid");
  EXPECT_EQ(told["error"]["message"], "1 of 2 documents is bad");

  // Without all-or-nothing the good ones are applied, and the code still says that some were not.
  answers("apply", R"({"applied":[{"kind":"Pod","namespace":"a","name":"b","action":"created"}],"warnings":[],
                       "problems":[{"file":"f","line":1,"column":0,"path":"","message":"bad"}]})");
  const auto part = weft({"apply", "--no-all-or-nothing", "-f", "-"}, "x");
  EXPECT_EQ(part.code, 1);
  EXPECT_EQ(part.out, "pod/a/b created\n");
  EXPECT_EQ(part.err, "f:1: bad\n");
}

TEST_F(ObjectsTest, ApplySaysWhichFileCannotBeRead) {
  const auto missing = weft({"apply", "-f", directory_ + "/nothing.yaml"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.err, HasSubstr("nothing.yaml: No such file"));
  std::filesystem::create_directory(directory_ + "/empty");
  EXPECT_THAT(weft({"apply", "-f", directory_ + "/empty"}).err, HasSubstr("holds no *.yaml"));
}

TEST_F(ObjectsTest, ApplyOfNothingAndOfWhatNeverEndsIsRefused) {
  answers("apply", applied);
  for (const char* text : {"", "\n", "---\n", "# only words\r\n---\n  # more\n...\n"}) {
    const auto ran = weft({"apply", "-f", "-"}, text);
    EXPECT_EQ(ran.code, 1);
    EXPECT_EQ(ran.err, "weft: (stdin): holds no document\n");
  }
  EXPECT_EQ(weft({"delete", "-f", "-"}, "").code, 1);
  const auto empty = write("empty.yaml", "");
  const auto full = write("full.yaml", "x");
  EXPECT_EQ(weft({"apply", "-f", empty, "-f", full}).code, 0) << "one of the files has something";
  const auto endless = weft({"apply", "-f", "/dev/zero"});
  EXPECT_EQ(endless.code, 1);
  EXPECT_THAT(endless.err, HasSubstr("/dev/zero: holds more than 16 MiB"));
}

TEST_F(ObjectsTest, ApplyRefusesWhatIsNotUtf8) {
  answers("apply", applied);
  EXPECT_EQ(weft({"apply", "-f", "-"}, "name: \xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x99").code, 0);
  for (const char* text : {"a: b\nc: \xff", "a: b\nc: \xc3", "a: b\nc: \xc0\xaf", "a: b\nc: \xed\xa0\x80"}) {
    const auto ran = weft({"apply", "-f", "-"}, text);
    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.err, HasSubstr("(stdin):2: holds a byte that is not UTF-8"));
  }
}

constexpr auto objects = R"({"items":[
  {"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop","name":"web-0","labels":{"app":"web"},
   "ownerReferences":[{"kind":"Deployment","name":"web"}]},"spec":{},
   "status":{"phase":"Running","podIP":"10.0.0.2","podIPs":[{"ip":"10.0.0.2"},{"ip":"fd00::2"}]}},
  {"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop","name":"db"},"spec":{}},
  {"apiVersion":"v1","kind":"Service","metadata":{"namespace":"shop","name":"web"},
   "spec":{"clusterIPs":["10.96.0.1"],"ports":[{"port":80},{"port":53,"protocol":"UDP"}],"selector":{"app":"web"}}},
  {"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"namespace":"shop","name":"deny"},
   "spec":{"podSelector":{},"policyTypes":["Ingress"]}}]})";

TEST_F(ObjectsTest, GetPrintsATablePerKind) {
  answers("get", objects);
  const auto ran = weft({"get", "all", "-n", "shop"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(params("get"), (json{{"kind", "all"}, {"namespace", "shop"}, {"limit", 500}}));
  EXPECT_EQ(ran.out,
            "Pod\n"
            "NAMESPACE  NAME   PHASE    ADDRESSES         OWNER\n"
            "shop       web-0  Running  10.0.0.2,fd00::2  deployment/web\n"
            "shop       db     -        -                 -\n"
            "\nService\n"
            "NAMESPACE  NAME  TYPE       CLUSTER-IP  EXTERNAL-IP  PORT(S)\n"
            "shop       web   ClusterIP  10.96.0.1   -            80/TCP,53/UDP\n"
            "\nNetworkPolicy\n"
            "NAMESPACE  NAME  PODS   TYPES\n"
            "shop       deny  (all)  Ingress\n");
  EXPECT_THAT(weft({"get", "all", "-o", "wide"}).out, HasSubstr("app=web"));
  EXPECT_EQ(weft({"get", "all", "-o", "name"}).out,
            "pod/shop/web-0\npod/shop/db\nservice/shop/web\nnetworkpolicy/shop/deny\n");
}

TEST_F(ObjectsTest, GetShowsServicesAsClientsOfEachSideSeeThem) {
  answers("get", R"({"items":[
    {"kind":"Service","metadata":{"namespace":"s","name":"node"},"spec":{"type":"NodePort","clusterIP":"10.96.0.2",
     "externalIPs":["192.0.2.7","192.0.2.8"],"ports":[{"port":80,"nodePort":30080},{"port":53,"protocol":"UDP"}]}},
    {"kind":"Service","metadata":{"namespace":"s","name":"lb"},"spec":{"type":"LoadBalancer","clusterIPs":
     ["10.96.0.3","fd00::3"],"externalIPs":["192.0.2.9"],"ports":[{"port":443,"nodePort":30443}]},
     "status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"},{"hostname":"lb.example"}]}}},
    {"kind":"Service","metadata":{"namespace":"s","name":"waiting"},"spec":{"type":"LoadBalancer","ports":[{"port":1}]},
     "status":{"loadBalancer":{}}},
    {"kind":"Service","metadata":{"namespace":"s","name":"headless"},"spec":{"clusterIP":"None"}},
    {"kind":"Service","metadata":{"namespace":"s","name":"name"},
     "spec":{"type":"ExternalName","externalName":"db.example"}}]})");
  EXPECT_EQ(
      weft({"get", "svc"}).out,
      "NAMESPACE  NAME      TYPE          CLUSTER-IP         EXTERNAL-IP                     PORT(S)\n"
      "s          node      NodePort      10.96.0.2          192.0.2.7,192.0.2.8             80:30080/TCP,53/UDP\n"
      "s          lb        LoadBalancer  10.96.0.3,fd00::3  192.0.2.1,lb.example,192.0.2.9  443:30443/TCP\n"
      "s          waiting   LoadBalancer  -                  <pending>                       1/TCP\n"
      "s          headless  ClusterIP     None               -                               -\n"
      "s          name      ExternalName  -                  db.example                      -\n");
}

TEST_F(ObjectsTest, GetShowsAnAgeWhereOneIsKnown) {
  answers("get", R"({"items":[
    {"kind":"Pod","metadata":{"namespace":"s","name":"old","creationTimestamp":"1970-01-02T00:00:00Z",
     "deletionTimestamp":"2026-01-01T00:00:00Z"},"status":{"phase":"Running"}},
    {"kind":"Pod","metadata":{"namespace":"s","name":"new"},"status":{"phase":"Running"}},
    {"kind":"Pod","metadata":{"namespace":"s","name":"odd","creationTimestamp":"soon"}}]})");
  const auto shown = weft({"get", "pods"}).out;
  EXPECT_THAT(shown, HasSubstr("PHASE        ADDRESSES  OWNER  AGE\n"));
  EXPECT_THAT(shown, ::testing::ContainsRegex("old   Terminating  -          -      [0-9]+d[0-9]+h\n"));
  EXPECT_THAT(shown, HasSubstr("new   Running      -          -      -\n"));
  EXPECT_THAT(shown, HasSubstr("odd   -            -          -      -\n"));
}

TEST_F(ObjectsTest, GetShowsPoolsAndAnnouncementsWithoutANamespace) {
  answers("get", R"({"items":[
    {"kind":"LoadBalancerPool","metadata":{"name":"public"},"spec":{"addresses":["192.0.2.0/28","192.0.2.32-192.0.2.40"],
     "autoAssign":false,"namespaces":["shop"],"serviceSelector":{"matchLabels":{"tier":"front"}}}},
    {"kind":"LoadBalancerPool","metadata":{"name":"rest"},"spec":{"addresses":["10.0.0.0/24"]}},
    {"kind":"L2Announcement","metadata":{"name":"lan"},"spec":{"externalIPs":false}},
    {"kind":"PodAddressPool","metadata":{"name":"blue"},"spec":{"cidrs":[{"cidr":"10.1.0.0/16","blockLength":32},
     {"cidr":"fd01::/64"}],"namespaceSelector":{"matchLabels":{"team":"blue"}}}},
    {"kind":"PodAddressPool","metadata":{"name":"static"},"spec":{"cidrs":[{"cidr":"10.2.0.0/24"}]}}]})");
  EXPECT_EQ(weft({"get", "all"}).out,
            "LoadBalancerPool\n"
            "NAME    ADDRESSES                           AUTO-ASSIGN  NAMESPACES  SERVICES\n"
            "public  192.0.2.0/28,192.0.2.32-192.0.2.40  no           shop        tier=front\n"
            "rest    10.0.0.0/24                         yes          (all)       (all)\n"
            "\nL2Announcement\n"
            "NAME  INTERFACES  EXTERNAL-IPS  LOAD-BALANCER-IPS  SERVICES\n"
            "lan   (uplinks)   no            yes                (all)\n"
            "\nPodAddressPool\n"
            "NAME    CIDRS                  NAMESPACES  PODS\n"
            "blue    10.1.0.0/16,fd01::/64  team=blue   (all)\n"
            "static  10.2.0.0/24            (by name)   (by name)\n");
  EXPECT_EQ(weft({"get", "lbpool", "-o", "name"}).out,
            "loadbalancerpool/public\nloadbalancerpool/rest\nl2announcement/lan\npodaddresspool/blue\n"
            "podaddresspool/static\n");
}

TEST_F(ObjectsTest, DeleteOfAKindWithoutNamespacesNamesNone) {
  answers("get", R"({"items":[{"kind":"LoadBalancerPool","metadata":{"name":"public"}}]})");
  answers("delete", R"({"deleted":[{"kind":"LoadBalancerPool","namespace":"","name":"public"}]})");
  EXPECT_EQ(weft({"delete", "lbpool", "public"}).out, "loadbalancerpool/public deleted\n");
  EXPECT_EQ(params("delete"), (json{{"kind", "lbpool"}, {"name", "public"}}));
}

TEST_F(ObjectsTest, StorePushSaysHowManyObjectsTheClusterHas) {
  answers("store.push", R"({"objects":3})");
  EXPECT_EQ(weft({"store", "push"}).out, "the cluster has 3 objects\n");
  EXPECT_EQ(params("store.push"), (json{{"none", false}}));
  EXPECT_EQ(json::parse(weft({"store", "push", "--none", "-o", "json"}).out), (json{{"objects", 3}}));
  EXPECT_EQ(params("store.push"), (json{{"none", true}}));
  refuses("store.push", ErrorCode::exists, "the cluster has objects already");
  EXPECT_EQ(weft({"store", "push"}).code, 1);
}

TEST_F(ObjectsTest, ADeploymentWithoutReplicasHasOne) {
  answers("get", R"({"items":[{"kind":"Deployment","metadata":{"namespace":"a","name":"web"},"spec":{}},
                              {"kind":"Deployment","metadata":{"namespace":"a","name":"none"},"spec":{"replicas":0}}]})");
  EXPECT_EQ(weft({"get", "deploy"}).out, "NAMESPACE  NAME  REPLICAS\na          web   1\na          none  0\n");
}

TEST_F(ObjectsTest, GetJsonIsAListOrTheObject) {
  answers("get", objects);
  const auto list = json::parse(weft({"get", "pods", "-A", "-n", "x", "-o", "json"}).out);
  EXPECT_EQ(list["kind"], "List");
  EXPECT_EQ(list["apiVersion"], "v1");
  EXPECT_EQ(list["items"].size(), 4U);
  EXPECT_EQ(params("get"), (json{{"kind", "pods"}, {"limit", 500}}));

  answers("get", R"({"items":[{"kind":"Pod","metadata":{"namespace":"shop","name":"web-0"}}]})");
  EXPECT_EQ(json::parse(weft({"get", "pod", "shop/web-0", "-o", "json"}).out)["kind"], "Pod");
  EXPECT_EQ(params("get"), (json{{"kind", "pod"}, {"namespace", "shop"}, {"name", "web-0"}, {"limit", 500}}));
  EXPECT_EQ(weft({"get", "pod/web-0", "-n", "shop", "-o", "name"}).out, "pod/shop/web-0\n");
  EXPECT_EQ(params("get"), (json{{"kind", "pod"}, {"namespace", "shop"}, {"name", "web-0"}, {"limit", 500}}));
  EXPECT_THAT(weft({"get", "pod", "shop/web-0", "-o", "yaml"}).out, HasSubstr("kind: "));
}

TEST_F(ObjectsTest, GetSaysWhatIsMissing) {
  answers("get", R"({"items":[]})");
  const auto one = weft({"get", "pod", "web-0", "-n", "shop"});
  EXPECT_EQ(one.code, 1);
  EXPECT_EQ(one.err, "weft: there is no pod \"web-0\" in namespace shop\n");
  const auto all = weft({"get", "pods"});
  EXPECT_EQ(all.code, 0);
  EXPECT_EQ(all.out, "");
  EXPECT_EQ(all.err, "nothing found\n");
  EXPECT_EQ(json::parse(weft({"get", "pods", "-o", "json"}).out)["items"], json::array());
}

TEST_F(ObjectsTest, DeleteByFileAndByName) {
  answers("delete", R"({"deleted":[{"kind":"NetworkPolicy","namespace":"shop","name":"deny"}]})");
  EXPECT_EQ(weft({"delete", "-f", "-"}, "text").out, "networkpolicy/shop/deny deleted\n");
  EXPECT_EQ(params("delete")["documents"][0]["text"], "text");
  EXPECT_EQ(weft({"delete", "netpol", "deny", "-n", "shop"}).code, 0);
  EXPECT_EQ(params("delete"), (json{{"kind", "netpol"}, {"namespace", "shop"}, {"name", "deny"}}));

  answers("get", R"({"items":[{"kind":"NetworkPolicy","metadata":{"namespace":"shop","name":"deny"}}]})");
  EXPECT_EQ(weft({"delete", "netpol/deny"}).code, 0);
  EXPECT_EQ(params("delete")["namespace"], "shop");

  answers("get", R"({"items":[{"kind":"Pod","metadata":{"namespace":"a","name":"x"}},
                              {"kind":"Pod","metadata":{"namespace":"b","name":"x"}}]})");
  const auto several = weft({"delete", "pod", "x"});
  EXPECT_EQ(several.code, 1);
  EXPECT_THAT(several.err, HasSubstr("pod/a/x, pod/b/x"));
  EXPECT_EQ(weft({"delete"}).code, 2);
  EXPECT_EQ(weft({"delete", "pod"}).code, 2);

  refuses("delete", ErrorCode::not_found, "no pod a/x");
  const auto failed = weft({"delete", "pod", "a/x", "-o", "json"});
  EXPECT_EQ(failed.code, 1);
  EXPECT_EQ(json::parse(failed.out)["error"]["code"], "not_found");
  EXPECT_EQ(json::parse(failed.out)["deleted"], json::array());
  EXPECT_EQ(failed.err, "weft: no pod a/x\n  a hint\n");
}

// An agent that ends in the middle of a change, and another in its place.
class LostAnswerTest : public testing::FakeAgent {
 protected:
  Ran weft_lost(const std::string& method, std::vector<std::string> arguments, const std::string& input,
                const std::string& after_method, const std::string& after) {
    std::promise<void> asked;
    std::optional<api::Responder> kept;
    on_loop([&] {
      server_->handle_async(method, [&](const json&, const api::Responder& responder) {
        kept.emplace(responder);
        asked.set_value();
      });
    });
    std::thread killer([&] {
      asked.get_future().wait();
      serve_anew();
      answers(after_method, after);
      answers("status", R"({"cluster":{"store":{"connected":true,"owed":""}}})");
    });
    auto ran = weft(std::move(arguments), input);
    killer.join();
    on_loop([&] { kept.reset(); });
    return ran;
  }
};

constexpr auto half = R"({"applied":[{"kind":"Service","namespace":"shop","name":"a","action":"unchanged"},
  {"kind":"Service","namespace":"shop","name":"b","action":"created"}],"problems":[],"warnings":[]})";

TEST_F(LostAnswerTest, ApplySaysWhichObjectsAreThereAndThatItMayRunAgain) {
  const auto part = weft_lost("apply", {"apply", "-f", "-"}, "x", "apply", half);
  EXPECT_EQ(part.code, 3);
  EXPECT_EQ(part.out, "service/shop/a applied\n");
  EXPECT_THAT(part.err, HasSubstr("closed the connection; 1 of 2 objects are applied, the others are not\n"));
  EXPECT_THAT(part.err, HasSubstr("run the same command again"));
  EXPECT_EQ(params("apply")["dry_run"], true) << "it only looks";
  EXPECT_EQ(params("apply")["all_or_nothing"], false);

  const auto told = json::parse(weft_lost("apply", {"apply", "-f", "-", "-o", "json"}, "x", "apply", half).out);
  EXPECT_EQ(told["applied"], json::parse(R"([{"kind":"Service","namespace":"shop","name":"a"}])"));
  EXPECT_EQ(told["left"], json::parse(R"([{"kind":"Service","namespace":"shop","name":"b"}])"));
  EXPECT_EQ(told["error"]["code"], "unavailable");

  const auto none = weft_lost("apply", {"apply", "-f", "-"}, "x", "apply", R"({"applied":[
    {"kind":"Service","namespace":"shop","name":"b","action":"configured"}],"problems":[],"warnings":[]})");
  EXPECT_EQ(none.code, 3);
  EXPECT_THAT(none.err, HasSubstr("; nothing was applied\n"));
  const auto all = weft_lost("apply", {"apply", "-f", "-"}, "x", "apply", R"({"applied":[
    {"kind":"Service","namespace":"shop","name":"b","action":"unchanged"}],"problems":[],"warnings":[]})");
  EXPECT_EQ(all.code, 0);
  EXPECT_EQ(all.out, "service/shop/b applied\n");
}

TEST_F(LostAnswerTest, DeleteSaysWhatIsGone) {
  const auto part = weft_lost("delete", {"delete", "-f", "-"}, "x", "apply", half);
  EXPECT_EQ(part.code, 3);
  EXPECT_EQ(part.out, "service/shop/b deleted\n");
  EXPECT_THAT(part.err, HasSubstr("1 of 2 objects are deleted"));
  const auto named = weft_lost("delete", {"delete", "svc", "a", "-n", "shop"}, "", "get", R"({"items":[]})");
  EXPECT_EQ(named.code, 0);
  EXPECT_EQ(named.out, "service/shop/a deleted\n");
  const auto there = weft_lost("delete", {"delete", "svc", "a", "-n", "shop"}, "", "get", R"({"items":[{}]})");
  EXPECT_EQ(there.code, 3);
  EXPECT_THAT(there.err, HasSubstr("nothing was deleted"));
}

TEST_F(ObjectsTest, WhatTheAgentRefusesIsCodeOneWhateverItsCode) {
  refuses("apply", ErrorCode::unavailable, "etcd has not been heard of");
  EXPECT_EQ(weft({"apply", "-f", "-"}, "x").code, 1);
  refuses("get", ErrorCode::unavailable, "not now");
  EXPECT_EQ(weft({"get", "pods"}).code, 1);
  EXPECT_EQ(weft({"delete", "pod", "a"}).code, 1);
}

}  // namespace
}  // namespace weft::cli
