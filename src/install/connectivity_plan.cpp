#include "install/connectivity_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace weft::install {

using nlohmann::json;

namespace {

constexpr std::uint16_t open_port = 8080;
constexpr std::uint16_t other_port = 8081;  // no policy lets it through where one counts
constexpr std::uint16_t service_port = 80;

json labels_of(const std::string& app) {
  return {{"app", app}, {"app.kubernetes.io/managed-by", "weft-connectivity-test"}};
}

json meta(const std::string& name, const std::string& app) {
  return {{"name", name}, {"namespace", test_namespace}, {"labels", labels_of(app)}};
}

json pod(const Surroundings& around, const std::string& name, const std::string& app, const std::string& node,
         json command) {
  json container{{"name", "test"},
                 {"image", around.image},
                 {"imagePullPolicy", around.pull_policy},
                 {"command", std::move(command)},
                 {"terminationMessagePolicy", "FallbackToLogsOnError"},
                 {"securityContext",
                  {{"allowPrivilegeEscalation", false},
                   {"readOnlyRootFilesystem", true},
                   {"runAsNonRoot", true},
                   {"runAsUser", 65532},
                   {"capabilities", {{"drop", {"ALL"}}}},
                   {"seccompProfile", {{"type", "RuntimeDefault"}}}}}};
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata", meta(name, app)},
          {"spec",
           {{"nodeName", node},
            {"restartPolicy", "Never"},
            {"terminationGracePeriodSeconds", 0},
            {"automountServiceAccountToken", false},
            {"enableServiceLinks", false},
            {"tolerations", {{{"operator", "Exists"}}}},
            {"containers", json::array({std::move(container)})}}}};
}

json server(const Surroundings& around, const std::string& name, const std::string& app, const std::string& node) {
  return pod(around, name, app, node,
             {"weft", "connectivity", "serve", "--name", name, "--port", std::to_string(open_port), "--port",
              std::to_string(other_port)});
}

json policy(const std::string& name, const std::string& app, const char* type, json rules) {
  json spec{{"podSelector", {{"matchLabels", {{"app", app}}}}}, {"policyTypes", {type}}};
  spec[std::string(type) == "Ingress" ? "ingress" : "egress"] = std::move(rules);
  return {
      {"apiVersion", "networking.k8s.io/v1"}, {"kind", "NetworkPolicy"}, {"metadata", meta(name, app)}, {"spec", spec}};
}

json peer(const char* direction, const std::string& app) {
  return {{direction, {{{"podSelector", {{"matchLabels", {{"app", app}}}}}}}},
          {"ports", {{{"port", open_port}, {"protocol", "TCP"}}}}};
}

std::string family_of(const std::string& address) { return address.find(':') == std::string::npos ? "" : " (IPv6)"; }

class Builder {
 public:
  Builder(Client client, std::string from) : client_(std::move(client)), from_(std::move(from)) {}

  void ask(const std::string& name, const std::string& kind, const std::vector<std::string>& to, std::uint16_t port,
           const std::string& hint, bool answers = true) {
    for (const auto& address : to) add({name + family_of(address), kind, address, port, answers}, hint);
  }
  void ask_name(const std::string& name, const std::string& kind, const std::string& to, std::uint16_t port,
                const std::string& hint) {
    add({name, kind, to, port, true}, hint);
  }
  Client done() { return std::move(client_); }

 private:
  void add(Probe probe, const std::string& hint) { client_.checks.push_back({std::move(probe), from_, hint}); }

  Client client_;
  std::string from_;
};

struct Outside {
  std::string host;
  std::uint16_t port = 443;
};
// "192.0.2.1", "example.org:80", "[2001:db8::1]:80"
Outside parse_outside(const std::string& text) {
  Outside outside{.host = text};
  const auto colon = text.rfind(':');
  const bool bare_v6 = colon != std::string::npos && text.find(':') != colon && !text.starts_with('[');
  if (colon != std::string::npos && !bare_v6 && text.back() != ']') {
    std::from_chars(text.data() + colon + 1, text.data() + text.size(), outside.port);
    outside.host = text.substr(0, colon);
  }
  if (outside.host.starts_with('[') && outside.host.ends_with(']'))
    outside.host = outside.host.substr(1, outside.host.size() - 2);
  return outside;
}

std::string hint_between(const Surroundings& around) {
  return fmt::format(
      "kubectl -n weft-system exec ds/weft -- weft health says what is wrong between nodes {} and {}; the tunnel's "
      "port (UDP "
      "8472 of vxlan) has to be open between them",
      around.here.name, around.there.name);
}

constexpr const char* hint_same =
    "weft observe --verdict dropped on the node says why packets are dropped; weft endpoint list whether both pods are "
    "attached";
constexpr const char* hint_service =
    "weft service get NAMESPACE/server on the node says which backends it has and what is wrong with it";
constexpr const char* hint_dns =
    "is the cluster's DNS running (kubectl -n kube-system get pods -l k8s-app=kube-dns)? Its pods have to be made anew "
    "once when the network is another";
constexpr const char* hint_policy =
    "weft policy explain --from NAMESPACE/POD --to NAMESPACE/guarded --port 8080/TCP on the node says which rule "
    "decides";
constexpr const char* hint_outside =
    "masquerade and devices of weftd.yaml say as whom pods go out; does the node itself reach it?";

Client from_pod(const Surroundings& around, const Served& served, std::vector<Skipped>& skipped) {
  Builder client({.name = "client", .host_network = false, .checks = {}}, "pod on " + around.here.name);
  client.ask("pod to pod, same node", "tcp", served.here, open_port, hint_same);
  client.ask("pod to pod, same node, UDP", "udp", served.here, open_port, hint_same);
  if (around.there.name.empty()) {
    skipped.push_back({"pod to pod, other node", "the cluster has one node that is ready"});
  } else {
    client.ask("pod to pod, other node", "tcp", served.there, open_port, hint_between(around));
    client.ask("pod to pod, other node, UDP", "udp", served.there, open_port, hint_between(around));
  }
  client.ask("pod to Service by ClusterIP", "tcp", served.service, service_port, hint_service);
  client.ask("pod to Service by NodePort of its node", "tcp", around.here.addresses, served.node_port, hint_service);
  client.ask("pod to Service by NodePort of another node", "tcp", around.there.addresses, served.node_port,
             hint_service);
  client.ask("pod to the API server by the Service kubernetes", "connect", served.api, 443,
             "kubernetesServers of the values has to name the API server's own addresses");
  if (around.dns) {
    client.ask_name("DNS: kubernetes.default", "lookup", "kubernetes.default", 0, hint_dns);
    client.ask_name("pod to Service by its name", "tcp", "server", service_port, hint_dns);
  } else {
    skipped.push_back({"DNS", "the cluster has no Service kube-system/kube-dns"});
  }
  if (around.outside.empty()) {
    skipped.push_back({"pod to outside", "no address is given: --outside ADDRESS:PORT"});
  } else {
    const auto outside = parse_outside(around.outside);
    client.ask_name("pod to outside", "connect", outside.host, outside.port, hint_outside);
  }
  return client.done();
}

Client from_host(const Surroundings& around, const Served& served) {
  Builder client({.name = "host-client", .host_network = true, .checks = {}}, "node " + around.here.name);
  client.ask("node to its pod", "tcp", served.here, open_port, hint_same);
  client.ask("node to pod of another node", "tcp", served.there, open_port, hint_between(around));
  client.ask("node to Service by ClusterIP", "tcp", served.service, service_port, hint_service);
  client.ask("node to Service by its NodePort", "tcp", around.here.addresses, served.node_port, hint_service);
  return client.done();
}

}  // namespace

std::vector<json> test_objects(const Surroundings& around) {
  std::vector<json> objects;
  objects.push_back({{"apiVersion", "v1"},
                     {"kind", "Namespace"},
                     {"metadata",
                      {{"name", test_namespace},
                       {"labels",
                        {{"app.kubernetes.io/managed-by", "weft-connectivity-test"},
                         // A pod of it asks as the node does.
                         {"pod-security.kubernetes.io/enforce", "privileged"}}}}}});
  objects.push_back({{"apiVersion", "v1"},
                     {"kind", "Service"},
                     {"metadata", meta("server", "server")},
                     {"spec",
                      {{"type", "NodePort"},
                       {"ipFamilyPolicy", "PreferDualStack"},
                       {"selector", {{"app", "server"}}},
                       {"ports", {{{"name", "tcp"}, {"port", service_port}, {"targetPort", open_port}}}}}}});
  objects.push_back(policy("guarded", "guarded", "Ingress", json::array({peer("from", "allowed")})));
  objects.push_back(policy("bound", "bound", "Egress", json::array({peer("to", "server")})));
  objects.push_back(server(around, "server-here", "server", around.here.name));
  if (!around.there.name.empty()) objects.push_back(server(around, "server-there", "server", around.there.name));
  objects.push_back(
      server(around, "guarded", "guarded", around.there.name.empty() ? around.here.name : around.there.name));
  return objects;
}

std::vector<Client> test_clients(const Surroundings& around, const Served& served, std::vector<Skipped>& skipped) {
  std::vector<Client> clients{from_pod(around, served, skipped), from_host(around, served)};
  const auto of_policy = [&](const std::string& name) {
    return Builder({.name = name, .host_network = false, .checks = {}},
                   fmt::format("pod {} on {}", name, around.here.name));
  };
  auto allowed = of_policy("allowed");
  allowed.ask("policy, ingress: who is allowed gets through", "tcp", served.guarded, open_port, hint_policy);
  allowed.ask("policy, ingress: not to another port", "tcp", served.guarded, other_port, hint_policy, false);
  auto denied = of_policy("denied");
  denied.ask("policy, ingress: who is not allowed does not", "tcp", served.guarded, open_port, hint_policy, false);
  denied.ask("policy: where none counts everything goes", "tcp", served.here, other_port, hint_policy);
  auto bound = of_policy("bound");
  bound.ask("policy, egress: what is allowed gets out", "tcp", served.here, open_port, hint_policy);
  bound.ask("policy, egress: what is not does not", "tcp", served.here, other_port, hint_policy, false);
  for (auto* client : {&allowed, &denied, &bound}) clients.push_back(client->done());
  return clients;
}

json client_pod(const Surroundings& around, const Client& client) {
  std::vector<Probe> probes;
  for (const auto& check : client.checks) probes.push_back(check.probe);
  auto object =
      pod(around, client.name, client.name, around.here.name, {"weft", "connectivity", "ask", to_json(probes).dump()});
  if (client.host_network) object["spec"]["hostNetwork"] = true;
  return object;
}

}  // namespace weft::install
