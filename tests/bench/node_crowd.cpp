// A crowd of nodes as etcd sees them, for one agent to know: records, blocks, identities, pods, each alive under a
// lease of its own, all written with the encoders the agents use. Then pods change, and the agent's table is watched.
//
//   node_crowd --etcd URL --cluster NAME --map FILE [--nodes N] [--pods N] [--label-sets N] [--changes N] [--rate N]
//              [--range CIDR] [--agent PID] [--dual-stack]
//
// FILE is the agent's weft_remote_v1, pinned. Blocks are of the pool "crowd", which the cluster must have: a
// PodAddressPool of 100.64.0.0/10 in blocks of /24, with --dual-stack of fd00:c::/32 in blocks of /48 too. Commands
// come by standard input, one a line, and each answers with one line of JSON: `fill` writes all of it, `wait` returns
// when the table is right, `churn` changes pods and waits for each to be seen, `check` compares the table as it is with
// what was written. The end of the input ends the crowd; its leases run out.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "abi/endpoint.h"
#include "base/fd.h"
#include "program.h"
#include "sources/cluster/shared_endpoints.h"
#include "sources/cluster/values.h"
#include "sources/etcd/grpc_client.h"

namespace weft::bench {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr std::size_t most_in_flight = 32;
constexpr std::size_t keys_in_a_write = 100;  // etcd takes 128
constexpr auto lease_time = std::chrono::seconds(60);
constexpr auto patience = std::chrono::seconds(300);
constexpr cluster::IdentityNumber first_number = 20000;  // an agent's own begin at 256

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

template <class T>
T take(Result<T> result, const char* what) {
  if (!result) throw std::runtime_error(fmt::format("{}: {}", what, result.error().message));
  return std::move(*result);
}

IpAddress address_v6(unsigned node, unsigned place) {
  return IpAddress::parse(fmt::format("fd00:c:{:x}::{:x}", node, place)).value();
}

struct Plan {
  std::string etcd;
  std::string cluster = "default";
  std::string map;
  Cidr range = Cidr::parse("100.64.0.0/10").value();  // blocks are taken from its end
  unsigned nodes = 1000;
  unsigned pods = 50;  // of each node
  unsigned label_sets = 2000;
  unsigned changes = 2000;
  unsigned rate = 100;  // changes a second
  int agent = 0;
  bool dual_stack = false;
};

weft_addr key_of(const IpAddress& address) {
  weft_addr key{};
  std::memcpy(&key, address.bytes().data(), sizeof key);
  return key;
}

// The agent's table, read by system calls of one row or all.
class Table {
 public:
  explicit Table(const std::string& path) : fd_(::bpf_obj_get(path.c_str())) {
    if (!fd_.valid()) throw std::runtime_error(fmt::format("{}: {}", path, std::strerror(errno)));
  }
  bool lookup(const IpAddress& address, weft_remote& row) const {
    const auto key = key_of(address);
    return ::bpf_map_lookup_elem(fd_.get(), &key, &row) == 0;
  }
  [[nodiscard]] std::map<IpAddress, weft_remote> rows() const {
    std::map<IpAddress, weft_remote> rows;
    weft_addr key{};
    weft_addr next{};
    for (bool first = true; ::bpf_map_get_next_key(fd_.get(), first ? nullptr : &key, &next) == 0; first = false) {
      weft_remote row{};
      if (::bpf_map_lookup_elem(fd_.get(), &next, &row) == 0) {
        IpAddress::Bytes bytes{};
        std::memcpy(bytes.data(), &next, sizeof next);
        rows.emplace(IpAddress(bytes), row);
      }
      key = next;
    }
    return rows;
  }

 private:
  Fd fd_;
};

class Simulation {
 public:
  explicit Simulation(Plan plan)
      : plan_(std::move(plan)),
        scheduler_(loop_),
        table_(plan_.map),
        keys_(take(cluster::Keyspace::make(plan_.cluster), "cluster")) {
    etcd::Options options;
    options.endpoints = {plan_.etcd};
    options.call_timeout = std::chrono::seconds(60);
    client_ = take(etcd::make_client(scheduler_, options, etcd::system_random()), "etcd");
    for (unsigned node = 0; node < plan_.nodes; ++node) add_node(node);
  }

  json fill();
  json wait_for_table();
  json churn();
  json check() const;
  // What etcd and the loop want, until `ready` holds.
  void run_until(const std::function<bool()>& ready, std::chrono::seconds limit = patience);

 private:
  struct Change {
    std::size_t node = 0;
    IpAddress address;
    cluster::IdentityNumber identity = 0;
    Clock::time_point sent;
    std::optional<Clock::time_point> written;
  };

  void add_node(unsigned number);
  cluster::SharedEndpoint new_pod(unsigned node, unsigned place);
  LabelMap labels(unsigned number) const;
  void write(std::vector<etcd::Op> ops, std::function<void()> done = {});
  void write_all(const std::vector<std::pair<std::string, std::string>>& keys);
  void live();
  void stay_alive();
  void change_one(std::vector<Change>& open);
  [[nodiscard]] double agent_seconds() const;
  [[nodiscard]] json costs();

  Plan plan_;
  asio::io_context loop_;
  etcd::AsioScheduler scheduler_;
  Table table_;
  cluster::Keyspace keys_;
  std::unique_ptr<etcd::Client> client_;
  std::mt19937 random_{20240611};
  std::vector<std::string> names_;
  std::vector<cluster::NodeRecord> records_;
  std::vector<cluster::NodeEndpoints> endpoints_;
  std::vector<Cidr> blocks_;
  std::vector<unsigned> next_place_;
  std::vector<etcd::LeaseId> leases_;
  etcd::Timer alive_timer_;
  std::size_t in_flight_ = 0;
  std::string trouble_;
  unsigned next_name_ = 0;
};

void Simulation::add_node(unsigned number) {
  names_.push_back(fmt::format("crowd-{:04}", number));
  const auto last = plan_.range.address().plus(plan_.range.size() - 256);
  const Cidr block(IpAddress::v4(last.to_v4() - number * 256), 24);
  if (!plan_.range.contains(block)) throw std::runtime_error("--range has too few blocks for so many nodes");
  blocks_.push_back(block);
  cluster::NodeRecord record;
  record.boot_id = fmt::format("boot-{}", number);
  record.underlay = {IpAddress::v4(0xc6120000 + number + 1)};  // 198.18.0.0/15, of benchmarks
  record.mode = "vxlan";
  record.mtu = 1450;
  record.gateways = {block.address().plus(1)};
  endpoints_.push_back({.boot_id = record.boot_id, .pods = {}});
  records_.push_back(std::move(record));
  next_place_.push_back(2);
  for (unsigned pod = 0; pod < plan_.pods; ++pod) {
    auto told = new_pod(number, next_place_[number]++);
    endpoints_[number].pods.emplace(cluster::PodName{fmt::format("team-{}", random_() % 100),
                                                     fmt::format("app-{}-7d9f8b6c5d-{:05}", number, next_name_++)},
                                    std::move(told));
  }
}

cluster::SharedEndpoint Simulation::new_pod(unsigned node, unsigned place) {
  cluster::SharedEndpoint pod;
  pod.addresses = {blocks_[node].address().plus(place)};
  if (plan_.dual_stack) pod.addresses.push_back(address_v6(node, place));
  pod.identity = first_number + random_() % plan_.label_sets;
  if (random_() % 2 == 0) pod.ports = {{"http", 8080, Protocol::tcp}};
  return pod;
}

LabelMap Simulation::labels(unsigned number) const {
  return {{"k8s:app", fmt::format("app-{}", number)},
          {"k8s:io.kubernetes.pod.namespace", fmt::format("team-{}", number % 100)},
          {"k8s:tier", number % 2 == 0 ? "front" : "back"}};
}

void Simulation::run_until(const std::function<bool()>& ready, std::chrono::seconds limit) {
  const auto end = Clock::now() + limit;
  while (!ready()) {
    if (!trouble_.empty()) throw std::runtime_error(trouble_);
    if (Clock::now() > end) throw std::runtime_error(fmt::format("nothing after {} s", limit.count()));
    loop_.restart();
    loop_.run_for(std::chrono::milliseconds(1));
  }
}

void Simulation::write(std::vector<etcd::Op> ops, std::function<void()> done) {
  run_until([this] { return in_flight_ < most_in_flight; });
  ++in_flight_;
  client_->txn({.compare = {}, .then = std::move(ops), .otherwise = {}}, {},
               [this, done = std::move(done)](const etcd::Outcome<etcd::TxnResult>& result) {
                 --in_flight_;
                 if (!result) trouble_ = "writing to etcd: " + result.error().to_error().message;
                 if (result && done) done();
               });
}

void Simulation::write_all(const std::vector<std::pair<std::string, std::string>>& keys) {
  for (std::size_t at = 0; at < keys.size(); at += keys_in_a_write) {
    std::vector<etcd::Op> ops;
    for (std::size_t i = at; i < std::min(keys.size(), at + keys_in_a_write); ++i)
      ops.emplace_back(etcd::PutRequest{keys[i].first, keys[i].second});
    write(std::move(ops));
  }
  run_until([this] { return in_flight_ == 0; });
}

// Each node's own lease, and its key under it.
void Simulation::live() {
  leases_.resize(plan_.nodes);
  for (unsigned node = 0; node < plan_.nodes; ++node) {
    run_until([this] { return in_flight_ < most_in_flight; });
    ++in_flight_;
    client_->grant(lease_time, 0, {}, [this, node](const etcd::Outcome<etcd::LeaseGrant>& lease) {
      --in_flight_;
      if (!lease) {
        trouble_ = "a lease: " + lease.error().to_error().message;
        return;
      }
      leases_[node] = lease->id;
    });
  }
  run_until([this] { return in_flight_ == 0; });
  for (unsigned node = 0; node < plan_.nodes; ++node) {
    const cluster::Incarnation self{names_[node], records_[node].boot_id};
    write({etcd::PutRequest{keys_.build(cluster::AliveKey{names_[node]}), cluster::encode(self), leases_[node]},
           etcd::PutRequest{keys_.build(cluster::NodeKey{names_[node]}), cluster::encode(records_[node])}});
  }
  stay_alive();
}

void Simulation::stay_alive() {
  for (const auto lease : leases_) client_->keep_alive(lease, {}, [](const auto&) {});
  alive_timer_ = scheduler_.after(lease_time / 3, [this] { stay_alive(); });
}

json Simulation::fill() {
  const auto start = Clock::now();
  std::vector<std::pair<std::string, std::string>> keys;
  for (unsigned number = 0; number < plan_.label_sets; ++number) {
    keys.emplace_back(keys_.build(cluster::IdentityKey{first_number + number}),
                      take(cluster::encode_labels(labels(number)), "labels"));
    keys.emplace_back(keys_.build(cluster::LabelsKey{labels(number)}), cluster::encode_number(first_number + number));
  }
  for (unsigned node = 0; node < plan_.nodes; ++node) {
    const auto owner = cluster::encode(cluster::Incarnation{names_[node], records_[node].boot_id});
    keys.emplace_back(keys_.build(cluster::BlockKey{{"crowd", blocks_[node]}}), owner);
    if (plan_.dual_stack)
      keys.emplace_back(keys_.build(cluster::BlockKey{{"crowd", Cidr(address_v6(node, 0), 48)}}), owner);
    cluster::IdentityUsers users{.boot_id = records_[node].boot_id, .numbers = {}};
    for (const auto& [name, pod] : endpoints_[node].pods) users.numbers.insert(pod.identity);
    keys.emplace_back(keys_.build(cluster::UsersKey{names_[node]}), cluster::encode(users));
  }
  write_all(keys);
  live();
  for (unsigned node = 0; node < plan_.nodes; ++node)
    write({etcd::PutRequest{keys_.build(cluster::EndpointsKey{names_[node]}), cluster::encode(endpoints_[node])}});
  run_until([this] { return in_flight_ == 0; });
  auto result = costs();
  result["seconds"] = seconds_since(start);
  return result;
}

// What is wrong in the table, the first of it in words.
json Simulation::check() const {
  const auto rows = table_.rows();
  std::size_t missing = 0;
  std::size_t wrong = 0;
  std::set<IpAddress> expected;
  std::map<std::uint32_t, std::size_t> node_of_number;
  std::string first;
  const auto note = [&](std::size_t& count, const std::string& text) {
    if (count++ == 0 && first.empty()) first = text;
  };
  for (std::size_t node = 0; node < endpoints_.size(); ++node)
    for (const auto& [name, pod] : endpoints_[node].pods)
      for (const auto& address : pod.addresses) {
        expected.insert(address);
        const auto row = rows.find(address);
        if (row == rows.end()) {
          note(missing, address.to_string() + " is missing");
        } else if (row->second.identity != pod.identity || row->second.flags != 0 || row->second.node == 0 ||
                   node_of_number.try_emplace(row->second.node, node).first->second != node) {
          note(wrong, fmt::format("{}: identity {}, node {}; identity {} is right", address.to_string(),
                                  row->second.identity, row->second.node, pod.identity));
        }
      }
  std::size_t too_many = 0;
  const auto ours = Cidr::parse("fd00:c::/32").value();
  for (const auto& [address, row] : rows)
    if (row.flags == 0 && (plan_.range.contains(address) || ours.contains(address)) && !expected.contains(address) &&
        std::ranges::any_of(blocks_, [&](const Cidr& block) { return block.contains(address); }))
      note(too_many, address.to_string() + " is too much");
  return {{"expected", expected.size()}, {"missing", missing}, {"wrong", wrong},
          {"too_many", too_many},        {"first", first},     {"right", missing + wrong + too_many == 0}};
}

json Simulation::wait_for_table() {
  const auto start = Clock::now();
  auto looked = start - std::chrono::seconds(1);
  run_until([&] {
    if (Clock::now() - looked < std::chrono::milliseconds(100)) return false;
    looked = Clock::now();
    return check()["right"].get<bool>();
  });
  auto result = costs();
  result["seconds"] = seconds_since(start);
  return result;
}

// One pod goes and another comes, on a node none of whose changes is open.
void Simulation::change_one(std::vector<Change>& open) {
  std::size_t node = random_() % plan_.nodes;
  while (std::ranges::any_of(open, [&](const Change& change) { return change.node == node; }))
    node = random_() % plan_.nodes;
  auto& pods = endpoints_[node].pods;
  pods.erase(std::next(pods.begin(), static_cast<std::ptrdiff_t>(random_() % pods.size())));
  // Only addresses that no pod of the node has.
  std::set<IpAddress> taken;
  for (const auto& [name, pod] : pods) taken.insert(pod.addresses.begin(), pod.addresses.end());
  auto& place = next_place_[node];
  do place = place == 254 ? 2 : place + 1;
  while (taken.contains(blocks_[node].address().plus(place)));
  auto pod = new_pod(static_cast<unsigned>(node), place);
  Change change{
      .node = node, .address = pod.addresses.front(), .identity = pod.identity, .sent = Clock::now(), .written = {}};
  pods.emplace(cluster::PodName{"team-1", fmt::format("app-{}-{:05}", node, next_name_++)}, std::move(pod));
  const auto address = change.address;
  open.push_back(change);
  write({etcd::PutRequest{keys_.build(cluster::EndpointsKey{names_[node]}), cluster::encode(endpoints_[node])}},
        [&open, node, address] {
          for (auto& each : open)
            if (each.node == node && each.address == address) each.written = Clock::now();
        });
}

double Simulation::agent_seconds() const {
  std::ifstream stat(fmt::format("/proc/{}/stat", plan_.agent));
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  const auto after_name = text.rfind(')');
  if (after_name == std::string::npos) return 0;
  unsigned long user = 0;
  unsigned long system = 0;
  if (std::sscanf(text.c_str() + after_name + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                  &system) != 2)
    return 0;
  return static_cast<double>(user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

json Simulation::costs() {
  json result = json::object();
  std::ifstream status(fmt::format("/proc/{}/status", plan_.agent));
  for (std::string line; std::getline(status, line);)
    for (const auto* what : {"VmRSS", "RssAnon", "VmHWM"})
      if (line.starts_with(what)) result[what] = std::stod(line.substr(line.find(':') + 1)) / 1000;  // MB of 1000 kB
  bool answered = false;
  client_->status({}, [&](const etcd::Outcome<etcd::Status>& etcd) {
    if (etcd) result["etcd_bytes"] = etcd->database_bytes;
    answered = true;
  });
  run_until([&] { return answered; });
  return result;
}

json Simulation::churn() {
  std::vector<Change> open;
  std::vector<double> since_sent;
  std::vector<double> since_written;
  const auto start = Clock::now();
  const auto before = agent_seconds();
  unsigned made = 0;
  const auto look = [&] {
    std::erase_if(open, [&](const Change& change) {
      weft_remote row{};
      if (!change.written || !table_.lookup(change.address, row) || row.identity != change.identity) return false;
      const auto now = Clock::now();
      since_sent.push_back(std::chrono::duration<double, std::milli>(now - change.sent).count());
      since_written.push_back(std::chrono::duration<double, std::milli>(now - *change.written).count());
      return true;
    });
  };
  run_until([&] {
    while (made < plan_.changes && open.size() < plan_.nodes / 2 && seconds_since(start) * plan_.rate >= made) {
      ++made;
      change_one(open);
    }
    look();
    return made == plan_.changes && open.empty();
  });
  const auto took = seconds_since(start);
  auto result = costs();
  const auto add = [&](const std::string& name, std::vector<double>& values) {
    std::ranges::sort(values);
    const auto at = [&](double part) {
      return values.empty() ? 0
                            : values[std::min(values.size() - 1,
                                              static_cast<std::size_t>(part * static_cast<double>(values.size())))];
    };
    result[name + "_p50_ms"] = at(0.5);
    result[name + "_p99_ms"] = at(0.99);
  };
  add("from_sent", since_sent);
  add("from_written", since_written);
  result["changes"] = made;
  result["seconds"] = took;
  result["cpu_percent"] = (agent_seconds() - before) / took * 100;
  return result;
}

Plan read_arguments(const std::vector<std::string>& arguments) {
  Plan plan;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto& name = arguments[i];
    if (name == "--dual-stack") {
      plan.dual_stack = true;
      continue;
    }
    if (i + 1 == arguments.size()) throw std::runtime_error(name + ": a value is missing, or the option is none");
    const auto& value = arguments[++i];
    const auto number = [&] { return static_cast<unsigned>(std::stoul(value)); };
    if (name == "--etcd")
      plan.etcd = value;
    else if (name == "--cluster")
      plan.cluster = value;
    else if (name == "--map")
      plan.map = value;
    else if (name == "--range")
      plan.range = take(Cidr::parse(value), "--range");
    else if (name == "--nodes")
      plan.nodes = number();
    else if (name == "--pods")
      plan.pods = number();
    else if (name == "--label-sets")
      plan.label_sets = number();
    else if (name == "--changes")
      plan.changes = number();
    else if (name == "--rate")
      plan.rate = number();
    else if (name == "--agent")
      plan.agent = static_cast<int>(number());
    else
      throw std::runtime_error(name + " is no option");
  }
  if (plan.etcd.empty() || plan.map.empty()) throw std::runtime_error("--etcd and --map are needed");
  if (plan.nodes < 2 || plan.pods < 1 || plan.pods > 200 || plan.label_sets < 1)
    throw std::runtime_error("two nodes or more, one to 200 pods each, one label set or more");
  return plan;
}

// Between commands the leases are kept.
bool next_command(Simulation& simulation, std::string& command) {
  const auto said = [] {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    return ::poll(&input, 1, 0) > 0;
  };
  simulation.run_until(said, std::chrono::hours(1));
  return static_cast<bool>(std::getline(std::cin, command));
}

int run(const std::vector<std::string>& arguments) {
  Simulation simulation(read_arguments(arguments));
  answer_commands({{"fill", [&] { return simulation.fill(); }},
                   {"wait", [&] { return simulation.wait_for_table(); }},
                   {"churn", [&] { return simulation.churn(); }},
                   {"check", [&] { return simulation.check(); }}},
                  [&](std::string& command) { return next_command(simulation, command); });
  return 0;
}

}  // namespace
}  // namespace weft::bench

int main(int count, char** values) { return weft::bench::program("node_crowd", count, values, &weft::bench::run); }
