#include "sources/store/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "sources/store/schema.h"
#include "sources/store/sqlite.h"

namespace weft::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

std::chrono::sys_seconds at(int seconds) { return std::chrono::sys_seconds(std::chrono::seconds(seconds)); }

EndpointRecord endpoint(const std::string& container, const std::string& address) {
  EndpointRecord record;
  record.key = {container, "eth0"};
  record.netns_path = "/run/netns/" + container;
  record.netns_cookie = 0xffff'ffff'ffff'fff0;
  record.netns_inode = 4026532000;
  record.namespace_ = "shop";
  record.pod = "web-0";
  record.network = "weft";
  record.endpoint_id = 4'000'000'000;
  record.device = "wfabc";
  record.ifindex = 12;
  record.mac = MacAddress::parse("02:00:0a:00:00:05").value();
  record.addresses = {ip(address), ip("fd00::5")};
  record.labels = {{"container:name", "d\"b\n"}, {"container:empty", ""}};
  record.generation = 3;
  record.port_mappings = {{std::nullopt, 8080, 80, Protocol::tcp},
                          {ip("10.0.0.1"), 5353, 53, Protocol::udp},
                          {ip("fd00::1"), 1, 65535, Protocol::sctp}};
  record.created = std::chrono::system_clock::time_point(std::chrono::nanoseconds(1'700'000'000'123'456'789));
  return record;
}

std::string content(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() {
    std::string pattern = (fs::temp_directory_path() / "weft-store-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    path_ = (directory_ / "state.db").string();
  }
  ~StoreTest() override { fs::remove_all(directory_); }

  [[nodiscard]] Store open() const {
    auto store = Store::open(path_);
    if (!store) throw std::runtime_error(store.error().message);
    return std::move(*store);
  }
  [[nodiscard]] Error open_error() const {
    auto store = Store::open(path_);
    return store ? Error{ErrorCode::internal, "it opened", ""} : store.error();
  }
  void write_file(std::string_view bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }
  // Changes the file behind the store's back.
  void sql(const std::string& text) const {
    auto connection = Connection::open(path_);
    ASSERT_TRUE(connection && connection->run(text));
  }

  fs::path directory_;
  std::string path_;
};

std::vector<StoredObject> all_objects(Store& store) {
  std::vector<StoredObject> objects;
  for (const auto kind : {model::Kind::pod, model::Kind::service})
    EXPECT_TRUE(store.each_object(kind, [&](StoredObject object) {
      objects.push_back(std::move(object));
      return Result<void>();
    }));
  return objects;
}

TEST_F(StoreTest, CreatesDirectoriesAndProtectsThem) {
  path_ = (directory_ / "a" / "b" / "state.db").string();
  const auto store = open();
  EXPECT_EQ(fs::status(path_).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(fs::status(directory_ / "a" / "b").permissions(), fs::perms::owner_all);
}

TEST_F(StoreTest, ObjectsSurviveReopening) {
  const StoredObject web{model::Kind::service, {"shop", "web"}, R"({"kind":"Service"})", 7};
  const StoredObject pod{model::Kind::pod, {"shop", "web-0"}, "{}", 8};
  {
    auto store = open();
    ASSERT_TRUE(store.apply({web, pod}, {}));
    ASSERT_TRUE(store.apply({}, {{model::Kind::pod, {"shop", "not-there"}}}, Sync::later));
    ASSERT_TRUE(store.flush());
  }
  auto store = open();
  EXPECT_THAT(all_objects(store), ElementsAre(pod, web));
  auto changed = web;
  changed.revision = 9;
  changed.json = std::string("with\0nul", 8);
  ASSERT_TRUE(store.apply({changed}, {{model::Kind::pod, {"shop", "web-0"}}, {model::Kind::service, {"shop", "web"}}}));
  EXPECT_THAT(all_objects(store), ElementsAre(changed));
}

TEST_F(StoreTest, ObjectsAreReadOneByOne) {
  auto store = open();
  const StoredObject web{model::Kind::service, {"shop", "web"}, "{1}", 7};
  const StoredObject api{model::Kind::service, {"shop", "api"}, "{2}", 9};
  const StoredObject db{model::Kind::service, {"base", "db"}, "{3}", 8};
  const StoredObject pod{model::Kind::pod, {"shop", "web"}, "{4}", 3};
  const StoredObject space{model::Kind::namespace_, {"", "shop"}, "{5}", 2};
  EXPECT_EQ(store.object_tally()->highest_revision, 0U);
  ASSERT_TRUE(store.apply({web, api, db, pod, space}, {}));
  EXPECT_EQ(store.object({model::Kind::service, {"shop", "web"}}).value(), web);
  EXPECT_EQ(store.object({model::Kind::deployment, {"shop", "web"}}).value(), std::nullopt);
  EXPECT_TRUE(store.has_object({model::Kind::pod, {"shop", "web"}}).value());
  EXPECT_FALSE(store.has_object({model::Kind::pod, {"shop", "api"}}).value());
  EXPECT_THAT(all_objects(store), ElementsAre(pod, db, api, web));
  EXPECT_THAT(store.object_keys(model::Kind::service).value(),
              ElementsAre(StoredKey{db.kind, db.key}, StoredKey{api.kind, api.key}, StoredKey{web.kind, web.key}));
  EXPECT_THAT(store.object_keys(model::Kind::service, "shop").value(),
              ElementsAre(StoredKey{api.kind, api.key}, StoredKey{web.kind, web.key}));
  const auto tally = store.object_tally().value();
  EXPECT_EQ(tally.highest_revision, 9U);
  EXPECT_EQ(tally.namespaces, (std::map<std::string, std::size_t>{{"", 1}, {"base", 1}, {"shop", 3}}));
  // The visitor's own error ends it as it is.
  int seen = 0;
  const auto ended = store.each_object(model::Kind::service, [&](const StoredObject&) {
    ++seen;
    return Result<void>(fail(ErrorCode::invalid, "enough"));
  });
  EXPECT_EQ(ended.error().message, "enough");
  EXPECT_EQ(seen, 1);
}

TEST_F(StoreTest, AnObjectOfAKindNobodyKnowsIsAnErrorThatNamesIt) {
  ASSERT_TRUE(open().apply({{model::Kind::service, {"shop", "web"}, "{}", 7}}, {}));
  sql("UPDATE object SET kind = 'Gadget'");
  auto store = open();
  const auto tally = store.object_tally();
  ASSERT_FALSE(tally);
  EXPECT_THAT(tally.error().message, HasSubstr(path_ + ": row \"web\" of table object"));
}

// Opening looks at the structure of the pages; here the file goes bad while it is open. What cannot be read is an
// error that says which object, and the others can be read.
TEST_F(StoreTest, ARowThatCannotBeReadIsAnErrorThatNamesIt) {
  auto store = open();
  std::vector<StoredObject> objects;
  for (int i = 0; i < 2000; ++i)
    objects.push_back({model::Kind::service, {"ns", fmt::format("service-{:04}", i)}, std::string(3000, 'j'), 1});
  ASSERT_TRUE(store.apply(objects, {}));
  ASSERT_TRUE(store.checkpoint());
  auto bad = content(path_);
  for (std::size_t i = bad.size() / 2; i < bad.size(); ++i) bad[i] = '\x5a';
  {
    // In place: the store has this file open.
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.write(bad.data(), static_cast<std::streamsize>(bad.size()));
  }
  int unread = 0;
  for (const auto& object : objects) {
    const auto read = store.object({object.kind, object.key});
    if (read && *read == object) continue;
    ++unread;
    ASSERT_FALSE(read) << "lost without a word: " << object.key.name;
    EXPECT_THAT(read.error().message, HasSubstr("stored Service ns/" + object.key.name));
  }
  EXPECT_GT(unread, 100);
  EXPECT_LT(unread, 2000);
  const auto visited = store.each_object(model::Kind::service, [](const StoredObject&) { return Result<void>(); });
  ASSERT_FALSE(visited);
  EXPECT_THAT(visited.error().message, HasSubstr("stored "));
}

TEST_F(StoreTest, EndpointsKeepEveryField) {
  auto first = endpoint("c1", "10.0.0.5");
  auto second = endpoint("c2", "10.0.0.6");
  {
    auto store = open();
    ASSERT_TRUE(store.put_endpoint(second));
    ASSERT_TRUE(store.put_endpoint(first, {{ip("10.0.0.5"), first.key.owner()}}));
    first.state = EndpointState::ready;
    first.acknowledged = true;
    first.result = R"({"ips":[]})";
    ASSERT_TRUE(store.put_endpoint(first));
  }
  auto store = open();
  EXPECT_THAT(store.endpoints().value(), ElementsAre(first, second));
  EXPECT_EQ(store.endpoint(first.key).value(), first);
  EXPECT_EQ(store.endpoint({"c1", "eth1"}).value(), std::nullopt);
  EXPECT_THAT(store.allocations().value(), ElementsAre(AllocationRow{ip("10.0.0.5"), "c1/eth0"}));
}

TEST_F(StoreTest, DeletingAnEndpointQuarantinesItsAddresses) {
  auto store = open();
  const auto record = endpoint("c1", "10.0.0.5");
  ASSERT_TRUE(store.put_endpoint(record, {{ip("10.0.0.5"), "c1/eth0"}, {ip("fd00::5"), "c1/eth0"}}));
  ASSERT_TRUE(store.write(AddressChange{.allocated = {{ip("10.0.0.1"), "reserved:gateway"}}}));
  ASSERT_TRUE(store.delete_endpoint(record.key, {{ip("10.0.0.5"), at(100)}}));
  EXPECT_THAT(store.endpoints().value(), IsEmpty());
  EXPECT_THAT(store.allocations().value(), ElementsAre(AllocationRow{ip("10.0.0.1"), "reserved:gateway"}));
  EXPECT_THAT(store.quarantine().value(), ElementsAre(QuarantineRow{ip("10.0.0.5"), at(100)}));
  ASSERT_TRUE(store.delete_endpoint(record.key));  // repeatable
  // Taking the address again ends its quarantine.
  ASSERT_TRUE(store.put_endpoint(endpoint("c2", "10.0.0.5"), {{ip("10.0.0.5"), "c2/eth0"}}));
  EXPECT_THAT(store.quarantine().value(), IsEmpty());
  ASSERT_TRUE(store.write(AddressChange{.released = {ip("10.0.0.5")}, .quarantined = {{ip("10.0.0.5"), at(9)}}}));
  ASSERT_TRUE(store.write(AddressChange{.quarantine_over = {ip("10.0.0.5")}}));
  EXPECT_THAT(store.quarantine().value(), IsEmpty());
  EXPECT_THAT(store.allocations().value(), ElementsAre(AllocationRow{ip("10.0.0.1"), "reserved:gateway"}));
}

TEST_F(StoreTest, AnAddressHasOneOwnerAndARefusedWriteLeavesNothing) {
  auto store = open();
  ASSERT_TRUE(store.put_endpoint(endpoint("c1", "10.0.0.5"), {{ip("10.0.0.5"), "c1/eth0"}}));
  auto refused =
      store.put_endpoint(endpoint("c2", "10.0.0.5"), {{ip("10.0.0.6"), "c2/eth0"}, {ip("10.0.0.5"), "c2/eth0"}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::exists);
  EXPECT_THAT(refused.error().message, HasSubstr("10.0.0.5: c1/eth0 holds it"));
  EXPECT_THAT(store.allocations().value(), ElementsAre(AllocationRow{ip("10.0.0.5"), "c1/eth0"}));
  EXPECT_EQ(store.endpoints().value().size(), 1U);
}

TEST_F(StoreTest, LabelsThatAreNotTextAreRefused) {
  auto store = open();
  auto record = endpoint("c1", "10.0.0.5");
  record.labels["container:name"] = "\xff\xfe";
  EXPECT_EQ(store.put_endpoint(record).error().code, ErrorCode::invalid);
}

NumberSet some_numbers() {
  NumberSet set;
  set.identities = {{256, {{"k8s:app", "web"}}}, {257, {}}};
  set.cidr_identities = {{Cidr::parse("10.0.0.0/8").value(), 1U << 24}, {Cidr::parse("fd00::/8").value(), 5}};
  set.rules = {{1, R"({"policy":"a/b"})"}};
  return set;
}

TEST_F(StoreTest, NumbersSurviveAndChange) {
  auto wanted = some_numbers();
  ASSERT_TRUE(open().write(difference({}, wanted)));
  EXPECT_EQ(open().numbers().value(), wanted);
  auto next = wanted;
  next.identities.erase(257);
  next.identities[256]["k8s:tier"] = "front";
  next.cidr_identities.erase(next.cidr_identities.begin());
  next.rules = {};
  ASSERT_TRUE(open().write(difference(wanted, next)));
  EXPECT_EQ(open().numbers().value(), next);
  EXPECT_TRUE(difference(next, next).empty());
  ASSERT_TRUE(open().write(difference(next, {})));
  EXPECT_EQ(open().numbers().value(), NumberSet{});
}

TEST_F(StoreTest, AssignmentsSurviveAndChange) {
  ASSERT_TRUE(open().write({{{"shop", "web"}, "{}"}, {{"shop", "api"}, "{1}"}}));
  ASSERT_TRUE(open().write({{{"shop", "web"}, std::nullopt}, {{"shop", "api"}, "{2}"}}, Sync::later));
  std::map<model::ObjectKey, std::string> rows;
  ASSERT_TRUE(open().each_assignment([&](model::ObjectKey service, std::string value) {
    rows.emplace(std::move(service), std::move(value));
    return Result<void>();
  }));
  EXPECT_EQ(rows, (std::map<model::ObjectKey, std::string>{{{"shop", "api"}, "{2}"}}));
}

TEST_F(StoreTest, Settings) {
  {
    auto store = open();
    EXPECT_EQ(store.get("epoch").value(), std::nullopt);
    ASSERT_TRUE(store.set("epoch", "41"));
    ASSERT_TRUE(store.set("epoch", "42"));
    ASSERT_TRUE(store.set("empty", {}));
    ASSERT_TRUE(store.checkpoint());
  }
  auto store = open();
  EXPECT_EQ(store.get("epoch").value(), "42");
  EXPECT_EQ(store.get("empty").value(), "");
  ASSERT_TRUE(store.unset("epoch"));
  EXPECT_EQ(store.get("epoch").value(), std::nullopt);
}

TEST_F(StoreTest, InMemory) {
  auto store = Store::open(":memory:").value();
  ASSERT_TRUE(store.flush());
  ASSERT_TRUE(store.set("a", "b"));
  EXPECT_EQ(store.get("a").value(), "b");
  EXPECT_FALSE(fs::exists(":memory:"));
}

// --- What must be refused -----------------------------------------------------------------------

TEST_F(StoreTest, AFileThatIsNoDatabaseIsLeftAlone) {
  for (const auto& bytes : {std::string("x"), std::string(5000, 'y'), std::string("SQLite format 3\0short", 21)}) {
    write_file(bytes);
    const auto error = open_error();
    EXPECT_EQ(error.code, ErrorCode::invalid);
    EXPECT_THAT(error.message, HasSubstr(path_ + ": is not an SQLite database"));
    EXPECT_EQ(content(path_), bytes);
  }
}

TEST_F(StoreTest, AnotherProgramsDatabaseIsLeftAlone) {
  write_file("");
  sql("CREATE TABLE bookmark(x)");
  const auto before = content(path_);
  EXPECT_THAT(open_error().message, HasSubstr(path_ + ": is the database of another program"));
  EXPECT_EQ(content(path_), before);
}

TEST_F(StoreTest, ADirectoryOrAnUnusableParentIsAnError) {
  fs::create_directory(path_);
  EXPECT_THAT(open_error().message, HasSubstr(path_));
  write_file("");
  path_ = (directory_ / "file" / "state.db").string();
  std::ofstream(directory_ / "file") << "x";
  EXPECT_THAT(open_error().message, HasSubstr(path_));
  path_.clear();
  EXPECT_EQ(open_error().code, ErrorCode::invalid);
}

TEST_F(StoreTest, ANewerLayoutIsRefusedAndKept) {
  ASSERT_TRUE(open().set("a", "b"));
  sql("PRAGMA user_version = 1000");
  const auto error = open_error();
  EXPECT_EQ(error.code, ErrorCode::unsupported);
  EXPECT_THAT(error.message, HasSubstr(path_ + ": its layout has version 1000"));
  sql("PRAGMA user_version = " + std::to_string(schema_steps().size()));
  EXPECT_EQ(open().get("a").value(), "b");
}

// Every page of a full store is damaged in turn: opening either says so or the rows read back are
// errors or the right ones, never a crash and never other rows.
TEST_F(StoreTest, DamageIsReported) {
  {
    auto store = open();
    std::vector<StoredObject> objects;
    for (int i = 0; i < 200; ++i)
      objects.push_back({model::Kind::pod, {"ns", "pod" + std::to_string(i)}, std::string(500, 'j'), 1});
    ASSERT_TRUE(store.apply(objects, {}));
  }
  const auto good = content(path_);
  ASSERT_GT(good.size(), 40'000U);
  std::mt19937 random(1);
  int refused = 0;
  for (std::size_t page = 0; page < good.size(); page += 4096) {
    auto bad = good;
    // The first page's file header (100 bytes) is another test's matter.
    for (std::size_t i = page == 0 ? 100 : 0; i < 200; ++i) bad[page + i] = static_cast<char>(random());
    write_file(bad);
    auto store = Store::open(path_);
    if (!store) {
      ++refused;
      EXPECT_THAT(store.error().message, HasSubstr(path_));
      EXPECT_EQ(content(path_), bad);
    }
    fs::remove(path_ + "-wal");
  }
  EXPECT_GT(refused, 20);
  write_file(good.substr(0, good.size() / 2));
  EXPECT_THAT(open_error().message, HasSubstr(path_));
}

TEST_F(StoreTest, ARowThatDoesNotDecodeNamesItself) {
  ASSERT_TRUE(open().put_endpoint(endpoint("c1", "10.0.0.5"), {{ip("10.0.0.5"), "c1/eth0"}}));
  for (const char* change :
       {"mac = 'zz'", "addresses = '10.0.0.5,'||'x'", "labels = '[1]'", "labels = '{'", "state = 'odd'"}) {
    sql(std::string("UPDATE endpoint SET ") + change);
    auto records = open().endpoints();
    ASSERT_FALSE(records) << change;
    EXPECT_THAT(records.error().message, HasSubstr("row \"c1/eth0\" of table endpoint"));
    ASSERT_TRUE(open().put_endpoint(endpoint("c1", "10.0.0.5")));
  }
  sql("UPDATE allocation SET address = 'nowhere'");
  EXPECT_THAT(open().allocations().error().message, HasSubstr("row \"nowhere\" of table allocation"));
}

// Runs `work` in a child; true when it returned true.
template <class Work>
bool in_child(Work&& work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work() ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_F(StoreTest, OneProcessAtATime) {
  auto store = open();
  EXPECT_TRUE(in_child([&] {
    auto second = Store::open(path_);
    return !second && second.error().code == ErrorCode::unavailable &&
           second.error().message.find("another process (PID " + std::to_string(::getppid()) + ")") !=
               std::string::npos;
  }));
  ASSERT_TRUE(store.set("still", "works"));
}

TEST_F(StoreTest, AReadOnlyPlaceIsAnErrorThatNamesIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  ASSERT_TRUE(open().set("a", "b"));
  // As somebody who may read everything here and write nothing.
  fs::permissions(directory_, fs::perms(0755));
  fs::permissions(path_, fs::perms(0644));
  const auto refused_to_nobody = [&] {
    return in_child([&] {
      if (::setgid(65534) != 0 || ::setuid(65534) != 0) return false;
      auto store = Store::open(path_);
      return !store && store.error().code == ErrorCode::denied && store.error().message.starts_with(path_);
    });
  };
  EXPECT_TRUE(refused_to_nobody());
  path_ = (directory_ / "new" / "state.db").string();
  EXPECT_TRUE(refused_to_nobody());
  path_ = (directory_ / "state2.db").string();
  EXPECT_TRUE(refused_to_nobody());
  EXPECT_FALSE(fs::exists(path_));
}

TEST_F(StoreTest, StepsRunOnceEachAndAFailedOneLeavesTheVersion) {
  write_file("");
  auto connection = Connection::open(path_).value();
  const std::array<const char*, 1> first{"CREATE TABLE a(x)"};
  const std::array<const char*, 3> broken{"CREATE TABLE a(x)", "CREATE TABLE b(x)", "INSERT INTO b VALUES(1); oops"};
  const std::array<const char*, 3> whole{"CREATE TABLE a(x)", "CREATE TABLE b(x)", "INSERT INTO b VALUES(2)"};
  ASSERT_TRUE(migrate(connection, first));
  ASSERT_TRUE(migrate(connection, first));
  ASSERT_FALSE(migrate(connection, broken));
  EXPECT_EQ(connection.number("PRAGMA user_version").value(), 2);
  EXPECT_EQ(connection.number("SELECT count(*) FROM b").value(), 0);
  ASSERT_TRUE(migrate(connection, whole));
  EXPECT_EQ(connection.number("SELECT sum(x) FROM b").value(), 2);
  EXPECT_EQ(migrate(connection, first).error().code, ErrorCode::unsupported);
}

TEST_F(StoreTest, ClusterIpsOfTheFirstLayoutBecomeAssignments) {
  {
    write_file("");
    auto connection = Connection::open(path_).value();
    ASSERT_TRUE(migrate(connection, schema_steps().first(1)));
    ASSERT_TRUE(
        connection.run("INSERT INTO cluster_ip VALUES('shop', 'web', '10.96.0.2,fd96::2'), ('shop', 'none', '')"));
    ASSERT_TRUE(migrate(connection, schema_steps()));
    EXPECT_EQ(connection.number("SELECT count(*) FROM assignment").value(), 1);
    EXPECT_EQ(
        connection.number("SELECT count(*) FROM assignment WHERE json_extract(value, '$.clusterIPs[1]') = 'fd96::2'")
            .value(),
        1);
  }
}

TEST_F(StoreTest, EndpointsOfTheSecondLayoutHaveNoPortMappings) {
  {
    write_file("");
    auto connection = Connection::open(path_).value();
    ASSERT_TRUE(migrate(connection, schema_steps().first(2)));
    ASSERT_TRUE(
        connection.run("INSERT INTO endpoint VALUES('c1', 'eth0', '/run/netns/a', 7, 8, 'shop', 'web-0', 'weft', 2, "
                       "'ready', 1, 'weft1', "
                       "12, '02:00:0a:00:00:05', '10.0.0.5', '{}', '{}', 1, 1700000000000000000)"));
    ASSERT_TRUE(migrate(connection, schema_steps()));
    EXPECT_EQ(connection.number("SELECT count(*) FROM endpoint WHERE port_mappings = ''").value(), 1);
  }
}

TEST_F(StoreTest, ADamagedPortMappingIsNamed) {
  for (const auto* wrong : {"8080", "0:80/TCP", "8080:0/TCP", "8080:80/TCP@nowhere", "70000:80/TCP", ","}) {
    path_ = (directory_ / "ports.db").string();
    fs::remove(path_);
    ASSERT_TRUE(open().put_endpoint(endpoint("c1", "10.0.0.5")));
    sql(std::string("UPDATE endpoint SET port_mappings = '") + wrong + "'");
    const auto records = open().endpoints();
    ASSERT_FALSE(records) << wrong;
    EXPECT_THAT(records.error().message, HasSubstr("c1/eth0"));
  }
}

// --- kill -9 ------------------------------------------------------------------------------------

// Attaches and detaches for ever. Before each write it says through the pipe which round begins,
// after it which ended.
[[noreturn]] void write_until_killed(const std::string& path, int pipe) {
  auto store = Store::open(path);
  if (!store) ::_exit(2);
  const auto last = store->get("round").value_or(std::nullopt).value_or("0");
  for (int round = std::stoi(last) + 1;; ++round) {
    const auto name = "c" + std::to_string(round % 50);
    auto record = endpoint(name, "10.0.0." + std::to_string(round % 50));
    record.generation = static_cast<std::uint64_t>(round);
    bool good = !!store->put_endpoint(record, {{record.addresses[0], record.key.owner()}});
    good = good && store->set("round", std::to_string(round));
    const StoredObject pod{model::Kind::pod, {"ns", name}, std::string(3000, 'x'), static_cast<std::uint64_t>(round)};
    const StoredObject service{model::Kind::service, {"ns", name}, "y", pod.revision};
    good = good && store->apply({pod, service}, {});
    if (round % 3 == 0) good = good && store->delete_endpoint(record.key, {{record.addresses[0], at(round)}});
    if (round % 20 == 0) good = good && store->checkpoint();
    if (!good || ::write(pipe, &round, sizeof round) != sizeof round) ::_exit(3);
  }
}

// What holds between any two transactions of write_until_killed.
void check_invariants(Store& store, int last_whole_round) {
  const int round = std::stoi(store.get("round").value().value_or("0"));
  EXPECT_GE(round, last_whole_round) << "a committed round is lost";
  EXPECT_LE(round, last_whole_round + 1);
  std::map<std::string, IpAddress> owners;
  const auto allocations = store.allocations().value();
  const auto quarantine = store.quarantine().value();
  for (const auto& row : allocations) owners[row.owner] = row.address;
  const auto records = store.endpoints().value();
  EXPECT_EQ(owners.size(), records.size()) << "an address without an endpoint or the reverse";
  for (const auto& record : records) {
    EXPECT_EQ(owners[record.key.owner()], record.addresses[0]);
    for (const auto& row : quarantine) EXPECT_NE(row.address, record.addresses[0]);
  }
  std::map<std::string, std::uint64_t> pods;
  const auto objects = all_objects(store);
  for (const auto& object : objects)
    if (object.kind == model::Kind::pod) pods[object.key.name] = object.revision;
  EXPECT_EQ(objects.size(), 2 * pods.size()) << "half of an apply";
  for (const auto& object : objects) EXPECT_EQ(object.revision, pods[object.key.name]);
}

TEST_F(StoreTest, NothingCommittedIsLostAndNothingIsHalfWhenKilled) {
  std::mt19937 random(7);
  int last_whole_round = 0;
  for (int kill_number = 0; kill_number < 30; ++kill_number) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) write_until_killed(path_, ends[1]);
    ::close(ends[1]);
    // Killed at a random instant after a random number of rounds.
    int round = 0;
    for (auto left = random() % 20 + 1; left > 0 && ::read(ends[0], &round, sizeof round) == sizeof round; --left)
      last_whole_round = round;
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer failed by itself: " << WEXITSTATUS(status);
    while (::read(ends[0], &round, sizeof round) == sizeof round) last_whole_round = round;
    ::close(ends[0]);
    auto store = open();
    check_invariants(store, last_whole_round);
    if (HasFailure()) FAIL() << "after kill " << kill_number;
  }
  EXPECT_GT(last_whole_round, 30);
}

}  // namespace
}  // namespace weft::store
