// Random changes to Services, slices and pods; after each, the compiled rows are read the way the
// datapath reads them and compared with a slow and direct reading of the rules.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <random>
#include <set>

#include "control/services/services.h"

namespace weft::control {
namespace {

using Backends = std::set<std::string>;             // "10.0.0.1:8080"
using Frontends = std::map<std::string, Backends>;  // "10.96.0.2:80/TCP" -> its backends

std::string text(const IpAddress& address, std::uint16_t port) {
  return fmt::format("{}:{}", address.to_string(), port);
}

std::string text(const weft_addr& addr, std::uint16_t network_port) {
  IpAddress::Bytes bytes{};
  std::memcpy(bytes.data(), &addr, bytes.size());
  return text(IpAddress(bytes), ntohs(network_port));
}

// Every pod and every slice is looked at for every port of every Service.
Frontends expected(const ServiceInput& input, const ServiceState& state) {
  Frontends result;
  for (const auto& [key, service] : input.services) {
    if (service.headless || service.type == model::Service::Type::external_name) continue;
    for (const auto& port : service.ports) {
      for (const auto& address : state.cluster_ips.at(key)) {
        Backends ready;
        Backends draining;
        if (service.selector) {
          for (const auto& pod : input.pods) {
            bool selected = pod.key.namespace_ == key.namespace_ && (pod.ready || service.publish_not_ready);
            for (const auto& [label, value] : *service.selector)
              selected = selected && pod.labels.contains(label) && pod.labels.at(label) == value;
            std::uint16_t number = 0;
            if (const auto* fixed = std::get_if<std::uint16_t>(&port.target_port)) number = *fixed;
            for (const auto& candidate : pod.ports)
              if (number == 0 && candidate.protocol == port.protocol &&
                  model::PortReference(candidate.name) == port.target_port)
                number = candidate.port;
            for (const auto& own : pod.addresses)
              if (selected && number != 0 && own.family() == address.family()) ready.insert(text(own, number));
          }
        } else {
          for (const auto& [name, slice] : input.slices) {
            if (name.namespace_ != key.namespace_ || slice.meta.labels.at("kubernetes.io/service-name") != key.name)
              continue;
            for (const auto& slice_port : slice.ports)
              for (const auto& endpoint : slice.endpoints) {
                if (slice_port.name != port.name || slice_port.protocol != port.protocol ||
                    slice.family != address.family())
                  continue;
                const auto one = text(endpoint.addresses[0], slice_port.port);
                if (endpoint.ready || service.publish_not_ready) ready.insert(one);
                if (!endpoint.ready && endpoint.serving && endpoint.terminating) draining.insert(one);
              }
          }
        }
        result[text(address, port.port) + "/" + to_string(port.protocol)] = ready.empty() ? draining : ready;
      }
    }
  }
  return result;
}

// Through frontend, slot and backend rows.
Frontends as_read(const CompiledServices& compiled) {
  Frontends result;
  for (const auto& [key, row] : compiled.frontend_rows) {
    auto& backends = result[text(key.addr, key.port) + "/" + to_string(static_cast<Protocol>(key.protocol))];
    for (std::uint32_t i = 0; i < row.slot_count; ++i) {
      const auto& backend = compiled.backend_rows.at(compiled.slot_rows.at(row.first_slot + i));
      EXPECT_EQ(backend.protocol, key.protocol);
      backends.insert(text(backend.addr, backend.port));
    }
    EXPECT_EQ(backends.size(), row.slot_count);
  }
  return result;
}

// No two frontends share a slot, an unchanged one keeps its place, and what is written now does not
// touch the slots that the rows of the step before still lead to.
void check_runs(const CompiledServices& before, const CompiledServices& now) {
  std::set<std::uint32_t> taken;
  for (const auto& [key, row] : now.frontend_rows)
    for (std::uint32_t i = 0; i < row.slot_count; ++i) EXPECT_TRUE(taken.insert(row.first_slot + i).second);
  const auto ids = [](const CompiledServices& compiled, const weft_service& row) {
    std::vector<std::uint32_t> result;
    for (std::uint32_t i = 0; i < row.slot_count; ++i) result.push_back(compiled.slot_rows.at(row.first_slot + i));
    return result;
  };
  for (const auto& [key, old] : before.frontend_rows) {
    for (std::uint32_t i = 0; i < old.slot_count; ++i)
      EXPECT_EQ(now.slot_rows.at(old.first_slot + i), before.slot_rows.at(old.first_slot + i));
    const auto row = now.frontend_rows.find(key);
    if (row == now.frontend_rows.end() || row->second.service_id != old.service_id) continue;
    if (ids(now, row->second) == ids(before, old)) {
      EXPECT_EQ(row->second.first_slot, old.first_slot);
    }
  }
  // A backend has one number as long as it is there, and a number one backend.
  std::map<std::string, std::uint32_t> numbers;
  for (const auto& [id, backend] : before.backend_rows)
    numbers[text(backend.addr, backend.port) + to_string(static_cast<Protocol>(backend.protocol))] = id;
  for (const auto& [id, backend] : now.backend_rows) {
    const auto known =
        numbers.find(text(backend.addr, backend.port) + to_string(static_cast<Protocol>(backend.protocol)));
    if (known != numbers.end()) {
      EXPECT_EQ(known->second, id);
    } else {
      EXPECT_FALSE(before.backend_rows.contains(id));
    }
  }
}

class World {
 public:
  explicit World(unsigned seed) : random_(seed) {}

  [[nodiscard]] const ServiceInput& input() const { return input_; }
  [[nodiscard]] unsigned below(unsigned end) { return static_cast<unsigned>(random_()) % end; }

  void change(ServiceCompiler& compiler) {
    switch (below(6)) {
      case 0:
      case 1:
        return change_service(compiler);
      case 2:
        return change_slice();
      default:
        return change_pod();
    }
  }

 private:
  std::string pick(std::initializer_list<const char*> choices) {
    return *(choices.begin() + below(static_cast<unsigned>(choices.size())));
  }
  LabelMap labels() {
    LabelMap result{{"app", pick({"a", "b", "c"})}};
    if (below(2) == 0) result["tier"] = pick({"x", "y"});
    return result;
  }
  Protocol protocol() { return std::array{Protocol::tcp, Protocol::udp, Protocol::sctp}[below(3)]; }
  IpAddress address(Family family) {
    return family == Family::v4 ? IpAddress::v4(0x0a000000U + below(40))
                                : IpAddress::parse(fmt::format("fd00::{}", below(40) + 1)).value();
  }

  void change_service(ServiceCompiler& compiler) {
    model::Service service;
    service.meta.namespace_ = pick({"one", "two"});
    service.meta.name = pick({"s0", "s1", "s2", "s3", "s4", "s5"});
    const auto key = service.meta.key();
    if (below(4) == 0) {
      input_.services.erase(key);
      compiler.forget(key);
      return;
    }
    if (below(3) != 0) service.selector = labels();
    service.headless = below(8) == 0;
    if (below(10) == 0) service.type = model::Service::Type::external_name;
    service.publish_not_ready = below(4) == 0;
    service.affinity_seconds = below(2) * 100;
    service.family_policy = static_cast<model::Service::FamilyPolicy>(below(3));
    const auto count = below(3) + 1;
    for (unsigned i = 0; i < count; ++i) {
      model::ServicePort port;
      port.name = std::array{"http", "dns", "sctp"}[i];
      port.protocol = protocol();
      port.port = static_cast<std::uint16_t>(80 + i);
      if (below(2) == 0)
        port.target_port = static_cast<std::uint16_t>(8000 + below(3));
      else
        port.target_port = pick({"http", "dns"});
      service.ports.push_back(port);
    }
    ASSERT_TRUE(compiler.assign(service));
    input_.services[key] = service;
  }

  void change_slice() {
    model::EndpointSlice slice;
    slice.meta.namespace_ = pick({"one", "two"});
    slice.meta.name = pick({"e0", "e1", "e2", "e3"});
    slice.meta.labels["kubernetes.io/service-name"] = pick({"s0", "s1", "s2", "s3"});
    if (below(4) == 0) {
      input_.slices.erase(slice.meta.key());
      return;
    }
    slice.family = below(3) == 0 ? Family::v6 : Family::v4;
    slice.ports = {{"http", protocol(), 8000}, {"dns", protocol(), 5353}};
    for (auto left = below(5); left > 0; --left) {
      model::SliceEndpoint endpoint;
      endpoint.addresses = {address(slice.family)};
      endpoint.ready = below(3) == 0;
      endpoint.serving = below(2) == 0;
      endpoint.terminating = below(2) == 0;
      slice.endpoints.push_back(endpoint);
    }
    input_.slices[slice.meta.key()] = slice;
  }

  void change_pod() {
    if (!input_.pods.empty() && below(3) == 0) {
      input_.pods.erase(input_.pods.begin() + below(static_cast<unsigned>(input_.pods.size())));
      return;
    }
    ServicePod pod;
    pod.key = {pick({"one", "two"}), fmt::format("p{}", next_pod_++)};
    pod.labels = labels();
    pod.ready = below(4) != 0;
    if (below(8) != 0) pod.addresses.push_back(address(Family::v4));
    if (below(2) == 0) pod.addresses.push_back(address(Family::v6));
    if (below(2) == 0) pod.ports.push_back({"http", static_cast<std::uint16_t>(8000 + below(3)), protocol(), 0});
    if (below(2) == 0) pod.ports.push_back({"dns", 53, protocol(), 0});
    if (input_.pods.size() < 40 || below(2) == 0)
      input_.pods.push_back(pod);
    else
      input_.pods[below(static_cast<unsigned>(input_.pods.size()))] = pod;
  }

  std::mt19937 random_;
  ServiceInput input_;
  int next_pod_ = 0;
};

class RandomServices : public ::testing::TestWithParam<unsigned> {};

TEST_P(RandomServices, CompiledRowsMeanWhatTheObjectsSay) {
  World world(GetParam());
  ServiceOptions options;
  options.cluster_cidrs = {Cidr::parse("10.96.0.0/24").value(), Cidr::parse("fd96::/112").value()};
  // Every third run has so few slots that some compiles are refused.
  options.max_slots = GetParam() % 3 == 0 ? 80 : 1000;
  ServiceCompiler compiler(options, {});
  CompiledServices last;
  int refused = 0;
  for (int step = 0; step < 600; ++step) {
    world.change(compiler);
    if (world.below(200) == 0) {
      ServiceCompiler restarted(options, compiler.state());
      restarted.adopt(last.frontend_rows, last.slot_rows);
      compiler = std::move(restarted);
    }
    auto compiled = compiler.compile(world.input());
    if (!compiled) {
      ASSERT_EQ(compiled.error().code, ErrorCode::exhausted) << compiled.error().message;
      ++refused;
      continue;
    }
    ASSERT_EQ(as_read(*compiled), expected(world.input(), compiler.state())) << "step " << step;
    check_runs(last, *compiled);
    std::size_t backends = compiler.state().backend_ids.size();
    ASSERT_EQ(backends, compiled->backend_rows.size());
    ASSERT_EQ(compiler.state().service_ids.size(), compiled->frontend_rows.size());
    ASSERT_FALSE(HasFailure()) << "step " << step;
    last = std::move(*compiled);
  }
  if (options.max_slots == 1000) {
    EXPECT_EQ(refused, 0);
  } else {
    EXPECT_LT(refused, 600);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomServices, ::testing::Range(0U, 9U));

// Prints what it took; performance is asserted by the benchmark.
TEST(LargeServices, TenThousand) {
  ServiceOptions options;
  options.cluster_cidrs = {Cidr::parse("10.96.0.0/12").value()};
  ServiceCompiler compiler(options, {});
  ServiceInput input;
  for (unsigned i = 0; i < 10'000; ++i) {
    model::Service service;
    service.meta.namespace_ = fmt::format("ns{}", i % 50);
    service.meta.name = fmt::format("service-{}", i);
    service.selector = LabelMap{{"app", fmt::format("app-{}", i)}, {"tier", "front"}};
    service.ports.resize(1);
    service.ports[0].port = 80;
    service.ports[0].target_port = std::uint16_t{8080};
    for (unsigned j = 0; j < 2; ++j) {
      ServicePod pod;
      pod.key = {service.meta.namespace_, fmt::format("pod-{}-{}", i, j)};
      pod.labels = *service.selector;
      pod.labels["pod-template-hash"] = "12345";
      pod.addresses = {IpAddress::v4(0x0a000000U + i * 2 + j)};
      input.pods.push_back(std::move(pod));
    }
    ASSERT_TRUE(compiler.assign(service));
    input.services[service.meta.key()] = std::move(service);
  }
  for (int round = 0; round < 3; ++round) {
    const auto start = std::chrono::steady_clock::now();
    const auto compiled = compiler.compile(input);
    const auto took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    ASSERT_TRUE(compiled);
    EXPECT_EQ(compiled->slot_rows.size(), 20'000U);
    fmt::print("compile {}: {:.1f} ms\n", round, took);
  }
}

}  // namespace
}  // namespace weft::control
