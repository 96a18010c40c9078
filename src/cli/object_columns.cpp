#include "cli/object_columns.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/json_access.h"
#include "flow/time.h"

namespace weft::cli {
namespace {

using nlohmann::json;

void append(std::string& joined, const std::string& text) {
  if (text.empty() || text == "-") return;
  joined += (joined.empty() ? "" : ",") + text;
}

std::string or_dash(std::string text) { return text.empty() ? "-" : std::move(text); }

// One unless it says otherwise.
std::string replicas(const json& item) {
  const auto& number = member(item, "spec/replicas");
  return number.is_null() ? std::string("1") : cell(number);
}

std::string labels_text(const json& labels) {
  std::string joined;
  if (labels.is_object())
    for (const auto& [key, value] : labels.items()) {
      const auto shown = cell(value);
      append(joined, shown == "-" ? key : fmt::format("{}={}", key, shown));
    }
  return or_dash(joined);
}

Column labels_column(std::string header, std::string path) {
  return {std::move(header), [path = std::move(path)](const json& item) { return labels_text(member(item, path)); },
          true};
}

// A LabelSelector; without one, or with an empty one, all are meant.
std::string selector_text(const json& selector) {
  std::string shown;
  append(shown, labels_text(member(selector, "matchLabels")));
  if (!member(selector, "matchExpressions").empty()) append(shown, member(selector, "matchExpressions").dump());
  return shown.empty() ? "(all)" : shown;
}

Column selector_column(std::string header, std::string path) {
  return {std::move(header), [path = std::move(path)](const json& item) { return selector_text(member(item, path)); },
          false};
}

// A list, or what its absence means.
Column list_column(std::string header, std::string path, std::string otherwise) {
  return {std::move(header),
          [path = std::move(path), otherwise = std::move(otherwise)](const json& item) {
            const auto& list = member(item, path);
            return list.empty() ? otherwise : cell(list);
          },
          false};
}

// A boolean that is true unless it is said to be false.
Column default_yes_column(std::string header, std::string path) {
  return {std::move(header),
          [path = std::move(path)](const json& item) {
            return member(item, path).is_boolean() && !flag(item, path) ? std::string("no") : std::string("yes");
          },
          false};
}

std::string pod_phase(const json& pod) {
  return text(pod, "metadata/deletionTimestamp").empty() ? cell(pod, "status/phase") : "Terminating";
}

std::string pod_addresses(const json& pod) {
  std::string joined;
  for (const auto& entry : member(pod, "status/podIPs")) append(joined, text(entry, "ip"));
  return joined.empty() ? cell(pod, "status/podIP") : joined;
}

std::string owner(const json& object) {
  for (const auto& entry : member(object, "metadata/ownerReferences")) {
    std::string kind = text(entry, "kind");
    for (auto& c : kind)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return kind + "/" + text(entry, "name");
  }
  return "-";
}

// "80/TCP,443:30443/TCP": the node port where there is one.
std::string port_list(const json& ports) {
  std::string joined;
  for (const auto& port : ports) {
    const auto protocol = text(port, "protocol");
    const auto node_port = number(port, "nodePort");
    append(joined, fmt::format("{}{}/{}", number(port, "port"), node_port == 0 ? "" : fmt::format(":{}", node_port),
                               protocol.empty() ? "TCP" : protocol));
  }
  return or_dash(joined);
}

Column ports_column(std::string header, std::string path) {
  return {std::move(header), [path = std::move(path)](const json& item) { return port_list(member(item, path)); },
          false};
}

std::string service_type(const json& service) {
  const auto type = text(service, "spec/type");
  return type.empty() ? "ClusterIP" : type;
}

std::string cluster_addresses(const json& service) {
  const auto& all = member(service, "spec/clusterIPs");
  return all.empty() ? cell(service, "spec/clusterIP") : cell(all);
}

std::string external_addresses(const json& service) {
  const auto type = service_type(service);
  if (type == "ExternalName") return cell(service, "spec/externalName");
  std::string joined;
  if (type == "LoadBalancer")
    for (const auto& entry : member(service, "status/loadBalancer/ingress")) {
      const auto address = text(entry, "ip");
      append(joined, address.empty() ? text(entry, "hostname") : address);
    }
  for (const auto& address : member(service, "spec/externalIPs")) append(joined, cell(address));
  if (joined.empty() && type == "LoadBalancer") return "<pending>";
  return or_dash(joined);
}

std::string slice_service(const json& slice) {
  const auto& labels = member(slice, "metadata/labels");
  return labels.is_object() ? cell(labels.value("kubernetes.io/service-name", json())) : "-";
}

std::string slice_addresses(const json& slice) {
  std::string joined;
  for (const auto& endpoint : member(slice, "endpoints"))
    for (const auto& address : member(endpoint, "addresses")) append(joined, cell(address));
  return or_dash(joined);
}

std::string routers(const json& peering) {
  std::string joined;
  for (const auto& peer : member(peering, "spec/peers")) append(joined, cell(peer, "address"));
  return or_dash(joined);
}

// Nodes and selectors in order of preference.
std::string egress_gateways(const json& gateway) {
  std::string joined;
  for (const auto& entry : member(gateway, "spec/gateways")) {
    const auto node = text(entry, "node");
    append(joined, node.empty() ? selector_text(member(entry, "nodeSelector")) : node);
  }
  return or_dash(joined);
}

std::string egress_addresses(const json& gateway) {
  std::string joined;
  for (const auto& entry : member(gateway, "spec/gateways"))
    for (const auto& address : member(entry, "egressIPs")) append(joined, cell(address));
  return joined.empty() ? "(the node's)" : joined;
}

std::string policy_types(const json& policy) {
  const auto& given = member(policy, "spec/policyTypes");
  if (!given.empty()) return cell(given);
  return member(policy, "spec/egress").empty() ? "Ingress" : "Ingress,Egress";
}

std::string age(const json& object) {
  const auto created = text(object, "metadata/creationTimestamp");
  const auto now = flow::wall_now();
  const auto time = flow::parse_time(created, now);
  if (created.empty() || !time) return "-";
  constexpr std::int64_t second = 1000000000;
  return duration_text(static_cast<std::uint64_t>(std::max<std::int64_t>(0, now - *time) / second));
}

std::string pool_cidrs(const json& pool) {
  std::string joined;
  for (const auto& entry : member(pool, "spec/cidrs")) append(joined, text(entry, "cidr"));
  return or_dash(joined);
}

// Without any selector nobody is meant who does not ask by name.
std::string pool_selector(const json& pool, std::string_view path) {
  const bool selects = !member(pool, "spec/namespaceSelector").is_null() || !member(pool, "spec/podSelector").is_null();
  return selects ? selector_text(member(pool, path)) : "(by name)";
}

const std::map<std::string, std::vector<Column>>& columns_by_kind() {
  static const std::map<std::string, std::vector<Column>> all{
      {"Pod", {{"PHASE", pod_phase, false}, {"ADDRESSES", pod_addresses, false}, {"OWNER", owner, false}}},
      {"Deployment", {{"REPLICAS", replicas, false}, labels_column("SELECTOR", "spec/selector/matchLabels")}},
      {"Service",
       {{"TYPE", service_type, false},
        {"CLUSTER-IP", cluster_addresses, false},
        {"EXTERNAL-IP", external_addresses, false},
        ports_column("PORT(S)", "spec/ports"),
        labels_column("SELECTOR", "spec/selector")}},
      {"EndpointSlice",
       {{"SERVICE", slice_service, false}, ports_column("PORTS", "ports"), {"ADDRESSES", slice_addresses, false}}},
      {"NetworkPolicy", {selector_column("PODS", "spec/podSelector"), {"TYPES", policy_types, false}}},
      {"LoadBalancerPool",
       {column("ADDRESSES", "spec/addresses"), default_yes_column("AUTO-ASSIGN", "spec/autoAssign"),
        list_column("NAMESPACES", "spec/namespaces", "(all)"), selector_column("SERVICES", "spec/serviceSelector")}},
      {"L2Announcement",
       {list_column("INTERFACES", "spec/interfaces", "(uplinks)"),
        default_yes_column("EXTERNAL-IPS", "spec/externalIPs"),
        default_yes_column("LOAD-BALANCER-IPS", "spec/loadBalancerIPs"),
        selector_column("SERVICES", "spec/serviceSelector")}},
      {"BGPPeering",
       {column("AS", "spec/localAS"), {"ROUTERS", routers, false}, selector_column("NODES", "spec/nodeSelector")}},
      {"EgressGateway",
       {column("DESTINATIONS", "spec/destinationCIDRs"),
        list_column("EXCLUDED", "spec/excludedCIDRs", "-"),
        {"GATEWAYS", egress_gateways, false},
        {"EGRESS-IPS", egress_addresses, false}}},
      {"PodAddressPool",
       {{"CIDRS", pool_cidrs, false},
        {"NAMESPACES", [](const json& pool) { return pool_selector(pool, "spec/namespaceSelector"); }, false},
        {"PODS", [](const json& pool) { return pool_selector(pool, "spec/podSelector"); }, false}}},
  };
  return all;
}

bool any_has(const json& members, std::string_view path) {
  return std::ranges::any_of(members, [&](const json& item) { return !text(item, path).empty(); });
}

}  // namespace

std::vector<Column> object_columns(const std::string& kind, const json& members) {
  std::vector<Column> columns;
  if (any_has(members, "metadata/namespace")) columns.push_back(column("NAMESPACE", "metadata/namespace"));
  columns.push_back(column("NAME", "metadata/name"));
  if (const auto known = columns_by_kind().find(kind); known != columns_by_kind().end())
    columns.insert(columns.end(), known->second.begin(), known->second.end());
  if (any_has(members, "metadata/creationTimestamp")) columns.push_back({"AGE", age, false});
  columns.push_back(labels_column("LABELS", "metadata/labels"));
  return columns;
}

}  // namespace weft::cli
