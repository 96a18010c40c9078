// Random changes to Services, slices, pods, pools, health and the node; after each, the maps that the deltas have
// written are read the way the datapath reads them and compared with a slow and direct reading of the rules.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "control/services/services.h"
#include "control/services/testing.h"
#include "control/services/testing_model.h"

namespace weft::control {
namespace {

using testing::Frontends;
using testing::Maps;
using testing::Meaning;
using testing::Model;
using testing::text;
using testing::World;

IpAddress address_of(const weft_addr& addr) {
  IpAddress::Bytes bytes{};
  std::memcpy(bytes.data(), &addr, bytes.size());
  return IpAddress(bytes);
}
std::string text(const weft_addr& addr, std::uint16_t network_port) {
  return text(address_of(addr), ntohs(network_port));
}

// Through frontend, slot and backend rows, as the datapath goes.
std::map<std::string, Meaning> as_read(const Maps& maps, const ServiceCompiler& compiler) {
  std::map<std::string, Meaning> result;
  for (const auto& [key, row] : maps.frontends) {
    auto& meaning = result[text(key.addr, key.port) + "/" + to_string(static_cast<Protocol>(key.protocol))];
    meaning.flags = row.flags;
    meaning.affinity = row.affinity_seconds;
    meaning.algorithm = row.algorithm;
    const auto* owner = compiler.by_id(row.service_id);
    if (owner == nullptr) {
      ADD_FAILURE() << "a frontend of nobody";
      continue;
    }
    meaning.owner = owner->service;
    const auto read = [&](std::uint32_t first, std::uint32_t count, std::map<std::string, std::uint32_t>& to) {
      for (std::uint32_t i = 0; i < count; ++i) {
        const auto& backend = maps.backends.at(maps.slots.at(first + i));
        EXPECT_EQ(backend.protocol, key.protocol);
        EXPECT_EQ(backend.state, WEFT_BACKEND_ACTIVE);
        EXPECT_EQ(backend.service_id, row.service_id);
        ++to[text(backend.addr, backend.port)];
      }
      if (row.algorithm >= WEFT_ALGORITHM_LEAST_CONNECTIONS)
        for (auto& [name, slots] : to) slots = 1;
    };
    read(row.first_slot, row.slot_count, meaning.internal);
    read(row.external_first_slot, row.external_slot_count, meaning.external);
    if ((row.flags & WEFT_SERVICE_SOURCE_RANGES) == 0) continue;
    for (const auto& range : maps.ranges)
      if (range.service_id == row.service_id) {
        const auto address = address_of(range.addr);
        meaning.ranges.insert(Cidr(address, range.prefix_length - 32 - (address.is_v4() ? 96 : 0)).to_string());
      }
  }
  return result;
}

std::string describe(const Meaning& meaning) {
  std::string result = fmt::format("{} flags {} affinity {} algorithm {} internal", meaning.owner.to_string(),
                                   meaning.flags, meaning.affinity, meaning.algorithm);
  for (const auto& [name, slots] : meaning.internal) result += fmt::format(" {}x{}", name, slots);
  result += " external";
  for (const auto& [name, slots] : meaning.external) result += fmt::format(" {}x{}", name, slots);
  for (const auto& range : meaning.ranges) result += " from " + range;
  return result;
}

// One of those who want it; the one who had it as long as he wants it.
void compare(const Frontends& expected, const std::map<std::string, Meaning>& actual,
             std::map<std::string, Meaning>& last) {
  for (const auto& [name, meaning] : actual) EXPECT_TRUE(expected.contains(name)) << name << " is not wanted";
  for (const auto& [name, wanted] : expected) {
    const auto found = actual.find(name);
    if (found == actual.end()) {
      ADD_FAILURE() << name << " is missing";
      continue;
    }
    EXPECT_TRUE(std::ranges::find(wanted, found->second) != wanted.end())
        << name << " of " << found->second.owner.to_string() << " means " << describe(found->second) << ", not "
        << describe(wanted.front());
    const auto before = last.find(name);
    if (before == last.end()) continue;
    for (const auto& meaning : wanted)
      if (meaning.owner == before->second.owner) {
        EXPECT_EQ(found->second.owner, meaning.owner) << name << " changed hands";
      }
  }
  last = actual;
}

// What is written now does not touch what the rows of the step before still lead to.
void check_old_rows(const Maps& before, const Maps& now) {
  for (const auto& [key, row] : before.frontends)
    for (const auto& [first, count] :
         {std::pair(row.first_slot, row.slot_count), std::pair(row.external_first_slot, row.external_slot_count)})
      for (std::uint32_t i = first; i < first + count; ++i) {
        ASSERT_EQ(now.slots.at(i), before.slots.at(i));
        const auto& old = before.backends.at(before.slots.at(i));
        const auto& backend = now.backends.at(before.slots.at(i));
        if (backend.state == WEFT_BACKEND_GONE) continue;
        EXPECT_EQ(text(backend.addr, backend.port), text(old.addr, old.port));
        EXPECT_EQ(backend.service_id, old.service_id);
      }
}

std::vector<std::uint64_t> expected_words(const Maps& maps) {
  std::vector<std::uint64_t> words(WEFT_PORTS_WORDS);
  for (const auto& [key, row] : maps.frontends) {
    if ((row.flags & WEFT_SERVICE_EXTERNAL) == 0) continue;
    const auto index = weft_port_protocol(key.protocol);
    const auto port = ntohs(key.port);
    const auto address = address_of(key.addr);
    words[weft_port_word(WEFT_PORTS_DEVICE, index, port)] |= std::uint64_t{1} << (port & 63U);
    if (address == IpAddress() || address == IpAddress::v4(0))
      words[weft_port_word(WEFT_PORTS_NODE, index, port)] |= std::uint64_t{1} << (port & 63U);
  }
  return words;
}

class Chance {
 public:
  explicit Chance(unsigned seed) : random_(seed) {}
  unsigned below(unsigned end) { return static_cast<unsigned>(random_()) % end; }
  bool one_in(unsigned count) { return below(count) == 0; }
  std::string pick(std::initializer_list<const char*> choices) {
    return *(choices.begin() + below(static_cast<unsigned>(choices.size())));
  }
  LabelMap labels() {
    LabelMap result{{"app", pick({"a", "b", "c"})}};
    if (one_in(2)) result["tier"] = pick({"x", "y"});
    return result;
  }
  Protocol protocol() { return std::array{Protocol::tcp, Protocol::udp, Protocol::sctp}[below(3)]; }
  IpAddress address(Family family) {
    return family == Family::v4 ? IpAddress::v4(0x0a000000U + below(40))
                                : IpAddress::parse(fmt::format("fd00::{}", below(40) + 1)).value();
  }
  std::uint32_t weight() { return std::array{1U, 1U, 1U, 0U, 2U, 6U}[below(6)]; }

  model::Service service() {
    using Type = model::Service::Type;
    model::Service service;
    service.meta.namespace_ = pick({"one", "two"});
    service.meta.name = pick({"s0", "s1", "s2", "s3", "s4", "s5"});
    if (!one_in(3)) service.selector = labels();
    service.headless = one_in(12);
    service.type = std::array{Type::cluster_ip, Type::cluster_ip, Type::node_port, Type::load_balancer}[below(4)];
    if (one_in(20)) service.type = Type::external_name;
    if (service.headless) service.type = Type::cluster_ip;
    if (one_in(20)) service.proxy_name = "other";
    service.publish_not_ready = one_in(5);
    service.internal_local = one_in(3);
    service.external_local = one_in(3);
    service.allocate_node_ports = !one_in(4);
    service.affinity_seconds = below(2) * 100;
    service.family_policy = static_cast<model::Service::FamilyPolicy>(below(3));
    if (one_in(3)) service.algorithm = static_cast<model::Algorithm>(below(5));
    if (one_in(4)) service.external_ips = {IpAddress::v4(0xc0000200U + below(4))};
    if (one_in(8)) service.external_ips.push_back(IpAddress::parse("fd05::1").value());
    if (one_in(6)) service.ingress = {{IpAddress::v4(0xc0000200U + below(4)), one_in(3)}};
    if (one_in(4)) service.source_ranges = {Cidr::parse(pick({"192.0.2.0/24", "0.0.0.0/0", "fd01::/64"})).value()};
    if (one_in(4)) service.sharing_key = "shared";
    if (one_in(5)) service.local_redirect = labels();
    const auto count = below(3) + 1;
    for (unsigned i = 0; i < count; ++i) {
      auto port = testing::port(static_cast<std::uint16_t>(80 + i), std::uint16_t{0},
                                std::array{"http", "dns", "sctp"}[i], protocol());
      if (one_in(2))
        port.target_port = static_cast<std::uint16_t>(8000 + below(3));
      else
        port.target_port = pick({"http", "dns"});
      service.ports.push_back(port);
    }
    return service;
  }

  model::EndpointSlice slice() {
    model::EndpointSlice slice;
    slice.meta.namespace_ = pick({"one", "two"});
    slice.meta.name = pick({"e0", "e1", "e2", "e3"});
    slice.meta.labels["kubernetes.io/service-name"] = pick({"s0", "s1", "s2", "s3"});
    slice.family = one_in(3) ? Family::v6 : Family::v4;
    slice.ports = {{"http", protocol(), 8000}, {"dns", protocol(), 5353}};
    const bool hinted = one_in(2);
    for (auto left = below(5); left > 0; --left) {
      model::SliceEndpoint endpoint;
      endpoint.addresses = {address(slice.family)};
      endpoint.ready = one_in(2);
      endpoint.serving = one_in(2);
      endpoint.terminating = one_in(2);
      endpoint.node = pick({"", "n0", "n1"});
      endpoint.weight = weight();
      if (hinted && !one_in(5)) endpoint.hint_zones = {pick({"east", "west"})};
      if (hinted && one_in(2)) endpoint.hint_nodes = {pick({"n0", "n1"})};
      slice.endpoints.push_back(endpoint);
    }
    return slice;
  }

  ServicePod pod(int number) {
    ServicePod pod;
    pod.key = {pick({"one", "two"}), fmt::format("p{}", number)};
    pod.labels = labels();
    pod.ready = !one_in(4);
    pod.terminating = one_in(5);
    pod.weight = weight();
    if (!one_in(8)) pod.addresses.push_back(address(Family::v4));
    if (one_in(2)) pod.addresses.push_back(address(Family::v6));
    if (one_in(2)) pod.ports.push_back({"http", static_cast<std::uint16_t>(8000 + below(3)), protocol(), 0, {}});
    if (one_in(2)) pod.ports.push_back({"dns", 53, protocol(), 0, {}});
    if (one_in(5)) {
      HostPort mapping{{}, static_cast<std::uint16_t>(9000 + below(3)), 53, protocol()};
      if (one_in(3)) mapping.host_ip = IpAddress::v4(0xc0000200U + below(4));
      pod.host_ports = {mapping};
    }
    return pod;
  }

 private:
  std::mt19937 random_;
};

// Changes the world and tells the compiler.
class Driver {
 public:
  Driver(unsigned seed, ServiceCompiler& compiler) : chance(seed), compiler_(&compiler) {}

  void follow(ServiceCompiler& compiler) {
    compiler_ = &compiler;
    compiler.set_node(world.node);
    for (const auto& [name, pool] : world.pools) compiler.upsert(pool);
    for (const auto& [key, pod] : world.pods) compiler.upsert(pod);
    for (const auto& [key, slice] : world.slices) compiler.upsert(slice);
    for (const auto& [key, service] : world.services) compiler.upsert(service);
    for (const auto& one : world.unhealthy) set_healthy(one, false);
  }

  void change() {
    switch (chance.below(10)) {
      case 0:
      case 1:
      case 2:
        return change_service();
      case 3:
      case 4:
        return change_slice();
      case 5:
        return change_rest();
      default:
        return change_pod();
    }
  }

  World world;
  Chance chance;

 private:
  void set_healthy(const std::string& name, bool healthy) {
    const auto colon = name.rfind(':');
    const auto port = PortProtocol::parse(name.substr(colon + 1)).value();
    compiler_->set_healthy(IpAddress::parse(name.substr(0, colon)).value(), port.port, port.protocol, healthy);
  }

  void change_service() {
    const auto service = chance.service();
    const auto key = service.meta.key();
    if (chance.one_in(4)) {
      world.services.erase(key);
      compiler_->forget(key);
      compiler_->erase_service(key);
      return;
    }
    const auto held = compiler_->held(key);
    const auto given = compiler_->assign(service);
    ASSERT_TRUE(given) << given.error().message;
    if (chance.one_in(10)) return compiler_->restore(key, held);  // refused further on
    world.services[key] = service;
    compiler_->upsert(service);
  }

  void change_slice() {
    const auto slice = chance.slice();
    if (chance.one_in(4)) {
      world.slices.erase(slice.meta.key());
      return compiler_->erase_slice(slice.meta.key());
    }
    world.slices[slice.meta.key()] = slice;
    compiler_->upsert(slice);
  }

  void change_pod() {
    if (!world.pods.empty() && chance.one_in(3)) {
      const auto pod = std::next(world.pods.begin(), chance.below(static_cast<unsigned>(world.pods.size())));
      compiler_->erase_pod(pod->first);
      world.pods.erase(pod);
      return;
    }
    auto pod = chance.pod(world.pods.size() < 40 ? next_pod_++ : 0);
    if (!world.pods.empty() && chance.one_in(3))
      pod.key = std::next(world.pods.begin(), chance.below(static_cast<unsigned>(world.pods.size())))->first;
    world.pods[pod.key] = pod;
    compiler_->upsert(pod);
  }

  void change_rest() {
    switch (chance.below(4)) {
      case 0:
        world.node = {chance.pick({"n0", "n1"}), chance.pick({"", "east", "west"}), {}};
        for (auto left = chance.below(3); left > 0; --left) world.node.addresses.push_back(chance.address(Family::v4));
        return compiler_->set_node(world.node);
      case 1: {
        model::LoadBalancerPool pool;
        pool.meta.name = chance.pick({"a", "b"});
        pool.ranges = {{IpAddress::v4(0xc0000210U), IpAddress::v4(0xc0000211U)}};
        if (chance.one_in(2)) pool.namespaces = {"one"};
        if (chance.one_in(3)) {
          world.pools.erase(pool.meta.name);
          compiler_->erase_pool({"", pool.meta.name});
        } else {
          world.pools[pool.meta.name] = pool;
          compiler_->upsert(pool);
        }
        (void)compiler_->assign_pending();
        return;
      }
      default: {
        const auto name = text(chance.address(Family::v4), static_cast<std::uint16_t>(8000 + chance.below(3))) + "/" +
                          to_string(chance.protocol());
        if (world.unhealthy.erase(name) == 0) world.unhealthy.insert(name);
        set_healthy(name, !world.unhealthy.contains(name));
      }
    }
  }

  ServiceCompiler* compiler_;
  int next_pod_ = 0;
};

class RandomServices : public ::testing::TestWithParam<unsigned> {};

TEST_P(RandomServices, MapsMeanWhatTheObjectsSay) {
  ServiceOptions options = testing::options({"10.96.0.0/24", "fd96::/112"}, 20000);
  options.maglev_table_size = 31;
  // Some runs have so little room that compiles are refused.
  if (GetParam() % 4 == 1) options.max_slots = 120;
  if (GetParam() % 4 == 2) options.max_backends = 60;
  if (GetParam() % 4 == 3) options.max_frontends = 32;
  auto compiler = std::make_unique<ServiceCompiler>(options, ServiceAssignments());
  Driver driver(GetParam(), *compiler);
  Maps maps;
  std::map<std::string, Meaning> last;
  std::vector<ServiceDelta> lost;  // deltas that have not reached the maps yet
  int refused = 0;
  int compared = 0;
  for (int step = 0; step < 1500; ++step) {
    driver.change();
    if (driver.chance.one_in(3)) driver.change();
    if (driver.chance.one_in(100)) {
      std::vector<std::pair<weft_service_key, weft_service>> rows(maps.frontends.begin(), maps.frontends.end());
      auto restarted = std::make_unique<ServiceCompiler>(options, compiler->assignments());
      restarted->adopt(rows, maps.backends, maps.slots);
      driver.follow(*restarted);
      compiler = std::move(restarted);
      last.clear();
      lost.clear();
    }
    if (driver.chance.one_in(3))
      compiler->release_ids([&](std::uint32_t) { return driver.chance.one_in(3); },
                            [&](std::uint32_t) { return driver.chance.one_in(3); });
    auto delta = compiler->compile();
    if (!delta) {
      ASSERT_EQ(delta.error().code, ErrorCode::exhausted) << delta.error().message;
      ++refused;
      continue;
    }
    lost.push_back(std::move(*delta));
    if (driver.chance.one_in(8)) {
      compiler->hold_replaced();
      continue;
    }
    const auto before = maps;
    for (const auto& one : lost) maps.write(one);
    lost.clear();
    check_old_rows(before, maps);
    ASSERT_FALSE(HasFailure()) << "step " << step;
    compare(Model(driver.world).expected(*compiler), as_read(maps, *compiler), last);
    ASSERT_EQ(maps.port_words, expected_words(maps));
    const auto usage = compiler->usage();
    ASSERT_EQ(usage.frontends, maps.frontends.size());
    ASSERT_EQ(usage.source_ranges, maps.ranges.size());
    ASSERT_EQ(usage.backends, static_cast<std::uint32_t>(std::ranges::count_if(
                                  maps.backends, [](const weft_backend& row) { return row.state != 0; })));
    ASSERT_FALSE(HasFailure()) << "step " << step;
    ++compared;
  }
  EXPECT_EQ(refused != 0, GetParam() % 4 != 0);
  EXPECT_GT(compared, 50);
}

// Those that are left out may have less than they ask for, but nothing that is wrong; all others have all.
class Fitting {
 public:
  Fitting(const World& world, const ServiceCompiler& compiler) : model_(world), world_(world), compiler_(compiler) {
    for (const auto& one : compiler.left_out()) (one.is_pod ? pods_ : services_).insert(one.owner);
  }

  void check(const std::map<std::string, Meaning>& actual) const {
    const auto expected = model_.expected(compiler_);
    for (const auto& [name, meaning] : actual) {
      const auto wanted = expected.find(name);
      if (wanted == expected.end()) {
        ADD_FAILURE() << name << " is not wanted";
        continue;
      }
      if (services_.contains(meaning.owner)) {
        EXPECT_TRUE(std::ranges::any_of(wanted->second, [&](const Meaning& one) { return one.owner == meaning.owner; }))
            << name << " is not " << meaning.owner.to_string() << "'s";
        check_backends(meaning);
      } else {
        EXPECT_TRUE(std::ranges::find(wanted->second, meaning) != wanted->second.end())
            << name << " means " << describe(meaning) << ", not " << describe(wanted->second.front());
      }
    }
    for (const auto& [name, wanted] : expected)
      EXPECT_TRUE(
          actual.contains(name) ||
          std::ranges::all_of(
              wanted, [&](const Meaning& one) { return services_.contains(one.owner) || pods_.contains(one.owner); }))
          << name << " is missing";
  }

 private:
  // None that is not the Service's, or takes no connections.
  void check_backends(const Meaning& meaning) const {
    const auto& service = world_.services.at(meaning.owner);
    std::set<std::string> alive;
    const auto add = [&](const std::map<std::string, testing::Endpoint>& all) {
      for (const auto& [name, one] : all)
        if (one.weight != 0 && (one.ready || one.serving)) alive.insert(name);
    };
    for (const auto& port : service.ports)
      for (const auto family : {Family::v4, Family::v6}) {
        add(model_.endpoints(service, port, family));
        std::vector<testing::Endpoint> redirect;
        for (const auto& [key, pod] : world_.pods)
          if (service.local_redirect && key.namespace_ == service.meta.namespace_ &&
              testing::matches(*service.local_redirect, pod.labels))
            model_.add_pod(pod, port, family, false, redirect);
        for (auto& one : redirect) one.weight = std::max(one.weight, 1U);
        add(Model::distinct(redirect));
      }
    for (const auto* run : {&meaning.internal, &meaning.external})
      for (const auto& [backend, slots] : *run)
        EXPECT_TRUE(alive.contains(backend)) << backend << " of " << meaning.owner.to_string() << " is dead";
  }

  Model model_;
  const World& world_;
  const ServiceCompiler& compiler_;
  std::set<model::ObjectKey> services_;
  std::set<model::ObjectKey> pods_;
};

class RandomFit : public ::testing::TestWithParam<unsigned> {};

// In tables that hold a fraction of it, whoever is not left out is served rightly after every step, also across a
// restart; with room everybody is.
TEST_P(RandomFit, WhoeverFitsIsServedRightly) {
  ServiceOptions options = testing::options({"10.96.0.0/24", "fd96::/112"}, 20000);
  options.maglev_table_size = 31;
  if (GetParam() % 5 == 0) options.max_slots = 60;
  if (GetParam() % 5 == 1) options.max_backends = 30;
  if (GetParam() % 5 == 2) options.max_frontends = 12;
  if (GetParam() % 5 == 3) options.max_services = 10;
  if (GetParam() % 5 == 4) options.max_source_ranges = 2;
  auto compiler = std::make_unique<ServiceCompiler>(options, ServiceAssignments());
  Driver driver(GetParam(), *compiler);
  Maps maps;
  std::size_t left_out = 0;
  std::size_t whole = 0;
  for (int step = 0; step < 1500; ++step) {
    driver.change();
    if (driver.chance.one_in(100)) {
      std::vector<std::pair<weft_service_key, weft_service>> rows(maps.frontends.begin(), maps.frontends.end());
      auto restarted = std::make_unique<ServiceCompiler>(options, compiler->assignments());
      restarted->adopt(rows, maps.backends, maps.slots);
      driver.follow(*restarted);
      compiler = std::move(restarted);
    }
    if (driver.chance.one_in(3))
      compiler->release_ids([&](std::uint32_t) { return driver.chance.one_in(3); },
                            [&](std::uint32_t) { return driver.chance.one_in(3); });
    for (int round = 0; round == 0 || (round < 12 && compiler->may_fit_more()); ++round) {
      auto delta =
          compiler->compile(driver.chance.one_in(4) ? ServiceCompiler::Fit::all : ServiceCompiler::Fit::what_fits);
      if (!delta) {
        ASSERT_EQ(delta.error().code, ErrorCode::exhausted) << delta.error().message;
        delta = compiler->compile(ServiceCompiler::Fit::what_fits);
      }
      ASSERT_TRUE(delta) << delta.error().message;
      const auto before = maps;
      maps.write(*delta);
      check_old_rows(before, maps);
      Fitting(driver.world, *compiler).check(as_read(maps, *compiler));
      ASSERT_EQ(maps.port_words, expected_words(maps));
      const auto usage = compiler->usage();
      ASSERT_EQ(usage.frontends, maps.frontends.size());
      ASSERT_EQ(usage.source_ranges, maps.ranges.size());
      ASSERT_EQ(usage.backends, static_cast<std::uint32_t>(std::ranges::count_if(
                                    maps.backends, [](const weft_backend& row) { return row.state != 0; })));
      ASSERT_FALSE(HasFailure()) << "step " << step;
    }
    ASSERT_FALSE(compiler->may_fit_more()) << "step " << step;
    (compiler->left_out().empty() ? whole : left_out) += 1;
  }
  EXPECT_GT(left_out, 20U);
  EXPECT_GT(whole, 5U);
  // Nobody is left out for good.
  const auto services = driver.world.services;
  for (const auto& [key, service] : services) {
    compiler->forget(key);
    compiler->erase_service(key);
  }
  for (const auto& [key, pod] : driver.world.pods) compiler->erase_pod(key);
  ASSERT_TRUE(compiler->compile());
  EXPECT_TRUE(compiler->left_out().empty());
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomFit, ::testing::Range(0U, 15U));
// Giving way went round and round in these.
INSTANTIATE_TEST_SUITE_P(Turns, RandomFit, ::testing::Values(22U, 57U, 92U, 112U));

INSTANTIATE_TEST_SUITE_P(Seeds, RandomServices, ::testing::Range(0U, 12U));

}  // namespace
}  // namespace weft::control
