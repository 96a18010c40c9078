#include "node_bench.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "datapath.h"
#include "packet_bench.h"

namespace weft::test {
namespace {

constexpr std::uint32_t kNode = 1;
constexpr std::uint32_t kIdentity = 1777;
constexpr std::uint32_t kRepeats = 262144;
constexpr int kSingles = 4096;

IpAddress address(const char* text) { return IpAddress::parse(text).value(); }
const IpAddress& here() {
  static const auto one = address("192.0.2.1");
  return one;
}
const IpAddress& there() {
  static const auto one = address("192.0.2.77");
  return one;
}

struct Kind {
  const char* name;
  weft_way way;
  const char* program;
  Packet packet;
  std::uint32_t inside = 0;  // bytes before the packet whose flow it is
  bool out = true;           // its source port and destination tell flows apart; otherwise it comes from there
  const char* peer = nullptr;
  int verdict = kActRedirect;
  bool once = false;  // the kernel puts a packet into another once, and a test run has but one: a run for each
};

std::vector<Kind> kinds() {
  const auto out = tcp(address("10.1.0.2"), 0x8000, address("10.3.0.2"), 8080);
  const auto in = tcp(address("10.3.0.2"), 0x8000, address("10.1.0.2"), 8080);
  return {{"node_direct_out", WEFT_WAY_DIRECT, "weft_from_pod", out},
          {"node_direct_in", WEFT_WAY_DIRECT, "weft_from_device", in, 0, false},
          {"node_vxlan_out", WEFT_WAY_VXLAN, "weft_from_pod", out, 0, true, "node_set_key"},
          {"node_vxlan_in", WEFT_WAY_VXLAN, "weft_from_overlay", in, 0, false, "node_get_key"},
          {"node_vxlan_outer", WEFT_WAY_VXLAN, "weft_from_device", udp(there(), 0x8000, here(), 4789), 0, false,
           nullptr, kActOk},
          {"node_geneve_out", WEFT_WAY_GENEVE, "weft_from_pod", out, 0, true, "node_room_geneve", kActRedirect, true},
          {"node_geneve_in", WEFT_WAY_GENEVE, "weft_from_device", geneve_tunnel(there(), here(), in, kIdentity), 36,
           false, "node_take_geneve"},
          {"node_ipip_out", WEFT_WAY_IPIP, "weft_from_pod", out, 0, true, "node_room_ipip", kActRedirect, true},
          {"node_ipip_in", WEFT_WAY_IPIP, "weft_from_device", ipip_tunnel(there(), here(), in), 20, false,
           "node_take_ipip"}};
}

void check(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

class Bench {
 public:
  Bench() : object_(bpf_object__open_file(WEFT_NODE_BENCH_OBJECT, nullptr)) {
    check(object_ != nullptr && bpf_object__load(object_) == 0, "cannot load " WEFT_NODE_BENCH_OBJECT);
  }
  ~Bench() { bpf_object__close(object_); }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  [[nodiscard]] int program(const char* name) const {
    return bpf_program__fd(bpf_object__find_program_by_name(object_, name));
  }

  // Nanoseconds a run.
  double run(int target, const Kind& kind, std::uint32_t flows, std::uint32_t repeat) {
    const auto bytes = kind.packet.bytes();
    bench_control control{};
    control.header_length = static_cast<std::uint32_t>(std::min<std::size_t>(bytes.size(), BENCH_HEADER_MAX));
    std::copy_n(bytes.begin(), control.header_length, control.header);
    control.packet_length = static_cast<std::uint32_t>(bytes.size());
    control.port_offset = kind.inside + 34;
    control.address_offset = kind.inside + (kind.out ? 32 : 28);
    control.address_base = static_cast<std::uint32_t>(control.header[control.address_offset]) << 8 |
                           control.header[control.address_offset + 1];
    control.flow_mask = flows - 1;
    const std::uint32_t zero = 0;
    const auto map = [&](const char* name) { return bpf_map__fd(bpf_object__find_map_by_name(object_, name)); };
    check(bpf_map_update_elem(map("bench_control"), &zero, &control, 0) == 0 &&
              bpf_map_update_elem(map("bench_target"), &zero, &target, 0) == 0,
          "cannot write the bench's maps");
    __sk_buff context{};
    context.ifindex = kind.out ? kPodA : kUplink;
    Octets output(bytes.size() + 256);
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = bytes.data();
    options.data_size_in = control.packet_length;
    options.data_out = output.data();
    options.data_size_out = static_cast<std::uint32_t>(output.size());
    options.ctx_in = &context;
    options.ctx_size_in = sizeof context;
    options.repeat = static_cast<int>(repeat);
    const bool overlay = std::string_view(kind.program) == "weft_from_overlay";
    check(bpf_prog_test_run_opts(program(overlay ? "node_wrap_overlay" : "node_wrap"), &options) == 0,
          fmt::format("{}: the test run failed", kind.name));
    verdict = static_cast<int>(options.retval);
    return options.duration;
  }
  int verdict = 0;

 private:
  bpf_object* object_;
};

void fill(Datapath& datapath, weft_way way) {
  datapath.clear();
  auto& config = datapath.config();
  config.flags |= WEFT_CONFIG_NODES | (way == WEFT_WAY_DIRECT ? 0 : WEFT_CONFIG_TUNNEL);
  config.overlay_ifindex = kOther;
  config.overlay_port = htons(4789);
  datapath.write_config();
  weft_endpoint endpoint{};
  endpoint.endpoint_id = 11;
  endpoint.identity = 1001;
  endpoint.ifindex = kPodA;
  datapath.put("weft_ep_v1", to_abi(address("10.1.0.2")), endpoint);
  endpoint = {};
  endpoint.endpoint_id = WEFT_ENDPOINT_ID_HOST;
  endpoint.identity = WEFT_IDENTITY_HOST;
  endpoint.flags = WEFT_ENDPOINT_HOST;
  datapath.put("weft_ep_v1", to_abi(here()), endpoint);
  datapath.put("weft_remote_v1", to_abi(address("10.3.0.2")), weft_remote{kIdentity, 0, kNode, 0});
  datapath.put("weft_remote_v1", to_abi(there()), weft_remote{WEFT_IDENTITY_REMOTE_NODE, 0, 0, WEFT_REMOTE_NODE});
  weft_node node{};
  node.addr = to_abi(there());
  node.source = to_abi(here());
  node.mtu = 1450;
  node.way = static_cast<std::uint8_t>(way);
  datapath.put("weft_node_v1", kNode, node);
  weft_device device{};
  device.nat_v4 = to_abi(here());
  device.mtu = 1500;
  datapath.put("weft_dev_v1", std::uint32_t{kUplink}, device);
}

double middle(std::vector<double>& values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 2];
}

// Nanoseconds of one run, of many or of one at a time: then each is as cold as the first of a burst.
double sample(Bench& bench, int target, const Kind& kind, std::uint32_t flows) {
  if (!kind.once) return bench.run(target, kind, flows, kRepeats);
  std::vector<double> values;
  for (int i = 0; i < kSingles; ++i) values.push_back(bench.run(target, kind, 1, 1));
  return middle(values);
}

XdpBenchRow measure(Datapath& datapath, Bench& bench, const Kind& kind, std::uint32_t flows, int rounds) {
  fill(datapath, kind.way);
  const int target = datapath.program(kind.program);
  bench.run(target, kind, kind.once ? 1 : flows, kind.once ? 1 : flows);
  const auto entered = datapath.stats()[WEFT_STAT_NEW_FLOW];
  check(entered == (kind.verdict != kActRedirect ? 0
                    : kind.once                  ? 1
                                                 : flows),
        fmt::format("{}: {} flows", kind.name, entered));
  datapath.events();
  std::vector<double> net, peer;
  for (int round = 0; round < rounds; ++round) {
    const double idle = sample(bench, bench.program("node_noop"), kind, flows);
    if (kind.peer != nullptr) peer.push_back(sample(bench, bench.program(kind.peer), kind, flows) - idle);
    check(bench.verdict == kActRedirect, fmt::format("{}: the peer's verdict {}", kind.name, bench.verdict));
    net.push_back(sample(bench, target, kind, flows) - idle);
    check(bench.verdict == kind.verdict, fmt::format("{}: verdict {}", kind.name, bench.verdict));
  }
  check(datapath.stats()[WEFT_STAT_NEW_FLOW] == entered, fmt::format("{}: flows were entered anew", kind.name));
  const double median = middle(net);
  return {kind.name, flows, median, net.front(), net.back(), middle(peer)};
}

}  // namespace

std::vector<XdpBenchRow> run_node_bench(const XdpBenchOptions& options) {
  auto all = kinds();
  if (!options.only.empty()) std::erase_if(all, [&](const Kind& kind) { return kind.name != options.only; });
  std::vector<XdpBenchRow> rows;
  if (all.empty()) return rows;
  Datapath datapath({.flows = 16384, .ring_bytes = 1u << 20});
  Bench bench;
  for (const std::uint32_t flows : {1u, 1024u}) {
    if (options.only_flows && options.only_flows != flows) continue;
    for (const auto& kind : all) {
      if (kind.once && flows != 1) continue;
      rows.push_back(measure(datapath, bench, kind, flows, options.rounds));
      const auto& row = rows.back();
      fmt::print("{:28} {:>8} {:>6} {:>8.0f} {:>8.0f} {:>8.0f} {:>8.0f}\n", row.name, flows, "few", row.median,
                 row.lowest, row.highest, row.peer);
      std::fflush(stdout);
    }
  }
  return rows;
}

}  // namespace weft::test
