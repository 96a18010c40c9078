// What it costs to tell the kernel about Services: from objects to real maps, without the agent's store.
//
//   service_bench --pins DIR [--rounds N] [--case NAME]...
//
// DIR lies on a bpffs and is removed at the end. Prints samples, one a line: CASE METRIC weft VALUE,
// tab-separated, as tools/bench keeps them.
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "control/services/maglev.h"
#include "control/services/services.h"
#include "datapath/datapath.h"

namespace weft::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t endpoints_each = 2;
constexpr unsigned changes = 200;
constexpr unsigned maglev_backends = 1000;

template <class T>
T take(Result<T> result, const char* what) {
  if (!result) throw std::runtime_error(fmt::format("{}: {}", what, result.error().message));
  return std::move(*result);
}
void check(const Result<void>& result, const char* what) {
  if (!result) throw std::runtime_error(fmt::format("{}: {}", what, result.error().message));
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Bytes in use, large blocks included.
std::size_t allocated() {
  malloc_trim(0);
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

void sample(std::string_view name, std::string_view metric, double value) {
  fmt::print("{}\t{}\tweft\t{:.6f}\n", name, metric, value);
}

model::Service service(unsigned number) {
  model::Service result;
  result.meta.namespace_ = fmt::format("team-{}", number % 100);
  result.meta.name = fmt::format("service-{}", number);
  model::ServicePort port;
  port.port = 80;
  port.target_port = std::uint16_t{8080};
  result.ports = {port};
  return result;
}

model::EndpointSlice slice(unsigned number, std::uint32_t first, std::uint32_t count) {
  model::EndpointSlice result;
  result.meta.namespace_ = fmt::format("team-{}", number % 100);
  result.meta.name = fmt::format("service-{}-x7k2q", number);
  result.meta.labels["kubernetes.io/service-name"] = fmt::format("service-{}", number);
  result.ports = {{"", Protocol::tcp, 8080}};
  for (std::uint32_t i = 0; i < count; ++i) {
    model::SliceEndpoint endpoint;
    endpoint.addresses = {IpAddress::v4(0x0b000000U + first + i)};
    endpoint.target_pod = fmt::format("service-{}-5d8f-{}", number, i);
    endpoint.node = fmt::format("node-{}", number % 50);
    result.endpoints.push_back(std::move(endpoint));
  }
  return result;
}
model::EndpointSlice slice(unsigned number) { return slice(number, number * endpoints_each, endpoints_each); }

// A compiler and empty maps of its own.
class Node {
 public:
  explicit Node(const std::string& pins) : pins_(pins) {
    std::filesystem::remove_all(pins_);
    datapath::Options options;
    options.pin_directory = pins_;
    options.flow_entries = 1024;
    options.service_entries = 1U << 17U;
    options.backend_entries = 1U << 18U;
    options.slot_entries = 1U << 20U;
    datapath_ = take(datapath::Datapath::open(options), "open the maps");
    control::ServiceOptions sizes;
    sizes.cluster_cidrs = {Cidr::parse("10.96.0.0/12").value()};
    sizes.max_frontends = sizes.max_services = options.service_entries;
    sizes.max_backends = options.backend_entries;
    sizes.max_slots = options.slot_entries;
    compiler_ = std::make_unique<control::ServiceCompiler>(sizes, control::ServiceAssignments{});
    check(datapath_->tables().apply({}, take(compiler_->compile(), "compile")), "the empty maps");
  }
  ~Node() {
    datapath_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(pins_, ignored);
  }
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  void tell(const model::Service& one) {
    take(compiler_->assign(one), "assign");
    compiler_->upsert(one);
  }
  control::ServiceCompiler& compiler() { return *compiler_; }
  // From what was told to the kernel's maps.
  void publish() {
    check(datapath_->tables().apply(take(compiler_->compile(), "compile"), {}, {}), "write the maps");
    compiler_->release_ids([](std::uint32_t) { return false; }, [](std::uint32_t) { return false; });
  }
  void expect_frontends(std::size_t wanted) {
    const auto present = datapath_->tables().services().present_frontends().size();
    if (present != wanted) throw std::runtime_error(fmt::format("{} frontends in the map, not {}", present, wanted));
  }

 private:
  std::string pins_;
  std::unique_ptr<datapath::Datapath> datapath_;
  std::unique_ptr<control::ServiceCompiler> compiler_;
};

// Telling is what parsing leads to (addresses are assigned, objects indexed); publishing goes from there
// to the maps; `seconds` is both.
void program(const std::string& pins, unsigned count, const std::string& suffix) {
  std::vector<model::Service> services;
  std::vector<model::EndpointSlice> slices;
  for (unsigned i = 0; i < count; ++i) {
    services.push_back(service(i));
    slices.push_back(slice(i));
  }
  Node node(pins);
  const auto before = allocated();
  auto start = Clock::now();
  for (const auto& one : services) node.tell(one);
  for (const auto& one : slices) node.compiler().upsert(one);
  const double told = seconds_since(start);
  start = Clock::now();
  node.publish();
  const double published = seconds_since(start);
  sample("svc_program_" + suffix, "rows_to_maps", published);
  sample("svc_program_" + suffix, "seconds", told + published);
  sample("svc_memory", "compiler_" + suffix, static_cast<double>(allocated() - before) / count);
  node.expect_frontends(count);

  std::vector<double> times;
  for (unsigned i = 0; i < changes; ++i) {
    auto changed = slice((i * 7919U) % count);
    changed.endpoints.pop_back();
    start = Clock::now();
    node.compiler().upsert(changed);
    node.publish();
    times.push_back(seconds_since(start) * 1000);
  }
  std::ranges::sort(times);
  sample("svc_change_one", "p50_" + suffix, times[times.size() / 2]);
  sample("svc_change_one", "p99_" + suffix, times[times.size() * 99 / 100]);

  start = Clock::now();
  for (const auto& one : services) {
    node.compiler().forget(one.meta.key());
    node.compiler().erase_service(one.meta.key());
  }
  for (const auto& one : slices) node.compiler().erase_slice(one.meta.key());
  node.publish();
  sample("svc_delete_" + suffix, "seconds", seconds_since(start));
  node.expect_frontends(0);
}

// One of a thousand backends goes and comes: the whole way to the map.
void maglev(const std::string& pins) {
  Node node(pins);
  auto one = service(0);
  one.algorithm = model::Algorithm::maglev;
  node.tell(one);
  node.compiler().upsert(slice(0, 0, maglev_backends));
  node.publish();
  std::vector<double> times;
  for (unsigned i = 0; i < 20; ++i) {
    node.compiler().upsert(slice(0, 0, maglev_backends - (i % 2 == 0 ? 1 : 0)));
    const auto start = Clock::now();
    node.publish();
    times.push_back(seconds_since(start) * 1000);
  }
  std::ranges::sort(times);
  sample("maglev_1k", "rebuild", times[times.size() / 2]);
  std::vector<control::services::Member> members(maglev_backends);
  for (unsigned i = 0; i < maglev_backends; ++i)
    members[i] = {.id = i + 1, .weight = 1, .address = IpAddress::v4(0x0b000000U + i), .port = 8080};
  for (const std::uint32_t size : {16381U, 65537U}) {
    const auto start = Clock::now();
    const auto table = control::services::maglev_table(members, Protocol::tcp, size, 0);
    sample("maglev_1k", fmt::format("table_{}", size), seconds_since(start) * 1000);
    if (table.size() != size) throw std::runtime_error("the table has not the size asked for");
  }
}

int run(int argc, char** argv) {
  std::string pins;
  unsigned rounds = 7;
  std::vector<std::string> cases;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--pins")
      pins = argv[i + 1];
    else if (name == "--rounds")
      rounds = static_cast<unsigned>(std::max(1, std::atoi(argv[i + 1])));
    else if (name == "--case")
      cases.emplace_back(argv[i + 1]);
    else
      throw std::runtime_error(fmt::format("unknown option {}", name));
  }
  if (pins.empty()) throw std::runtime_error("--pins DIR is needed");
  const auto wanted = [&cases](const char* name) { return cases.empty() || std::ranges::count(cases, name) != 0; };
  for (unsigned round = 0; round < rounds; ++round) {
    if (wanted("1k")) program(pins, 1000, "1k");
    if (wanted("10k")) program(pins, 10'000, "10k");
    if (wanted("50k")) program(pins, 50'000, "50k");
    if (wanted("maglev")) maglev(pins);
  }
  return 0;
}

}  // namespace
}  // namespace weft::bench

int main(int argc, char** argv) {
  try {
    return weft::bench::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "service_bench: {}\n", error.what());
    return 1;
  }
}
