#include "xdp_bench.h"

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

constexpr std::uint32_t kBackends = 16;
constexpr std::uint32_t kFirstPort = 10000;  // of the ports clients are translated to
constexpr std::uint32_t kEvents = 4096;      // as many as the ring holds at a time

IpAddress address(const char* text) { return IpAddress::parse(text).value(); }

struct Kind {
  std::string name;
  Packet packet;
  int verdict = XDP_TX;
  bool fresh = false;
  weft_forwarding forwarding = WEFT_FORWARD_SNAT;
  const char* peer = nullptr;  // the program that does the kernel's part of it
};

void check(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

class Wrapper {
 public:
  explicit Wrapper(std::uint32_t entries) {
    object_ = bpf_object__open_file(WEFT_XDP_BENCH_OBJECT, nullptr);
    check(object_ != nullptr, "cannot open the XDP bench object");
    for (const auto* name : {"bench_flows4", "bench_flows6"})
      bpf_map__set_max_entries(bpf_object__find_map_by_name(object_, name), entries);
    check(bpf_object__load(object_) == 0, "cannot load the XDP bench object");
  }
  ~Wrapper() { bpf_object__close(object_); }
  Wrapper(const Wrapper&) = delete;
  Wrapper& operator=(const Wrapper&) = delete;

  [[nodiscard]] int program(const char* name) const {
    return bpf_program__fd(bpf_object__find_program_by_name(object_, name));
  }
  int verdict = 0;

  // Nanoseconds a run. The control's cursor goes on from run to run.
  double run(int target, bench_control& control, const Octets& packet, std::uint32_t repeat) {
    const std::uint32_t zero = 0;
    bpf_map_update_elem(map("bench_control"), &zero, &control, BPF_ANY);
    check(bpf_map_update_elem(map("bench_target"), &zero, &target, BPF_ANY) == 0, "cannot set the program under test");
    Octets output(packet.size() + 256);
    xdp_md context{};
    context.data_end = static_cast<std::uint32_t>(packet.size());
    context.ingress_ifindex = kUplink;
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = packet.data();
    options.data_size_in = context.data_end;
    options.data_out = output.data();
    options.data_size_out = static_cast<std::uint32_t>(output.size());
    options.ctx_in = &context;
    options.ctx_size_in = sizeof context;
    options.repeat = static_cast<int>(repeat);
    check(bpf_prog_test_run_opts(program("bench_wrap"), &options) == 0, "the test run failed");
    verdict = static_cast<int>(options.retval);
    bpf_map_lookup_elem(map("bench_control"), &zero, &control);
    return options.duration;
  }

 private:
  [[nodiscard]] int map(const char* name) const { return bpf_map__fd(bpf_object__find_map_by_name(object_, name)); }
  bpf_object* object_ = nullptr;
};

bench_control control_for(const Kind& kind, std::uint32_t flows) {
  bench_control control{};
  const auto bytes = kind.packet.bytes();
  const bool v4 = kind.packet.is_v4();
  control.header_length = static_cast<std::uint32_t>(std::min<std::size_t>(bytes.size(), BENCH_HEADER_MAX));
  std::copy_n(bytes.begin(), control.header_length, control.header);
  control.packet_length = static_cast<std::uint32_t>(bytes.size());
  control.port_offset = v4 ? 34 : 54;
  control.address_offset = v4 ? 28 : 36;
  control.address_base = 0x7232;
  control.flow_mask = flows - 1;
  return control;
}

class Set {
 public:
  Set(bool v4, std::uint32_t flows)
      : v4_(v4),
        flows_(flows),
        datapath_({.flows = table_entries(flows), .ring_bytes = 1u << 20}),
        wrapper_(table_entries(flows)) {
    auto& config = datapath_.config();
    config.flags |= WEFT_CONFIG_EXTERNAL | WEFT_CONFIG_LB_PORTS_RESERVED;
    config.lb_port_min = kFirstPort;
    config.lb_port_max = 60000;
    datapath_.write_config();
    weft_device device{};
    device.nat_v4 = to_abi(address("192.0.2.1"));
    device.nat_v6 = to_abi(address("2001:db8::1"));
    device.mtu = 1500;
    datapath_.put("weft_dev_v1", std::uint32_t{kUplink}, device);
    weft_endpoint node{};
    node.endpoint_id = WEFT_ENDPOINT_ID_HOST;
    node.identity = WEFT_IDENTITY_HOST;
    node.flags = WEFT_ENDPOINT_HOST;
    datapath_.put("weft_ep_v1", to_abi(address(v4 ? "192.0.2.1" : "2001:db8::1")), node);
    datapath_.put("weft_ipid_v2", weft_lpm_key{v4 ? 112u : 64u, to_abi(address(v4 ? "10.1.0.0" : "fd00:1::"))},
                  weft_ip_identity{WEFT_IDENTITY_WORLD, WEFT_IP_RESERVED});
    std::uint32_t id = 1;
    for (const auto& [port, forwarding] : {std::pair{80, WEFT_FORWARD_SNAT},
                                           {81, WEFT_FORWARD_DSR_IPIP},
                                           {82, WEFT_FORWARD_DSR_GENEVE},
                                           {83, WEFT_FORWARD_DSR_OPTION}})
      add_service(static_cast<std::uint16_t>(port), forwarding, id++);
  }

  double noop(const Kind& kind) { return run(wrapper_.program("bench_noop"), kind, flows_, repeats()); }

  // The same flows as the next measurement's.
  double peer(const Kind& kind) {
    auto control = control_for(kind, 1u << 20);
    control.cursor = fresh_;
    const double result = wrapper_.run(wrapper_.program(kind.peer), control, kind.packet.bytes(), kEvents);
    check(wrapper_.verdict == XDP_TX, fmt::format("{}: the peer's verdict {}", kind.name, wrapper_.verdict));
    return result;
  }

  void enter(const Kind& kind) {
    auto control = control_for(kind, flows_);
    for (std::uint32_t done = 0; done < flows_; done += kEvents) {
      wrapper_.run(datapath_.program("weft_xdp"), control, kind.packet.bytes(), std::min(flows_, kEvents));
      datapath_.events();
    }
  }

  double measure(const Kind& kind) {
    const auto before = datapath_.stats();
    const auto repeat = kind.fresh ? kEvents : repeats();
    auto control = control_for(kind, kind.fresh ? 1u << 20 : flows_);
    if (kind.fresh) control.cursor = fresh_;
    const double result = wrapper_.run(datapath_.program("weft_xdp"), control, kind.packet.bytes(), repeat);
    if (kind.fresh) fresh_ = control.cursor;
    const auto after = datapath_.stats();
    const auto events = datapath_.events().size();
    check(wrapper_.verdict == kind.verdict, fmt::format("{}: verdict {}", kind.name, wrapper_.verdict));
    // A right checksum that looks like one to be completed takes the way by tc: one in 65,536.
    const auto sent = after[WEFT_STAT_XDP_FORWARDED] - before[WEFT_STAT_XDP_FORWARDED];
    check(kind.verdict != XDP_TX || sent + repeat / 1024 + 1 >= repeat, fmt::format("{}: {} sent", kind.name, sent));
    const auto entered = after[WEFT_STAT_NEW_FLOW] - before[WEFT_STAT_NEW_FLOW];
    check(entered == (kind.fresh ? repeat : 0), fmt::format("{}: {} new flows", kind.name, entered));
    check(!kind.fresh || events == repeat, fmt::format("{}: {} events", kind.name, events));
    return result;
  }

 private:
  static std::uint32_t table_entries(std::uint32_t flows) { return std::max(262144u, 4 * flows); }

  double run(int target, const Kind& kind, std::uint32_t flows, std::uint32_t repeat) {
    auto control = control_for(kind, flows);
    return wrapper_.run(target, control, kind.packet.bytes(), repeat);
  }
  [[nodiscard]] std::uint32_t repeats() const { return std::max(flows_, 262144u); }

  void add_service(std::uint16_t port, weft_forwarding forwarding, std::uint32_t id) {
    const auto first = id * kBackends;
    for (std::uint32_t i = 0; i < kBackends; ++i) {
      weft_backend backend{};
      backend.addr = to_abi(address(v4_ ? "192.0.2.77" : "2001:db8::77"));
      backend.port = htons(static_cast<std::uint16_t>(8000 + i));
      backend.protocol = 6;
      backend.state = WEFT_BACKEND_ACTIVE;
      backend.service_id = id;
      datapath_.put("weft_backend_v2", first + i, backend);
      datapath_.put("weft_slot_v2", first + i, first + i);
    }
    weft_service service{};
    service.service_id = id;
    service.first_slot = service.external_first_slot = first;
    service.slot_count = service.external_slot_count = kBackends;
    service.flags = WEFT_SERVICE_EXTERNAL;
    service.forwarding = static_cast<std::uint8_t>(forwarding);
    datapath_.put("weft_svc_v2", weft_service_key{to_abi(address(v4_ ? "10.2.0.10" : "fd00:2::10")), htons(port), 6, 0},
                  service);
    const auto word = weft_port_word(WEFT_PORTS_DEVICE, 0, port);
    const auto bits = datapath_.get<std::uint64_t>("weft_ports_v1", word).value();
    datapath_.put("weft_ports_v1", word, bits | std::uint64_t{1} << (port & 63));
  }

  bool v4_;
  std::uint32_t flows_;
  Datapath datapath_;
  Wrapper wrapper_;
  std::uint32_t fresh_ = 0;
};

std::vector<Kind> kinds(bool v4) {
  const std::string suffix = v4 ? "" : "_v6";
  const auto packet =
      tcp(address(v4 ? "203.0.114.50" : "2001:db8:c::50"), 50000, address(v4 ? "10.2.0.10" : "fd00:2::10"), 80);
  const auto at = [&](std::uint16_t port) { return packet.to(packet.destination, port); };
  return {{"xdp_established" + suffix, packet},
          {.name = "xdp_new" + suffix, .packet = packet.with_flags(kSyn), .fresh = true, .peer = "bench_enter_two"},
          {.name = "xdp_new_dsr" + suffix,
           .packet = at(81).with_flags(kSyn),
           .fresh = true,
           .forwarding = WEFT_FORWARD_DSR_IPIP,
           .peer = "bench_enter_one"},
          {.name = "xdp_miss" + suffix, .packet = at(4444), .verdict = XDP_PASS},
          {.name = "xdp_dsr" + suffix, .packet = at(81), .forwarding = WEFT_FORWARD_DSR_IPIP},
          {.name = "xdp_dsr_geneve" + suffix, .packet = at(82), .forwarding = WEFT_FORWARD_DSR_GENEVE},
          {.name = "xdp_dsr_option" + suffix, .packet = at(83), .forwarding = WEFT_FORWARD_DSR_OPTION}};
}

}  // namespace

std::vector<XdpBenchRow> run_xdp_bench(const XdpBenchOptions& options) {
  std::vector<XdpBenchRow> rows;
  for (const bool v4 : {true, false})
    for (const std::uint32_t flows : {1u, 1024u, 65536u}) {
      if (options.only_flows && options.only_flows != flows) continue;
      auto all = kinds(v4);
      if (!options.only.empty()) std::erase_if(all, [&](const Kind& kind) { return kind.name != options.only; });
      if (all.empty()) continue;
      for (const auto& kind : all) {
        Set set(v4, flows);
        if (!kind.fresh && kind.verdict == XDP_TX) set.enter(kind);
        std::vector<double> net, peer;
        for (int round = 0; round < options.rounds; ++round) {
          const double idle = set.noop(kind);
          if (kind.peer != nullptr) peer.push_back(set.peer(kind) - idle);
          net.push_back(set.measure(kind) - idle);
        }
        std::ranges::sort(net);
        std::ranges::sort(peer);
        rows.push_back(
            {kind.name, flows, net[net.size() / 2], net.front(), net.back(), peer.empty() ? 0 : peer[peer.size() / 2]});
        fmt::print("{:28} {:>8} {:>6} {:>8.0f} {:>8.0f} {:>8.0f} {:>8.0f}\n", kind.name, flows, "few",
                   rows.back().median, rows.back().lowest, rows.back().highest, rows.back().peer);
        std::fflush(stdout);
      }
    }
  return rows;
}

}  // namespace weft::test
