// A crowd of nodes as they tell of themselves in the API server, for one agent with `store: kubernetes` to know: the
// double of an API server in this process, with the objects that agents write (records, blocks, labels, pods in
// slices, who is alive).
//
//   state_crowd --kubeconfig FILE --address A --map FILE [--nodes N] [--pods N] [--label-sets N]
//
// `--map` is the agent's weft_remote_v1, pinned; `--pods` are those of each node. The command `wait`, a line of
// standard input, is answered by a line of JSON once every pod's address has its row. The end of the input ends it.
#include <bpf/bpf.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "abi/endpoint.h"
#include "base/fd.h"
#include "base/ip.h"
#include "program.h"
#include "sources/cluster/shared_endpoints.h"
#include "sources/cluster/values.h"
#include "sources/crd_store/objects.h"
#include "sources/kubernetes/testing/api_server.h"

namespace weft::bench {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr auto patience = std::chrono::seconds(300);
constexpr unsigned first_number = 20000;  // of identities; an agent's own begin at 256
constexpr auto pool = "default";          // of the agent's pod_cidrs: 100.64.0.0/10, in blocks of /24
constexpr unsigned pods_of_a_slice = 32;  // StoreOptions::slice

struct Plan {
  std::string kubeconfig;
  std::string address;
  std::string map;
  unsigned nodes = 1000;
  unsigned pods = 50;
  unsigned label_sets = 2000;
};

class Crowd {
 public:
  explicit Crowd(Plan plan)
      : plan_(std::move(plan)),
        server_({.address = plan_.address}),
        codec_(crd::Places(cluster::Keyspace::make("default").value()), "weft-system") {
    for (const auto resource :
         {crd::Resource::nodes, crd::Resource::blocks, crd::Resource::identities, crd::Resource::users,
          crd::Resource::endpoints, crd::Resource::pools, crd::Resource::claims}) {
      const auto& name = crd::name_of(resource);
      server_.store().add_resource(fmt::format("/apis/{}/{}", crd::group_version, name.plural),
                                   {.kind = std::string(name.kind),
                                    .api_version = std::string(crd::group_version),
                                    .namespaced = name.namespaced,
                                    .status = false});
    }
    server_.store().put("/api/v1/namespaces/kube-system", json::object());
    server_.store().put("/api/v1/namespaces/weft-system", json::object());
    put(cluster::PoolsKey{},
        cluster::encode(std::vector<cluster::Pool>{
            {.name = pool, .ranges = {{.cidr = Cidr::parse("100.64.0.0/10").value(), .block_length = 24}}}}));
    for (unsigned i = 0; i < plan_.label_sets; ++i)
      put(cluster::IdentityKey{first_number + i},
          cluster::encode_labels({{"k8s:app", fmt::format("app-{}", i)}, {"k8s:tier", i % 2 == 0 ? "front" : "back"}})
              .value());
    for (unsigned i = 0; i < plan_.nodes; ++i) add_node(i);
    std::ofstream(plan_.kubeconfig) << fmt::format(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: \"{}\"}}}}]\n"
        "users: [{{name: c, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: c}}}}]\n",
        server_.access().servers.front());
  }

  json wait() {
    const auto start = Clock::now();
    const Fd table(::bpf_obj_get(plan_.map.c_str()));
    if (!table.valid()) throw std::runtime_error(fmt::format("{}: {}", plan_.map, std::strerror(errno)));
    for (std::size_t next = 0; next < addresses_.size();) {
      weft_addr key{};
      weft_remote row{};
      std::memcpy(&key, addresses_[next].bytes().data(), sizeof key);
      if (::bpf_map_lookup_elem(table.get(), &key, &row) == 0 && row.identity >= first_number) {
        ++next;
        continue;
      }
      if (Clock::now() - start > patience) throw std::runtime_error(addresses_[next].to_string() + " has no row");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return {{"seconds", std::chrono::duration<double>(Clock::now() - start).count()}, {"pods", addresses_.size()}};
  }

 private:
  void put(const cluster::Key& key, const std::string& value, etcd::LeaseId lease = 0) {
    const auto place = codec_.places().of(keys_.build(key)).value();
    const auto& name = crd::name_of(place.resource);
    const auto object = codec_.encode(place, value, {.lease = lease, .lease_uid = {}}).value();
    server_.store().put(fmt::format("/apis/{}/{}{}/{}", crd::group_version,
                                    name.namespaced ? "namespaces/weft-system/" : "", name.plural, place.name),
                        json::parse(object));
  }

  void add_node(unsigned number) {
    const auto name = fmt::format("crowd-{:04}", number);
    const auto boot_id = fmt::format("boot-{}", number);
    const Cidr block(IpAddress::v4(0x64400000 + number * 256), 24);
    cluster::NodeRecord record{.boot_id = boot_id, .mode = "vxlan", .mtu = 1450, .gateways = {block.address().plus(1)}};
    record.underlay = {IpAddress::v4(0xc6120000 + number + 1)};  // 198.18.0.0/15, of benchmarks
    record.reads_slices = true;
    const auto run = cluster::encode(cluster::Incarnation{name, boot_id});
    put(cluster::NodeKey{name}, cluster::encode(record));
    put(cluster::AliveKey{name}, run, number + 1);
    put(cluster::BlockKey{{pool, block}}, run);
    cluster::IdentityUsers users{.boot_id = boot_id, .numbers = {}};
    std::map<unsigned, cluster::NodeEndpoints> slices;
    for (unsigned i = 0; i < plan_.pods; ++i) {
      cluster::SharedEndpoint pod{.addresses = {block.address().plus(2 + i)}};
      pod.identity = first_number + (number * 37 + i) % plan_.label_sets;
      if (i % 2 == 0) pod.ports = {{"http", 8080, Protocol::tcp}};
      users.numbers.insert(pod.identity);
      addresses_.push_back(pod.addresses.front());
      auto& slice = slices[1 + i / pods_of_a_slice];
      slice.boot_id = boot_id;
      slice.pods.emplace(cluster::PodName{fmt::format("team-{}", i % 100), fmt::format("app-{}-7d9f8b-{}", number, i)},
                         std::move(pod));
    }
    for (const auto& [slice, told] : slices) put(cluster::EndpointsKey{name, slice}, cluster::encode(told));
    put(cluster::UsersKey{name}, cluster::encode(users));
  }

  Plan plan_;
  kubernetes::testing::ApiServer server_;
  cluster::Keyspace keys_ = cluster::Keyspace::make("default").value();
  crd::Codec codec_;
  std::vector<IpAddress> addresses_;
};

Plan read_arguments(const std::vector<std::string>& arguments) {
  Plan plan;
  const std::map<std::string, std::string*> texts{
      {"--kubeconfig", &plan.kubeconfig}, {"--address", &plan.address}, {"--map", &plan.map}};
  const std::map<std::string, unsigned*> numbers{
      {"--nodes", &plan.nodes}, {"--pods", &plan.pods}, {"--label-sets", &plan.label_sets}};
  for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
    if (const auto text = texts.find(arguments[i]); text != texts.end())
      *text->second = arguments[i + 1];
    else if (const auto number = numbers.find(arguments[i]); number != numbers.end())
      *number->second = static_cast<unsigned>(std::stoul(arguments[i + 1]));
    else
      throw std::runtime_error(arguments[i] + " is no option");
  }
  if (arguments.size() % 2 != 0 || plan.kubeconfig.empty() || plan.address.empty() || plan.map.empty())
    throw std::runtime_error("--kubeconfig, --address and --map are needed");
  return plan;
}

int run(const std::vector<std::string>& arguments) {
  Crowd crowd(read_arguments(arguments));
  fmt::print("{{}}\n");  // it is there
  std::fflush(stdout);
  answer_commands({{"wait", [&] { return crowd.wait(); }}});
  return 0;
}

}  // namespace
}  // namespace weft::bench

int main(int count, char** values) { return weft::bench::program("state_crowd", count, values, &weft::bench::run); }
