// A large cluster as an API server has it, for one agent to follow: the double of an API server in this process, filled
// with objects as long as real ones. Then objects change, and the agent's maps are watched.
//
//   kubernetes_crowd --kubeconfig FILE --address A --node NAME --pins DIR [--nodes N] [--pods N] [--services N]
//                    [--policies N] [--own-pods N] [--changes N] [--rate N] [--agent PID]
//
// DIR is where the agent pins its maps. `--pods` are the whole cluster's, `--own-pods` those of the node NAME, which
// are pod-0 ... of the namespace "own". Commands come by standard input, one a line, and each answers with one line of
// JSON: `wait` returns when every Service has its frontend, `services` changes EndpointSlices at a rate and waits for
// each Service to have as many slots, `policies` isolates the pods of "own" and opens them again, by a policy that
// comes and goes. The end of the input ends it.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "abi/endpoint.h"
#include "abi/service.h"
#include "base/fd.h"
#include "base/ip.h"
#include "program.h"
#include "sources/kubernetes/testing/api_server.h"

namespace weft::bench {
namespace {

using Clock = std::chrono::steady_clock;
using kubernetes::testing::ApiServer;
using nlohmann::json;

constexpr auto patience = std::chrono::seconds(300);
constexpr auto services_path = "/api/v1/namespaces/{}/services/{}";
constexpr auto slices_path = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices/{}";

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Plan {
  std::string kubeconfig;
  std::string address;
  std::string node;
  std::string pins;
  unsigned nodes = 1000;
  unsigned pods = 50000;
  unsigned services = 10000;
  unsigned policies = 1000;
  unsigned own_pods = 50;
  unsigned changes = 5000;
  unsigned rate = 1000;  // changes a second
  int agent = 0;
};

weft_addr key_of(const IpAddress& address) {
  weft_addr key{};
  std::memcpy(&key, address.bytes().data(), sizeof key);
  return key;
}

Fd open_map(const std::string& path) {
  Fd fd(::bpf_obj_get(path.c_str()));
  if (!fd.valid()) throw std::runtime_error(fmt::format("{}: {}", path, std::strerror(errno)));
  return fd;
}

class Crowd {
 public:
  explicit Crowd(Plan plan);

  json wait_for_services();
  json change_services();
  json change_policies();

 private:
  struct Change {
    unsigned service = 0;
    unsigned slots = 0;
    Clock::time_point at;
  };

  void fill();
  void add_pod(unsigned number);
  void add_service(unsigned number);
  void add_policy(unsigned number);
  [[nodiscard]] json slice(unsigned number, unsigned endpoints) const;
  [[nodiscard]] std::optional<unsigned> slots_of(unsigned service) const;
  [[nodiscard]] std::string namespace_of(unsigned number) const { return fmt::format("team-{}", number % 100); }
  [[nodiscard]] json costs() const;
  void open_maps();

  Plan plan_;
  ApiServer server_;
  std::mt19937 random_{20240611};
  std::vector<unsigned> endpoints_;  // of each Service
  std::optional<Fd> frontends_;
  std::optional<Fd> pods_;
};

IpAddress cluster_ip(unsigned service) { return IpAddress::v4(0x0a600000 + 256 + service); }  // 10.96.0.0/12
IpAddress pod_ip(unsigned pod) { return IpAddress::v4(0x64400000 + pod); }                    // 100.64.0.0/10

Crowd::Crowd(Plan plan) : plan_(std::move(plan)), server_({.address = plan_.address}) {
  endpoints_.assign(plan_.services, 3);
  fill();
  const auto access = server_.access();
  std::ofstream(plan_.kubeconfig) << fmt::format(
      "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: \"{}\"}}}}]\n"
      "users: [{{name: c, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: c}}}}]\n",
      access.servers.front());
}

void Crowd::fill() {
  auto& store = server_.store();
  for (unsigned i = 0; i < 100; ++i)
    store.put("/api/v1/namespaces/" + namespace_of(i), {{"metadata", {{"labels", {{"team", namespace_of(i)}}}}}});
  store.put("/api/v1/namespaces/own", json::object());
  store.put("/api/v1/namespaces/default", json::object());
  for (unsigned i = 0; i < plan_.nodes; ++i)
    store.put(fmt::format("/api/v1/nodes/crowd-{:04}", i),
              {{"spec", {{"podCIDR", fmt::format("100.{}.{}.0/24", 64 + i / 256, i % 256)}}}});
  for (unsigned i = 0; i < plan_.pods; ++i) add_pod(i);
  for (unsigned i = 0; i < plan_.services; ++i) add_service(i);
  for (unsigned i = 0; i < plan_.policies; ++i) add_policy(i);
}

// With what a real one has around what counts: a template's spec, volumes of the service account, a status.
void Crowd::add_pod(unsigned number) {
  const bool own = number < plan_.own_pods;
  const auto space = own ? std::string("own") : namespace_of(number);
  const auto name = own ? fmt::format("pod-{}", number) : fmt::format("app-{}-7d9f8b6c5d-{:05}", number % 2000, number);
  const auto labels = json{{"app", fmt::format("app-{}", number % 2000)},
                           {"tier", number % 2 == 0 ? "front" : "back"},
                           {"pod-template-hash", "7d9f8b6c5d"}};
  server_.store().put(
      fmt::format("/api/v1/namespaces/{}/pods/{}", space, name),
      {{"metadata",
        {{"labels", labels},
         {"creationTimestamp", "2026-01-01T00:00:00Z"},
         {"ownerReferences", json::array({{{"apiVersion", "apps/v1"},
                                           {"kind", "ReplicaSet"},
                                           {"name", "app-7d9f8b6c5d"},
                                           {"uid", "3c8a1f0e-0000-4000-8000-000000000001"},
                                           {"controller", true}}})}}},
       {"spec",
        {{"nodeName", own ? plan_.node : fmt::format("crowd-{:04}", number % plan_.nodes)},
         {"serviceAccountName", "default"},
         {"containers",
          json::array(
              {{{"name", "app"},
                {"image", "example.org/app:1"},
                {"ports", json::array({{{"name", "http"}, {"containerPort", 8080}, {"protocol", "TCP"}}})},
                {"resources", {{"requests", {{"cpu", "100m"}, {"memory", "64Mi"}}}}},
                {"volumeMounts", json::array({{{"name", "token"},
                                               {"readOnly", true},
                                               {"mountPath", "/var/run/secrets/kubernetes.io/serviceaccount"}}})}}})},
         {"volumes", json::array({{{"name", "token"},
                                   {"projected",
                                    {{"sources", json::array({{{"serviceAccountToken", {{"path", "token"}}}}})}}}}})}}},
       {"status", {{"phase", "Running"}, {"podIP", pod_ip(number).to_string()}, {"hostIP", "198.18.0.1"}}}});
}

json Crowd::slice(unsigned number, unsigned endpoints) const {
  auto list = json::array();
  for (unsigned i = 0; i < endpoints; ++i) {
    const auto pod = (number * 3 + i) % std::max(plan_.pods, 1U);
    list.push_back(
        {{"addresses", {pod_ip(pod).to_string()}},
         {"conditions", {{"ready", true}, {"serving", true}, {"terminating", false}}},
         {"nodeName", fmt::format("crowd-{:04}", pod % plan_.nodes)},
         {"zone", "a"},
         {"targetRef", {{"kind", "Pod"}, {"name", fmt::format("app-{}", pod)}, {"namespace", namespace_of(number)}}}});
  }
  return {{"metadata",
           {{"labels",
             {{"kubernetes.io/service-name", fmt::format("svc-{}", number)},
              {"endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"}}}}},
          {"addressType", "IPv4"},
          {"endpoints", std::move(list)},
          {"ports", json::array({{{"name", "http"}, {"port", 8080}, {"protocol", "TCP"}}})}};
}

void Crowd::add_service(unsigned number) {
  const auto space = namespace_of(number);
  const auto name = fmt::format("svc-{}", number);
  const auto ip = cluster_ip(number).to_string();
  auto& store = server_.store();
  store.put(fmt::format(services_path, space, name),
            {{"metadata", {{"labels", {{"app", name}}}, {"creationTimestamp", "2026-01-01T00:00:00Z"}}},
             {"spec",
              {{"type", "ClusterIP"},
               {"clusterIP", ip},
               {"clusterIPs", {ip}},
               {"ipFamilies", {"IPv4"}},
               {"ipFamilyPolicy", "SingleStack"},
               {"internalTrafficPolicy", "Cluster"},
               {"sessionAffinity", "None"},
               {"selector", {{"app", fmt::format("app-{}", number % 2000)}}},
               {"ports", json::array({{{"name", "http"}, {"port", 80}, {"protocol", "TCP"}, {"targetPort", 8080}}})}}},
             {"status", {{"loadBalancer", json::object()}}}});
  store.put(fmt::format(slices_path, space, name + "-abcde"), slice(number, endpoints_[number]));
}

void Crowd::add_policy(unsigned number) {
  server_.store().put(
      fmt::format("/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies/allow-{}", namespace_of(number), number),
      {{"spec",
        {{"podSelector", {{"matchLabels", {{"app", fmt::format("app-{}", number % 2000)}}}}},
         {"policyTypes", {"Ingress"}},
         {"ingress", json::array({{{"from", json::array({{{"podSelector", {{"matchLabels", {{"tier", "front"}}}}}}})},
                                   {"ports", json::array({{{"port", 8080}, {"protocol", "TCP"}}})}}})}}}});
}

void Crowd::open_maps() {
  if (frontends_) return;
  frontends_ = open_map(plan_.pins + "/maps/weft_svc_v2");
  pods_ = open_map(plan_.pins + "/maps/weft_ep_v1");
}

std::optional<unsigned> Crowd::slots_of(unsigned service) const {
  const weft_service_key key{.addr = key_of(cluster_ip(service)), .port = htons(80), .protocol = 6, .pad = 0};
  weft_service row{};
  if (::bpf_map_lookup_elem(frontends_->get(), &key, &row) != 0) return std::nullopt;
  return row.slot_count;
}

json Crowd::costs() const {
  json result = json::object();
  if (plan_.agent == 0) return result;
  std::ifstream status(fmt::format("/proc/{}/status", plan_.agent));
  for (std::string line; std::getline(status, line);)
    for (const char* name : {"VmRSS", "RssAnon", "VmHWM"})
      if (line.starts_with(std::string(name) + ":")) result[name] = std::stod(line.substr(line.find(':') + 1)) / 1000;
  return result;
}

json Crowd::wait_for_services() {
  const auto start = Clock::now();
  open_maps();
  for (unsigned next = 0; next < plan_.services;) {
    if (slots_of(next) == endpoints_[next]) {
      ++next;
      continue;
    }
    if (Clock::now() - start > patience) throw std::runtime_error(fmt::format("Service {} is not there", next));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  auto result = costs();
  result["seconds"] = seconds_since(start);
  return result;
}

json quantiles(std::vector<double> values) {
  std::ranges::sort(values);
  const auto at = [&](double part) {
    return values.empty() ? 0
                          : values[std::min(values.size() - 1,
                                            static_cast<std::size_t>(part * static_cast<double>(values.size())))];
  };
  return {{"p50_ms", at(0.5)}, {"p99_ms", at(0.99)}, {"most_ms", at(1)}, {"changes", values.size()}};
}

// Each Service has one change open at a time; two endpoints and three take turns.
json Crowd::change_services() {
  open_maps();
  std::deque<Change> open;
  std::vector<bool> busy(plan_.services, false);
  std::vector<double> took;
  const auto start = Clock::now();
  unsigned made = 0;
  while (made < plan_.changes || !open.empty()) {
    while (made < plan_.changes && seconds_since(start) * plan_.rate >= made) {
      unsigned service = random_() % plan_.services;
      while (busy[service]) service = random_() % plan_.services;
      busy[service] = true;
      endpoints_[service] = 5 - endpoints_[service];
      const auto at = Clock::now();
      server_.store().put(fmt::format(slices_path, namespace_of(service), fmt::format("svc-{}-abcde", service)),
                          slice(service, endpoints_[service]));
      open.push_back({.service = service, .slots = endpoints_[service], .at = at});
      ++made;
    }
    std::erase_if(open, [&](const Change& change) {
      if (slots_of(change.service) != change.slots) return false;
      took.push_back(std::chrono::duration<double, std::milli>(Clock::now() - change.at).count());
      busy[change.service] = false;
      return true;
    });
    if (seconds_since(start) > 120) throw std::runtime_error("changes of Services do not come to the maps");
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  auto result = quantiles(std::move(took));
  result.update(costs());
  result["seconds"] = seconds_since(start);
  return result;
}

// The first endpoint of this node stands for all: it has a change when they have.
json Crowd::change_policies() {
  open_maps();
  const auto isolated = [&] {
    weft_addr key{};
    weft_addr next{};
    for (bool first = true; ::bpf_map_get_next_key(pods_->get(), first ? nullptr : &key, &next) == 0; first = false) {
      weft_endpoint row{};
      if (::bpf_map_lookup_elem(pods_->get(), &next, &row) == 0 && (row.flags & WEFT_ENDPOINT_EGRESS_ENFORCED) != 0)
        return true;
      key = next;
    }
    return false;
  };
  const std::string path = "/apis/networking.k8s.io/v1/namespaces/own/networkpolicies/isolate";
  std::vector<double> took;
  for (int round = 0; round < 100; ++round) {
    const bool on = round % 2 == 0;
    const auto at = Clock::now();
    if (on)
      server_.store().put(path, {{"spec", {{"podSelector", json::object()}, {"policyTypes", {"Egress"}}}}});
    else
      server_.store().remove(path);
    while (isolated() != on) {
      if (Clock::now() - at > std::chrono::seconds(20)) throw std::runtime_error("a policy does not come to the maps");
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    took.push_back(std::chrono::duration<double, std::milli>(Clock::now() - at).count());
  }
  return quantiles(std::move(took));
}

Plan read_arguments(const std::vector<std::string>& arguments) {
  Plan plan;
  for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
    const auto& name = arguments[i];
    const auto& value = arguments[i + 1];
    const std::vector<std::pair<std::string, std::string*>> texts{{"--kubeconfig", &plan.kubeconfig},
                                                                  {"--address", &plan.address},
                                                                  {"--node", &plan.node},
                                                                  {"--pins", &plan.pins}};
    const std::vector<std::pair<std::string, unsigned*>> numbers{
        {"--nodes", &plan.nodes},       {"--pods", &plan.pods},         {"--services", &plan.services},
        {"--policies", &plan.policies}, {"--own-pods", &plan.own_pods}, {"--changes", &plan.changes},
        {"--rate", &plan.rate}};
    const auto text = std::ranges::find(texts, name, &std::pair<std::string, std::string*>::first);
    const auto number = std::ranges::find(numbers, name, &std::pair<std::string, unsigned*>::first);
    if (text != texts.end())
      *text->second = value;
    else if (number != numbers.end())
      *number->second = static_cast<unsigned>(std::stoul(value));
    else
      throw std::runtime_error(name + " is no option");
  }
  if (arguments.size() % 2 != 0 || plan.kubeconfig.empty() || plan.address.empty() || plan.node.empty() ||
      plan.pins.empty())
    throw std::runtime_error("--kubeconfig, --address, --node and --pins are needed");
  return plan;
}

int run(const std::vector<std::string>& arguments) {
  Crowd crowd(read_arguments(arguments));
  fmt::print("{{}}\n");  // it is there
  std::fflush(stdout);
  answer_commands({{"wait", [&] { return crowd.wait_for_services(); }},
                   {"services", [&] { return crowd.change_services(); }},
                   {"policies", [&] { return crowd.change_policies(); }}});
  return 0;
}

}  // namespace
}  // namespace weft::bench

int main(int count, char** values) {
  return weft::bench::program("kubernetes_crowd", count, values, &weft::bench::run);
}
