// What one packet costs in the datapath's programs, in nanoseconds net of a program that does
// nothing: established, through a service, reply, new, denied; with 1 to 524,288 flows; with few and
// with many pods, policies and services. Medians over interleaved rounds, beside the least a program
// with flow state can do (the peer). Every run is checked: verdicts, rewritten packet, counters.
//
//   packet_bench [--json FILE] [--rounds N] [--flows N] [--case NAME]
#include "packet_bench.h"

#include "node_bench.h"
#include "xdp_bench.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "datapath.h"
#include "packet.h"

namespace weft::test {
namespace {

constexpr std::uint32_t kAddressBits = 16;  // addresses a set of flows spreads over
constexpr std::uint32_t kServers = 0x1000;
constexpr std::uint32_t kDenied = 0x2000;
constexpr std::uint32_t kFresh = 0x3000;
constexpr std::uint32_t kClass = 5;
constexpr std::uint16_t kPort = 8080;

struct Options {
  std::string json;
  std::string only;
  std::uint32_t only_flows = 0;
  int rounds = 7;
};

struct Row {
  std::string name;
  std::uint32_t flows = 0;
  std::string tables;
  double weft = 0, lowest = 0, highest = 0, peer = 0;
  std::string peer_name = "parse, LRU lookup, epoch compare, redirect";
};

struct Addressing {
  bool v4;
  [[nodiscard]] IpAddress pod(std::uint32_t number) const {
    return v4 ? IpAddress::v4(0x0a010000 + number) : IpAddress::parse("fd00:1::").value().plus(number);
  }
  [[nodiscard]] IpAddress service(std::uint32_t number) const {
    return v4 ? IpAddress::v4(0x0a020000 + number) : IpAddress::parse("fd00:2::").value().plus(number);
  }
  [[nodiscard]] IpAddress client() const { return pod(2); }
};

// The bench object, and runs of the wrapper.
class Bench {
 public:
  explicit Bench(std::uint32_t peer_flows) {
    object_ = bpf_object__open_file(WEFT_BENCH_OBJECT, nullptr);
    if (!object_) throw std::runtime_error("cannot open " WEFT_BENCH_OBJECT);
    bpf_map__set_max_entries(bpf_object__find_map_by_name(object_, "bench_peer_flows"), peer_flows);
    if (bpf_object__load(object_) != 0) throw std::runtime_error("cannot load " WEFT_BENCH_OBJECT);
  }
  ~Bench() { bpf_object__close(object_); }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  [[nodiscard]] int program(const char* name) const {
    return bpf_program__fd(bpf_object__find_program_by_name(object_, name));
  }

  // Nanoseconds a repeat, the wrapper included. The last repeat's verdict and packet are kept.
  double run(int target, const bench_control& control, std::uint32_t ifindex, std::uint32_t repeat) {
    const std::uint32_t zero = 0;
    if (bpf_map_update_elem(map("bench_control"), &zero, &control, 0) != 0 ||
        bpf_map_update_elem(map("bench_target"), &zero, &target, 0) != 0)
      throw std::runtime_error("cannot write the bench's maps");
    __sk_buff context{};
    context.ifindex = ifindex;
    output.resize(control.header_length + 64);
    Octets input(control.header, control.header + control.header_length);
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = input.data();
    options.data_size_in = static_cast<std::uint32_t>(input.size());
    options.data_out = output.data();
    options.data_size_out = static_cast<std::uint32_t>(output.size());
    options.ctx_in = &context;
    options.ctx_size_in = sizeof context;
    options.repeat = static_cast<int>(repeat);
    if (const int error = bpf_prog_test_run_opts(program("bench_wrap"), &options); error != 0)
      throw std::runtime_error(fmt::format("test run failed: {}", std::strerror(-error)));
    verdict = static_cast<int>(options.retval);
    output.resize(options.data_size_out);
    return options.duration;
  }

  int verdict = 0;
  Octets output;

 private:
  [[nodiscard]] int map(const char* name) const { return bpf_map__fd(bpf_object__find_map_by_name(object_, name)); }
  bpf_object* object_ = nullptr;
};

// One kind of packet: where it enters, what varies from flow to flow, what must come of it.
struct Kind {
  std::string name;
  Packet packet;
  Packet becomes;
  std::uint32_t ifindex = kPodA;
  bool reply = false;  // the flow's number is in the source address and destination port
  std::uint32_t base = kServers;
  int verdict = kActRedirect;
  enum class Outcome { established, fresh, denied } outcome = Outcome::established;
};

bench_control control_for(const Kind& kind, std::uint32_t flows) {
  bench_control control{};
  const auto bytes = kind.packet.bytes();
  control.header_length = static_cast<std::uint32_t>(std::min<std::size_t>(bytes.size(), BENCH_HEADER_MAX));
  std::memcpy(control.header, bytes.data(), control.header_length);
  const std::uint32_t l4 = kind.packet.is_v4() ? 34 : 54;
  const std::uint32_t destination_end = l4;
  const std::uint32_t source_end = kind.packet.is_v4() ? 30 : 38;
  control.port_offset = kind.reply ? l4 + 2 : l4;
  control.address_offset = (kind.reply ? source_end : destination_end) - 2;
  control.address_base = kind.base;
  control.flow_mask = flows - 1;
  control.epoch = 1;
  control.out_ifindex = kPodB;
  return control;
}

void add_pod(Datapath& datapath, const IpAddress& address, std::uint32_t number, std::uint32_t ifindex, bool isolated) {
  weft_endpoint endpoint{};
  endpoint.ifindex = ifindex;
  endpoint.endpoint_id = number + 2;
  endpoint.identity = 1000 + (number & 0xfff);
  endpoint.policy_class = kClass;
  endpoint.flags = isolated ? WEFT_ENDPOINT_INGRESS_ENFORCED : 0;
  endpoint.prefix_mask[WEFT_INGRESS] = 1u << 16 | 1;
  endpoint.default_rule[WEFT_INGRESS] = 70;
  datapath.put("weft_ep_v1", to_abi(address), endpoint);
}

void add_rule(Datapath& datapath, std::uint32_t policy_class, std::uint32_t identity, std::uint16_t port) {
  const weft_policy_key key{policy_class, identity, port, 6, WEFT_INGRESS << 7 | 16};
  datapath.put("weft_policy_v1", key, weft_policy_entry{20, WEFT_POLICY_ALLOW, {}});
}

void add_service(Datapath& datapath, const Addressing& net, std::uint32_t number, const IpAddress& backend) {
  weft_backend row{};
  row.addr = to_abi(backend);
  row.port = htons(kPort);
  row.protocol = 6;
  row.state = WEFT_BACKEND_ACTIVE;
  row.service_id = number + 1;
  datapath.put("weft_backend_v2", number + 1, row);
  datapath.put("weft_slot_v2", number, number + 1);
  datapath.put("weft_svc_v2", weft_service_key{to_abi(net.service(number)), htons(80), 6, 0},
               weft_service{.service_id = number + 1, .first_slot = number, .slot_count = 1});
}

// Every server is isolated with a rule for the client: a new flow costs a policy that is there.
void fill_tables(Datapath& datapath, const Addressing& net, std::uint32_t others) {
  add_pod(datapath, net.client(), 0, kPodA, false);
  add_rule(datapath, kClass, 1000, kPort);
  for (std::uint32_t i = 0; i < kAddressBits; ++i) {
    add_pod(datapath, net.pod(kServers + i), 16 + i, kPodB, true);
    add_pod(datapath, net.pod(kFresh + i), 32 + i, kPodB, true);
    add_pod(datapath, net.pod(kDenied + i), 48 + i, kPodB, true);
    add_service(datapath, net, kServers + i, net.pod(kServers + i));
  }
  for (std::uint32_t i = 0; i < others; ++i) {
    add_pod(datapath, net.pod(0x4000 + i), 64 + i, kPodC, true);
    add_service(datapath, net, 0x4000 + i, net.pod(0x4000 + i));
    for (std::uint32_t rule = 0; rule < 8; ++rule)
      add_rule(datapath, kClass + 1 + i, 2000 + rule, static_cast<std::uint16_t>(kPort + rule));
  }
}

void check(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

class Set {
 public:
  Set(bool v4, std::uint32_t flows, std::uint32_t others)
      : flows_(flows),
        net_{v4},
        datapath_({.flows = std::max(65536u, 4 * flows),
                   .others = std::max(65536u, others * 9 + 4096),
                   .ring_bytes = 1u << 20}),
        bench_(flows + flows / 4 + 4096) {
    fill_tables(datapath_, net_, others);
  }

  [[nodiscard]] const Addressing& net() const { return net_; }

  // Untimed: enters `flows` flows of this kind.
  void enter(const Kind& kind) {
    auto control = control_for(kind, flows_);
    for (std::uint32_t done = 0; done < flows_; done += 4096) {
      bench_.run(datapath_.program("weft_from_pod"), control, kind.ifindex, std::min(flows_, 4096u));
      control.cursor = next_cursor(control.cursor, std::min(flows_, 4096u), control.flow_mask);
      datapath_.events();
    }
  }
  void enter_peer(const Kind& kind) {
    bench_.run(bench_.program("bench_peer_fill"), control_for(kind, flows_), kind.ifindex, flows_);
  }

  // One packet of flow 0: the verdict and the bytes are right.
  void check_packet(const Kind& kind) {
    auto control = control_for(kind, 1);
    bench_.run(datapath_.program("weft_from_pod"), control, kind.ifindex, 1);
    datapath_.events();
    check(bench_.verdict == kind.verdict, fmt::format("{}: verdict {}", kind.name, bench_.verdict));
    if (kind.verdict == kActRedirect && dump(bench_.output) != dump(kind.becomes.bytes()))
      throw std::runtime_error(
          fmt::format("{}: packet\n{}\ninstead of\n{}", kind.name, dump(bench_.output), dump(kind.becomes.bytes())));
  }

  double noop(const Kind& kind) {
    return bench_.run(bench_.program("bench_noop"), control_for(kind, flows_), kind.ifindex, repeats());
  }
  double peer(const Kind& kind) {
    const double result = bench_.run(bench_.program("bench_peer"), control_for(kind, flows_), kind.ifindex, repeats());
    check(bench_.verdict == kActRedirect, "the peer knows no flow");
    return result;
  }

  double measure(const Kind& kind) {
    if (kind.outcome != Kind::Outcome::fresh) return measure_once(kind, control_for(kind, flows_), repeats());
    // As many as the ring holds at a time; it has the size it has on a node.
    constexpr int kParts = 4;
    constexpr std::uint32_t kEvents = 4096;
    auto control = control_for(kind, 1u << 19);
    double sum = 0;
    for (int part = 0; part < kParts; ++part) {
      control.cursor = fresh_cursor_;
      sum += measure_once(kind, control, kEvents);
      fresh_cursor_ = next_cursor(fresh_cursor_, kEvents, control.flow_mask);
    }
    forget(kind);
    return sum / kParts;
  }

 private:
  // As the agent's sweep does with flows that have ended: the next round finds room in the table.
  void forget(const Kind& kind) {
    const auto name = net_.v4 ? "weft_flow4_v2" : "weft_flow6_v2";
    const auto fresh = to_abi(kind.packet.destination);
    if (net_.v4)
      delete_matching<weft_flow_key_v4>(name, fresh);
    else
      delete_matching<weft_flow_key_v6>(name, fresh);
  }

  template <class Key>
  void delete_matching(const char* name, const weft_addr& fresh) {
    constexpr std::uint32_t kBatch = 8192;
    std::vector<Key> keys(kBatch);
    std::vector<weft_flow> values(kBatch);
    std::vector<Key> doomed;
    std::uint64_t cursor = 0;
    bool first = true;
    LIBBPF_OPTS(bpf_map_batch_opts, options);
    for (int result = 0; result == 0;) {
      std::uint32_t count = kBatch;
      result = bpf_map_lookup_batch(datapath_.map(name), first ? nullptr : &cursor, &cursor, keys.data(), values.data(),
                                    &count, &options);
      first = false;
      for (std::uint32_t i = 0; i < count; ++i)
        if (is_fresh(keys[i].saddr, fresh) || is_fresh(keys[i].daddr, fresh)) doomed.push_back(keys[i]);
    }
    for (const auto& key : doomed) bpf_map_delete_elem(datapath_.map(name), &key);
  }
  static bool is_fresh(std::uint32_t address, const weft_addr& fresh) {
    return (ntohl(address) & ~0xfu) == (ntohl(fresh.word[3]) & ~0xfu);
  }
  static bool is_fresh(const weft_addr& address, const weft_addr& fresh) { return is_fresh(address.word[3], fresh); }

  double measure_once(const Kind& kind, const bench_control& control, std::uint32_t count) {
    const bool fresh = kind.outcome == Kind::Outcome::fresh;
    const auto drops = datapath_.drops();
    const auto stats = datapath_.stats();
    const double result = bench_.run(datapath_.program("weft_from_pod"), control, kind.ifindex, count);
    const auto drops_after = datapath_.drops();
    const auto stats_after = datapath_.stats();
    const auto denied = drops_after[WEFT_DROP_POLICY_DENIED] - drops[WEFT_DROP_POLICY_DENIED];
    const auto entered = stats_after[WEFT_STAT_NEW_FLOW] - stats[WEFT_STAT_NEW_FLOW];
    const auto told = datapath_.events().size();
    check(bench_.verdict == kind.verdict, fmt::format("{}: verdict {}", kind.name, bench_.verdict));
    check(denied == (kind.outcome == Kind::Outcome::denied ? count : 0),
          fmt::format("{}: {} denied", kind.name, denied));
    check(entered == (fresh ? count : 0), fmt::format("{}: {} new flows", kind.name, entered));
    check(!fresh || told == count, fmt::format("{}: {} events for {} flows", kind.name, told, count));
    return result;
  }

  [[nodiscard]] std::uint32_t repeats() const { return std::max(flows_, 262144u); }
  static std::uint32_t next_cursor(std::uint32_t cursor, std::uint32_t steps, std::uint32_t mask) {
    for (std::uint32_t i = 0; i < steps; ++i) cursor = (cursor * 1664525 + 1013904223) & mask;
    return cursor;
  }

  std::uint32_t flows_;
  Addressing net_;
  Datapath datapath_;
  Bench bench_;
  std::uint32_t fresh_cursor_ = 0;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// Measures the kinds in interleaved rounds; each round's no-op is subtracted from its figures.
std::vector<Row> measure(Set& set, const std::vector<Kind>& kinds, std::uint32_t flows, const std::string& tables,
                         int rounds) {
  std::vector<std::vector<double>> net(kinds.size());
  std::vector<double> peers;
  const bool v4 = set.net().v4;
  for (int round = 0; round < rounds; ++round) {
    if (v4) peers.push_back(set.peer(kinds.front()) - set.noop(kinds.front()));
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      const double idle = set.noop(kinds[i]);
      net[i].push_back(set.measure(kinds[i]) - idle);
    }
  }
  std::vector<Row> rows;
  for (std::size_t i = 0; i < kinds.size(); ++i)
    rows.push_back({kinds[i].name, flows, tables, median(net[i]), *std::ranges::min_element(net[i]),
                    *std::ranges::max_element(net[i]), peers.empty() ? 0 : median(peers)});
  return rows;
}

std::vector<Kind> plain_kinds(const Addressing& net, const std::string& suffix) {
  const auto forward = tcp(net.client(), 0x8000, net.pod(kServers), kPort);
  const auto fresh = tcp(net.client(), 0x8000, net.pod(kFresh), kPort, kSyn);
  const auto denied = tcp(net.client(), 0x8000, net.pod(kDenied), 9, kSyn);
  return {
      {.name = "pkt_established" + suffix, .packet = forward, .becomes = forward},
      {.name = "pkt_reply" + suffix,
       .packet = forward.reversed(),
       .becomes = forward.reversed(),
       .ifindex = kPodB,
       .reply = true},
      {.name = "pkt_new" + suffix, .packet = fresh, .becomes = fresh, .base = kFresh, .outcome = Kind::Outcome::fresh},
      {.name = "pkt_denied" + suffix,
       .packet = denied,
       .becomes = denied,
       .base = kDenied,
       .verdict = kActShot,
       .outcome = Kind::Outcome::denied},
  };
}

std::vector<Kind> service_kinds(const Addressing& net, const std::string& suffix) {
  const auto forward = tcp(net.client(), 0x8000, net.service(kServers), 80);
  const auto inside = forward.to(net.pod(kServers), kPort);
  return {
      {.name = "pkt_established_service" + suffix, .packet = forward, .becomes = inside},
      {.name = "pkt_reply_service" + suffix,
       .packet = inside.reversed(),
       .becomes = forward.reversed(),
       .ifindex = kPodB,
       .reply = true},
  };
}

void run_set(const Options& options, bool v4, std::uint32_t flows, std::uint32_t others, std::vector<Row>& rows) {
  const std::string suffix = v4 ? "" : "_v6";
  const Addressing net{v4};
  for (auto kinds : {plain_kinds(net, suffix), service_kinds(net, suffix)}) {
    const auto first = kinds.front();
    if (!options.only.empty()) std::erase_if(kinds, [&](const Kind& kind) { return kind.name != options.only; });
    if (kinds.empty()) continue;
    Set set(v4, flows, others);
    set.enter(first);
    if (v4) set.enter_peer(first);
    if (v4) set.enter_peer(kinds.front());
    for (const auto& kind : kinds)
      if (kind.outcome != Kind::Outcome::fresh) set.check_packet(kind);
    for (auto& row : measure(set, kinds, flows, others ? "many" : "few", options.rounds)) {
      fmt::print("{:28} {:>8} {:>6} {:>8.0f} {:>8.0f} {:>8.0f} {:>8.0f} {:>7.2f}\n", row.name, row.flows, row.tables,
                 row.weft, row.lowest, row.highest, row.peer, row.peer > 0 ? row.weft / row.peer : 0);
      std::fflush(stdout);
      rows.push_back(std::move(row));
    }
  }
}

void write_json(const std::string& path, const std::vector<Row>& rows, int runs) {
  FILE* file = std::fopen(path.c_str(), "w");
  if (!file) throw std::runtime_error("cannot write " + path);
  std::fputs("[\n", file);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto& row = rows[i];
    const auto metric = fmt::format("p50, {} flow{}{}", row.flows, row.flows == 1 ? "" : "s",
                                    row.tables == "many" ? ", 10000 pods, 80000 policy rows, 10000 services" : "");
    const auto peer = row.peer > 0 ? fmt::format("{:.0f}", row.peer) : "null";
    const auto ratio = row.peer > 0 ? fmt::format("{:.3f}", row.weft / row.peer) : "null";
    fmt::print(file,
               "  {{\"case\": \"{}\", \"metric\": \"{}\", \"unit\": \"ns\", \"weft\": {:.0f}, \"peer\": {}, "
               "\"peer_name\": \"{}\", \"ratio\": {}, \"runs\": {}}}{}\n",
               row.name, metric, row.weft, peer, row.peer_name, ratio, runs, i + 1 < rows.size() ? "," : "");
  }
  std::fputs("]\n", file);
  if (std::fclose(file) != 0) throw std::runtime_error("cannot write " + path);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (i + 1 >= argc) throw std::runtime_error(fmt::format("{} needs a value", name));
    const std::string value = argv[++i];
    if (name == "--json")
      options.json = value;
    else if (name == "--rounds")
      options.rounds = std::max(1, std::atoi(value.c_str()));
    else if (name == "--flows")
      options.only_flows = static_cast<std::uint32_t>(std::atoi(value.c_str()));
    else if (name == "--case")
      options.only = value;
    else
      throw std::runtime_error(fmt::format("unknown option {}", name));
  }
  return options;
}

// Both ends of a measurement on one CPU: a migration costs more than a packet.
void stay_on_this_cpu() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(sched_getcpu(), &cpus);
  sched_setaffinity(0, sizeof cpus, &cpus);
}

int bench_main(int argc, char** argv) {
  const auto options = parse(argc, argv);
  enter_private_network();
  stay_on_this_cpu();
  fmt::print("nanoseconds a packet, net of a program that does nothing; {} rounds\n", options.rounds);
  fmt::print("{:28} {:>8} {:>6} {:>8} {:>8} {:>8} {:>8} {:>7}\n", "case", "flows", "tables", "median", "min", "max",
             "peer", "ratio");
  std::vector<Row> rows;
  for (const std::uint32_t flows : {1u, 1024u, 65536u, 524288u})
    if (!options.only_flows || options.only_flows == flows) run_set(options, true, flows, 0, rows);
  if (!options.only_flows || options.only_flows == 1024) {
    run_set(options, true, 1024, 10000, rows);
    run_set(options, false, 1024, 0, rows);
  }
  for (const auto& row : run_xdp_bench({options.only, options.only_flows, options.rounds}))
    rows.push_back(
        {row.name, row.flows, "few", row.median, row.lowest, row.highest, row.peer, "its entries in LRU tables"});
  for (const auto& row : run_node_bench({options.only, options.only_flows, options.rounds}))
    rows.push_back({row.name, row.flows, "few", row.median, row.lowest, row.highest, row.peer,
                    "the kernel's helpers of the tunnel alone"});
  if (!options.json.empty()) write_json(options.json, rows, options.rounds);
  return 0;
}

}  // namespace
}  // namespace weft::test

int main(int argc, char** argv) {
  try {
    return weft::test::bench_main(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "packet_bench: {}\n", error.what());
    return 1;
  }
}
