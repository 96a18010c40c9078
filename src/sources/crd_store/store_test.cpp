// What the store does where the API server differs from etcd: objects in between, writes that meet, sessions.
#include "sources/crd_store/store.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sources/cluster/testing/member_world.h"
#include "sources/crd_store/objects.h"

namespace weft::crd::testing {
namespace {

using cluster::Incarnation;
using etcd::Compare;
using etcd::EraseRequest;
using etcd::PutRequest;
using etcd::PutResult;
using etcd::Reason;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string key(const std::string& rest) { return "/weft/v1/default/" + rest; }
std::string run(const std::string& node) { return cluster::encode(Incarnation{node, "boot"}); }
std::string labels(const std::string& app) { return cluster::encode_labels({{"app", app}}).value(); }
std::string labels_key(const std::string& app) { return key(R"(identities/labels/{"app":")" + app + "\"}"); }
std::string users(const std::set<cluster::IdentityNumber>& numbers) {
  return cluster::encode(cluster::IdentityUsers{"boot", numbers});
}

class CrdStoreTest : public ::testing::Test {
 protected:
  etcd::Outcome<etcd::TxnResult> txn(etcd::Txn txn) { return world_.txn(*client_, std::move(txn)); }
  etcd::Revision put(const std::string& rest, const std::string& value, etcd::LeaseId lease = 0) {
    const auto result = world_.put(*client_, key(rest), value, lease);
    EXPECT_TRUE(result) << result.error().message;
    return result ? result->revision : 0;
  }
  std::string value(const std::string& rest) {
    const auto found = world_.range(*client_, {.keys = etcd::Keys::one(key(rest))});
    EXPECT_TRUE(found) << found.error().message;
    return !found || found->kvs.empty() ? "" : found->kvs[0].value;
  }
  etcd::Revision revision(const std::string& rest) {
    const auto found = world_.range(*client_, {.keys = etcd::Keys::one(key(rest))});
    return !found || found->kvs.empty() ? 0 : found->kvs[0].mod_revision;
  }
  // By another connection, between a request and its being carried out.
  void meanwhile(const std::string& method, const std::string& part, std::function<void()> what) {
    server().before(method, part, [this, what = std::move(what)] {
      what();
      server().changed();
    });
  }
  void write(const std::string& rest, const std::string& value, etcd::LeaseId lease = 0) {
    EXPECT_TRUE(world_.cluster.store().put({.key = key(rest), .value = value, .lease = lease}));
  }
  void remove(const std::string& rest) { EXPECT_TRUE(world_.cluster.store().erase({etcd::Keys::one(key(rest))})); }
  MemoryServer& server() { return world_.cluster.server(); }
  std::size_t count(const std::string& folder) {
    return world_.cluster.store().range({.keys = etcd::Keys::prefix(key(folder))}).kvs.size();
  }

  KubernetesWorld world_;
  std::unique_ptr<etcd::Client> client_ = world_.cluster.connect();
};

// --- Single keys ---------------------------------------------------------------------------------

TEST_F(CrdStoreTest, AWriteOfTheSameValueIsAWrite) {
  const auto first = put("nodes/a", "{}");
  EXPECT_GT(put("nodes/a", "{}"), first) << "who touches a key is seen to do so";
}

TEST_F(CrdStoreTest, APutGoesThroughWhoeverWritesBetween) {
  put("nodes/a", "{}");
  meanwhile("PUT", "weftnodes", [this] { write("nodes/a", R"({"b":1})"); });
  put("nodes/a", R"({"c":1})");
  EXPECT_EQ(value("nodes/a"), R"({"c":1})");
}

TEST_F(CrdStoreTest, AnObjectOfSomebodyElseIsToldByNameAndLeftAlone) {
  write("nodes/a", "{}");
  server().store().put(path_of(Resource::nodes, "strange"),
                       {{"metadata", {{"name", "strange"}, {"annotations", {{key_annotation, "nodes/a"}}}}}});
  const auto all = world_.range(*client_, {.keys = etcd::Keys::prefix(key("nodes/"))});
  ASSERT_TRUE(all);
  EXPECT_EQ(all->kvs.size(), 1U);
  EXPECT_THAT(world_.cluster.troubles, Contains(HasSubstr("WeftNode 'strange': it says that it is nodes/a")));
}

TEST_F(CrdStoreTest, WhatIsNotThereIsSaid) {
  server().store().remove_resource("/apis/weft.io/v1alpha1/weftnodes");
  const auto missing = world_.range(*client_, {.keys = etcd::Keys::prefix(key("nodes/"))});
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().to_error().text(), HasSubstr("kubectl apply -f deploy/kubernetes/crds"));
  EXPECT_THAT(missing.error().to_error().text(), HasSubstr("Kubernetes: GET /apis/weft.io/v1alpha1/weftnodes"));
  // As a real one says it.
  server().fail({.target_contains = "weftpools", .status = 404, .body = "404 page not found\n", .times = 2});
  for (int i = 0; i < 2; ++i) {
    const auto page = i == 0 ? world_.range(*client_, {.keys = etcd::Keys::one(key("pools"))}).error()
                             : txn({.compare = {Compare::absent(key("pools"))},
                                    .then = {PutRequest{.key = key("pools"), .value = "{}"}}})
                                   .error();
    EXPECT_THAT(page.to_error().text(), HasSubstr("kubectl apply -f deploy/kubernetes/crds")) << i;
  }
  server().fail(
      {.method = "POST",
       .target_contains = "weftclaims",
       .status = 404,
       .body = kubernetes::testing::status_answer(404, "NotFound", "namespaces \"weft-system\" not found").text});
  EXPECT_THAT(world_.put(*client_, key("roles/x"), "{}").error().to_error().text(),
              HasSubstr("kubectl create namespace"));
  server().fail({.method = "GET",
                 .target_contains = "weftpools",
                 .status = 403,
                 .body = kubernetes::testing::status_answer(403, "Forbidden", "User \"x\" cannot get resource").text});
  const auto denied = world_.range(*client_, {.keys = etcd::Keys::one(key("pools"))});
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error().reason, Reason::denied);
  EXPECT_THAT(denied.error().to_error().text(), HasSubstr("docs/kubernetes.md lists its rights"));
}

TEST_F(CrdStoreTest, AServerThatAsksToSlowDownIsAskedAgainWhenItSays) {
  server().fail({.target_contains = "weftnodes", .status = 429, .retry_after = seconds(1), .times = 2});
  EXPECT_GT(put("nodes/a", "{}"), 0);
  server().fail({.target_contains = "weftnodes", .status = 429, .retry_after = seconds(60)});
  const auto late = world_.put(*client_, key("nodes/a"), "{}");
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().reason, Reason::exhausted);
  EXPECT_FALSE(late.error().unsure);
}

TEST_F(CrdStoreTest, AnObjectThatIsTooLargeIsRefusedForGood) {
  server().fail({.method = "POST",
                 .target_contains = "weftendpoints",
                 .status = 500,
                 .body = kubernetes::testing::status_answer(500, "", "etcdserver: request is too large").text});
  const auto refused = txn({.compare = {Compare::absent(key("endpoints/a"))},
                            .then = {PutRequest{.key = key("endpoints/a"), .value = "{}"}}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::exhausted);
  EXPECT_FALSE(refused.error().unsure);
  EXPECT_LT(client_->largest_value(), 1500000U);
}

// --- Transactions --------------------------------------------------------------------------------

TEST_F(CrdStoreTest, WhatItHasNoSafeWayForIsRefused) {
  for (const auto& strange : {etcd::Txn{.then = {PutRequest{.key = key("blocks/p/10.0.0.0/24"), .value = "{}"}}},
                              etcd::Txn{.then = {PutRequest{.key = key("nodes/a"), .value = "{}"},
                                                 PutRequest{.key = key("nodes/b"), .value = "{}"}}},
                              etcd::Txn{.compare = {Compare::absent(key("users/a"))}, .then = {}},
                              etcd::Txn{.then = {EraseRequest{etcd::Keys::prefix(key("nodes/"))}}},
                              etcd::Txn{.compare = {Compare::absent(key("identities/ids/300"))},
                              .then = {PutRequest{.key = key("identities/ids/300"), .value = labels("x")},
                                       PutRequest{.key = labels_key("x"), .value = "{}"}}},
                              etcd::Txn{.then = {PutRequest{.key = key("state/founding"), .value = "{}"}}}}) {
    const auto refused = txn(strange);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, Reason::invalid) << refused.error().message;
    EXPECT_FALSE(refused.error().unsure);
  }
  EXPECT_EQ(count(""), 0U);
}

etcd::Txn claim(const std::string& node, etcd::Revision alive, etcd::Revision pools) {
  return {
      .compare = {Compare::absent(key("blocks/p/10.0.0.0/24")), Compare::unchanged_since(key("alive/" + node), alive),
                  Compare::unchanged_since(key("pools"), pools)},
      .then = {PutRequest{.key = key("blocks/p/10.0.0.0/24"), .value = run(node)}},
      .otherwise = {etcd::RangeRequest{.keys = etcd::Keys::one(key("blocks/p/10.0.0.0/24"))},
                    etcd::RangeRequest{.keys = etcd::Keys::one(key("pools"))}}};
}

TEST_F(CrdStoreTest, ABlockIsOneNodesAndTheRevisionIsItsOwn) {
  const auto alive = put("alive/a", run("a"));
  const auto pools = put("pools", "{}");
  const auto claimed = txn(claim("a", alive, pools));
  ASSERT_TRUE(claimed && claimed->succeeded);
  EXPECT_EQ(std::get<PutResult>(claimed->results[0]).revision, revision("blocks/p/10.0.0.0/24"));
  const auto again = txn(claim("a", alive, pools));
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->succeeded);
  EXPECT_EQ(cluster::range_of(*again, 0).at(0).value, run("a"));
}

// Between the look at the pools and the block's being there they change: the claim is taken back.
TEST_F(CrdStoreTest, AClaimOfAPoolThatGoesIsTakenBack) {
  const auto alive = put("alive/a", run("a"));
  const auto pools = put("pools", "{}");
  meanwhile("POST", "weftblocks", [this] { write("pools", R"({"b":1})"); });
  const auto claimed = txn(claim("a", alive, pools));
  ASSERT_TRUE(claimed);
  EXPECT_FALSE(claimed->succeeded);
  EXPECT_THAT(cluster::range_of(*claimed, 0), IsEmpty());
  EXPECT_EQ(count("blocks/"), 0U);
  // The same of a node that was found to be away meanwhile.
  meanwhile("POST", "weftblocks", [this] { remove("alive/a"); });
  EXPECT_FALSE(txn(claim("a", alive, revision("pools")))->succeeded);
  EXPECT_EQ(count("blocks/"), 0U);
}

TEST_F(CrdStoreTest, AnAnswerThatIsLostWhileAClaimIsTakenBackIsUnsure) {
  const auto alive = put("alive/a", run("a"));
  const auto pools = put("pools", "{}");
  meanwhile("POST", "weftblocks", [this] {
    write("pools", R"({"b":1})");
    server().fail({.method = "DELETE", .target_contains = "weftblocks", .status = 500, .times = 100});
  });
  const auto claimed = txn(claim("a", alive, pools));
  ASSERT_FALSE(claimed);
  EXPECT_TRUE(claimed.error().unsure);
}

TEST_F(CrdStoreTest, PoolsThatLoseOneHaveNoBlockOfItBeforeAndAfter) {
  const auto alive = put("alive/a", run("a"));
  const auto pools = put("pools", R"({"both":1})");
  const auto remove_pool = [&] {
    return txn({.compare = {Compare::unchanged_since(key("pools"), pools), Compare::none_below(key("blocks/p/"))},
                .then = {PutRequest{.key = key("pools"), .value = R"({"one":1})"}}});
  };
  // A claim comes between the look for blocks and the pools' being written: both see the other, neither goes through.
  meanwhile("PUT", "weftpools", [this] { write("blocks/p/10.0.0.0/24", run("a")); });
  const auto removed = remove_pool();
  ASSERT_TRUE(removed);
  EXPECT_FALSE(removed->succeeded);
  EXPECT_EQ(value("pools"), R"({"both":1})");
  remove("blocks/p/10.0.0.0/24");
  write("blocks/q/10.0.0.0/24", run("a"));
  const auto now = revision("pools");
  EXPECT_TRUE(txn({.compare = {Compare::unchanged_since(key("pools"), now), Compare::none_below(key("blocks/p/"))},
                   .then = {PutRequest{.key = key("pools"), .value = R"({"one":1})"}}})
                  ->succeeded);
  EXPECT_FALSE(txn(claim("a", alive, now))->succeeded);
}

TEST_F(CrdStoreTest, ARecordOfAnEarlierRunDoesNotReplaceALaterOnes) {
  const auto alive = put("alive/a", run("a"));
  put("nodes/a", R"({"run":1})");
  const etcd::Txn late{.compare = {Compare::unchanged_since(key("alive/a"), alive)},
                       .then = {PutRequest{.key = key("nodes/a"), .value = R"({"run":1,"x":1})"}}};
  meanwhile("PUT", "weftnodes", [this] {
    write("alive/a", run("a"));
    write("nodes/a", R"({"run":2})");
  });
  const auto written = txn(late);
  ASSERT_TRUE(written);
  EXPECT_FALSE(written->succeeded);
  EXPECT_EQ(value("nodes/a"), R"({"run":2})");
}

TEST_F(CrdStoreTest, ANodeJoinsByItsClaimFirst) {
  const auto lease = world_.grant(*client_, seconds(10))->id;
  const etcd::Txn join{.compare = {Compare::absent(key("alive/a"))},
                       .then = {PutRequest{.key = key("alive/a"), .value = run("a"), .lease = lease},
                                PutRequest{.key = key("nodes/a"), .value = "{}"}}};
  write("alive/a", run("b"), 77);
  EXPECT_FALSE(txn(join)->succeeded);
  EXPECT_EQ(count("nodes/"), 0U) << "whoever is kept out writes nothing";
  remove("alive/a");
  const auto joined = txn(join);
  ASSERT_TRUE(joined && joined->succeeded);
  EXPECT_EQ(std::get<PutResult>(joined->results[0]).revision, revision("alive/a"));
  EXPECT_EQ(std::get<PutResult>(joined->results[1]).revision, revision("nodes/a"));
}

// --- Numbers -------------------------------------------------------------------------------------

etcd::Txn make_number(unsigned number, const std::string& app, etcd::Revision list,
                      std::set<cluster::IdentityNumber> all) {
  all.insert(number);
  return {.compare = {Compare::absent(key(fmt::format("identities/ids/{}", number))), Compare::absent(labels_key(app)),
                      Compare::unchanged_since(key("identities/users/a"), list)},
          .then = {PutRequest{.key = key("identities/users/a"), .value = users(all)},
                   PutRequest{.key = key(fmt::format("identities/ids/{}", number)), .value = labels(app)},
                   PutRequest{.key = labels_key(app), .value = cluster::encode_number(number)},
                   EraseRequest{etcd::Keys::one(key(fmt::format("identities/marks/{}", number)))}},
          .otherwise = {etcd::RangeRequest{.keys = etcd::Keys::one(key("identities/users/a"))},
                        etcd::RangeRequest{.keys = etcd::Keys::one(labels_key(app))}}};
}

etcd::Txn use_number(unsigned number, etcd::Revision identity, etcd::Revision list) {
  return {.compare = {Compare::unchanged_since(key(fmt::format("identities/ids/{}", number)), identity),
                      Compare::unchanged_since(key("identities/users/a"), list)},
          .then = {PutRequest{.key = key("identities/users/a"), .value = users({number})},
                   EraseRequest{etcd::Keys::one(key(fmt::format("identities/marks/{}", number)))}},
          .otherwise = {}};
}

TEST_F(CrdStoreTest, ANumberIsMadeOnceAndFoundByItsLabels) {
  const auto made = txn(make_number(300, "web", 0, {}));
  ASSERT_TRUE(made && made->succeeded) << made.error().message;
  EXPECT_EQ(std::get<PutResult>(made->results[0]).revision, revision("identities/users/a"));
  EXPECT_EQ(made->revision, revision("identities/ids/300"));
  EXPECT_EQ(value(R"(identities/labels/{"app":"web"})"), cluster::encode_number(300));
  const auto again = txn(make_number(301, "web", revision("identities/users/a"), {300}));
  EXPECT_FALSE(again->succeeded);
  EXPECT_EQ(count("identities/ids/"), 1U);
  EXPECT_EQ(cluster::range_of(*again, 1).at(0).value, cluster::encode_number(300));
}

TEST_F(CrdStoreTest, OfTwoNumbersForTheSameLabelsTheLaterOneIsTakenBack) {
  meanwhile("POST", "weftidentities", [this] { write("identities/ids/310", labels("web")); });
  const auto made = txn(make_number(300, "web", 0, {}));
  ASSERT_TRUE(made);
  EXPECT_FALSE(made->succeeded);
  EXPECT_EQ(count("identities/ids/"), 1U);
  EXPECT_EQ(cluster::range_of(*made, 1).at(0).value, cluster::encode_number(310));
  // Where both stay, for one was cut off, the lower one counts.
  write("identities/ids/305", labels("web"));
  EXPECT_EQ(value(R"(identities/labels/{"app":"web"})"), cluster::encode_number(305));
}

TEST_F(CrdStoreTest, WhoeverFindsANumberTakenHasListedItForNothingMuch) {
  meanwhile("POST", "weftidentities", [this] { write("identities/ids/300", labels("other")); });
  const auto made = txn(make_number(300, "web", 0, {}));
  ASSERT_TRUE(made);
  EXPECT_FALSE(made->succeeded);
  EXPECT_EQ(value("identities/ids/300"), labels("other"));
}

TEST_F(CrdStoreTest, AMarkThatComesWhileANumberIsListedIsTakenAway) {
  write("identities/ids/300", labels("web"));
  const auto identity = revision("identities/ids/300");
  meanwhile("PUT", "weftidentityusers", [] {});
  meanwhile("POST", "weftidentityusers", [this] {
    const auto place = world_.cluster.store().codec().places().of(key("identities/ids/300")).value();
    const auto marked = world_.cluster.store().codec().encode(place, labels("web"), {.lease_uid = {}, .marked = true});
    server().store().put(path_of(Resource::identities, "300"), json::parse(*marked));
  });
  const auto used = txn(use_number(300, identity, 0));
  ASSERT_TRUE(used && used->succeeded);
  EXPECT_EQ(value("identities/marks/300"), "");
}

TEST_F(CrdStoreTest, ANumberThatGoesWhileItIsListedIsNotUsed) {
  write("identities/ids/300", labels("web"));
  const auto identity = revision("identities/ids/300");
  meanwhile("POST", "weftidentityusers", [this] { remove("identities/ids/300"); });
  EXPECT_FALSE(txn(use_number(300, identity, 0))->succeeded);
  write("identities/ids/300", labels("web"));
  meanwhile("PUT", "weftidentityusers", [this] {
    remove("identities/ids/300");
    write("identities/ids/300", labels("other"));
  });
  EXPECT_FALSE(txn(use_number(300, revision("identities/ids/300"), revision("identities/users/a")))->succeeded);
}

TEST_F(CrdStoreTest, MarksAreOnTheIdentityAndItsErasureComparesThem) {
  write("identities/ids/300", labels("web"));
  ASSERT_TRUE(txn({.then = {PutRequest{.key = key("identities/marks/300"), .value = cluster::encode_mark()},
                            PutRequest{.key = key("identities/marks/999"), .value = cluster::encode_mark()}}})
                  ->succeeded);
  EXPECT_EQ(value("identities/marks/300"), cluster::encode_mark());
  EXPECT_EQ(value("identities/ids/300"), labels("web")) << "its labels stay";
  const auto marked = revision("identities/ids/300");
  EXPECT_EQ(revision("identities/marks/300"), marked);
  const auto erase = [&] {
    return txn({.compare = {Compare::unchanged_since(key("identities/ids/300"), marked),
                            Compare::unchanged_since(key("identities/marks/300"), marked)},
                .then = {EraseRequest{etcd::Keys::one(key("identities/ids/300"))},
                         EraseRequest{etcd::Keys::one(key("identities/marks/300"))},
                         EraseRequest{etcd::Keys::one(labels_key("web"))}},
                .otherwise = {}})
        ->succeeded;
  };
  ASSERT_TRUE(txn(use_number(300, marked, 0))->succeeded);
  EXPECT_FALSE(erase()) << "somebody uses it";
  EXPECT_EQ(count("identities/ids/"), 1U);
}

// --- Sessions ------------------------------------------------------------------------------------

TEST_F(CrdStoreTest, ASessionThatIsNotKeptAliveEndsWithItsClaims) {
  const auto lease = world_.grant(*client_, seconds(10))->id;
  put("alive/a", run("a"), lease);
  put("roles/collector", run("a"), lease);
  for (int i = 0; i < 10; ++i) {
    world_.run_for(seconds(5));
    ASSERT_TRUE(world_.keep_alive(*client_, lease));
  }
  EXPECT_EQ(count("alive/"), 1U);
  world_.run_for(seconds(13));
  EXPECT_EQ(count("alive/") + count("roles/"), 0U);
  EXPECT_EQ(world_.keep_alive(*client_, lease).error().reason, Reason::lease_not_found);
  const auto late = world_.put(*client_, key("alive/a"), run("a"), lease);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().reason, Reason::lease_not_found);
  EXPECT_EQ(count("alive/"), 0U);
}

TEST_F(CrdStoreTest, ARenewalInTimeWins) {
  const auto lease = world_.grant(*client_, seconds(10))->id;
  put("alive/a", run("a"), lease);
  const auto path = "/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/" + lease_name(lease);
  meanwhile("DELETE", "leases", [&] {
    auto text =
        json::parse(R"({"metadata":{},"spec":{"holderIdentity":"x","leaseDurationSeconds":10,"renewTime":"now"}})");
    text["metadata"] = {{"name", lease_name(lease)}, {"labels", {{session_label, session_text(lease)}}}};
    server().store().put(path, text);
  });
  world_.run_for(seconds(18));
  EXPECT_EQ(count("alive/"), 1U);
  world_.run_for(seconds(10));
  EXPECT_EQ(count("alive/"), 0U);
}

// A claim that is written while its session is ended is seen by one of the two.
TEST_F(CrdStoreTest, AClaimThatComesTooLateForItsSessionIsTakenBack) {
  const auto lease = world_.grant(*client_, seconds(10))->id;
  meanwhile("POST", "weftclaims", [&] { EXPECT_TRUE(world_.cluster.store().revoke(lease)); });
  const auto late = world_.put(*client_, key("roles/collector"), run("a"), lease);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().reason, Reason::lease_not_found);
  EXPECT_EQ(count("roles/"), 0U);
}

TEST_F(CrdStoreTest, ClaimsThatAReaperLeftAreSweptUp) {
  write("alive/a", run("a"), 77);
  write("roles/collecting", "{}");
  world_.run_for(seconds(70));
  EXPECT_EQ(count("alive/"), 0U);
  EXPECT_EQ(count("roles/"), 1U) << "that is under no session";
}

TEST_F(CrdStoreTest, WhileTheServerIsAwayNoTimeCountsForSessions) {
  const auto lease = world_.grant(*client_, seconds(10))->id;
  put("alive/a", run("a"), lease);
  world_.cluster.set_available(false);
  world_.run_for(seconds(60));
  world_.cluster.set_available(true);
  world_.run_for(seconds(5));
  EXPECT_TRUE(world_.keep_alive(*client_, lease));
  world_.run_for(seconds(8));
  EXPECT_EQ(count("alive/"), 1U);
}

TEST_F(CrdStoreTest, ASessionThatIsRevokedLeavesOthersAlone) {
  const auto first = world_.grant(*client_, seconds(10))->id;
  const auto second = world_.grant(*client_, seconds(10))->id;
  put("alive/a", run("a"), first);
  put("alive/b", run("b"), second);
  ASSERT_TRUE(world_.revoke(*client_, first));
  EXPECT_EQ(count("alive/"), 1U);
  EXPECT_EQ(world_.revoke(*client_, first).error().reason, Reason::lease_not_found);
  EXPECT_EQ(world_.grant(*client_, seconds(10), second).error().reason, Reason::lease_exists);
}

// --- Watches -------------------------------------------------------------------------------------

class CrdMirrorTest : public CrdStoreTest {
 protected:
  std::unique_ptr<etcd::Mirror> mirror(const std::string& folder) {
    auto made = std::make_unique<etcd::Mirror>(*client_, world_.time, etcd::testing::fixed_random(),
                                               etcd::MirrorOptions{.prefix = key(folder)},
                                               etcd::MirrorHandlers{.changed =
                                                                        [this](const etcd::Change& change) {
                                                                          for (const auto& kv : change.set)
                                                                            told_.push_back("+" + kv.key.substr(17));
                                                                          for (const auto& kv : change.erased)
                                                                            told_.push_back("-" + kv.key.substr(17));
                                                                        },
                                                                    .state = {}});
    world_.time.settle();
    return made;
  }
  std::vector<std::string> told_;
};

TEST_F(CrdMirrorTest, EachFolderOfClaimsIsToldAlone) {
  write("roles/collector", run("a"), 7);
  const auto alive = mirror("alive/");
  const auto role = mirror("roles/collector");
  const auto gateways = mirror("roles/egress-");
  EXPECT_THAT(told_, ElementsAre("+roles/collector"));
  told_.clear();
  put("alive/a", run("a"));
  put("roles/collecting", "{}");
  put("announcers/192.0.2.1", run("a"));
  world_.time.settle();
  EXPECT_THAT(told_, ElementsAre("+alive/a"));
  told_.clear();
  remove("alive/a");
  server().changed();
  world_.time.settle();
  EXPECT_THAT(told_, ElementsAre("-alive/a"));
  EXPECT_TRUE(gateways->live() && gateways->view().empty());
}

TEST_F(CrdMirrorTest, AWatchWhoseTimeIsOverGoesOnUnnoticed) {
  const auto nodes = mirror("nodes/");
  for (int i = 0; i < 100; ++i) {
    world_.run_for(seconds(60));
    ASSERT_TRUE(nodes->live());
  }
  put("nodes/a", "{}");
  world_.time.settle();
  EXPECT_THAT(told_, ElementsAre("+nodes/a"));
  EXPECT_EQ(nodes->lists(), 1U);
}

TEST_F(CrdMirrorTest, BookmarksSpareAListOnceHistoryIsForgotten) {
  const auto nodes = mirror("nodes/");
  put("nodes/a", "{}");
  put("pools", "{}");
  world_.run_for(seconds(61));
  server().store().compact();
  server().break_watches();
  world_.run_for(seconds(10));
  EXPECT_EQ(nodes->lists(), 1U);
  for (int i = 0; i < 3; ++i) put("pools", "{}");
  server().store().compact();
  server().break_watches();
  put("nodes/b", "{}");
  world_.run_for(seconds(10));
  EXPECT_EQ(nodes->lists(), 2U);
  EXPECT_EQ(nodes->view().size(), 2U);
}

TEST_F(CrdMirrorTest, AStrangeObjectIsToldAndTheRestGoesOn) {
  const auto nodes = mirror("nodes/");
  server().store().put(path_of(Resource::nodes, "x"),
                       {{"metadata", {{"name", "x"}, {"annotations", {{key_annotation, "pools"}}}}}});
  server().changed();
  put("nodes/a", "{}");
  world_.time.settle();
  EXPECT_THAT(told_, ElementsAre("+nodes/a"));
  EXPECT_THAT(world_.cluster.troubles, Contains(HasSubstr("WeftNode 'x'")));
}

TEST_F(CrdMirrorTest, AnotherClusterAndOneThatIsBehindAreRecognized) {
  const auto nodes = mirror("nodes/");
  put("nodes/a", "{}");
  world_.time.settle();
  for (const bool same : {true, false}) {
    world_.cluster.wipe(same);
    write("nodes/b", "{}");
    world_.run_for(seconds(10));
    EXPECT_TRUE(nodes->live());
    EXPECT_EQ(nodes->view().size(), 1U) << same;
    EXPECT_TRUE(nodes->view().contains(key("nodes/b")));
  }
}

TEST_F(CrdMirrorTest, NothingIsToldOnceTheStoreIsGone) {
  bool told = false;
  client_->range({.keys = etcd::Keys::prefix(key("nodes/"))}, {}, [&](const auto&) { told = true; });
  client_->txn({.compare = {Compare::absent(key("alive/a"))}, .then = {}, .otherwise = {}}, {},
               [&](const auto&) { told = true; });
  client_.reset();
  world_.run_for(seconds(1));
  EXPECT_FALSE(told);
}

}  // namespace
}  // namespace weft::crd::testing
