#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "model/annotations.h"
#include "model/decode.h"
#include "model/names.h"

namespace weft::model {
namespace {

constexpr int most_replicas = 10000;

ContainerPort decode_container_port(const Value& value) {
  ContainerPort port;
  Fields fields(value);
  if (const auto number = fields.require("containerPort", "a number from 1 to 65535"))
    port.port = decode_port_number(*number).value_or(0);
  if (const auto name = fields.take("name"))
    if (auto text = name->string(); text && !text->empty()) {
      if (const auto wrong = check_port_name(*text); !wrong.empty())
        name->problem(fmt::format("{}, found {}", wrong, in_quotes(*text)));
      port.name = std::move(*text);
    }
  if (const auto protocol = fields.take("protocol")) port.protocol = decode_protocol(*protocol).value_or(Protocol::tcp);
  if (const auto host = fields.take("hostPort"))
    port.host_port = static_cast<std::uint16_t>(host->integer(0, 65535).value_or(0));
  if (const auto host = fields.take("hostIP"); host && !host->node().text.empty()) {
    port.host_ip = decode_address(*host);
    if (port.host_ip && port.host_ip->is_multicast())
      host->problem(fmt::format("expected an address of the node, found {}", port.host_ip->to_string()));
  }
  fields.finish();
  return port;
}

std::vector<ContainerPort> decode_container_ports(const Value& value) {
  std::vector<ContainerPort> ports;
  std::set<std::string> names;
  std::set<std::pair<std::uint16_t, Protocol>> numbers;
  for (const auto& item : value.list()) {
    ContainerPort port = decode_container_port(item);
    if (!port.name.empty() && !names.insert(port.name).second)
      item.problem(fmt::format("the port name {} is given twice in one container", in_quotes(port.name)));
    if (port.port != 0 && !numbers.emplace(port.port, port.protocol).second)
      item.warning(fmt::format("the port {}/{} is given twice in one container", port.port, to_string(port.protocol)));
    ports.push_back(std::move(port));
  }
  return ports;
}

// Words of a command line: an argument of execve cannot hold a NUL.
std::optional<std::string> decode_argument(const Value& value) {
  auto text = value.string();
  if (text && text->find('\0') != std::string::npos) {
    value.problem("expected text without NUL characters");
    return std::nullopt;
  }
  return text;
}

std::vector<std::string> decode_arguments(const Value& value) {
  std::vector<std::string> result;
  for (const auto& item : value.list())
    if (auto text = decode_argument(item)) result.push_back(std::move(*text));
  return result;
}

void decode_environment(const Value& value, std::map<std::string, std::string>& environment) {
  for (const auto& item : value.list()) {
    Fields fields(item);
    std::optional<std::string> name;
    if (const auto given = fields.require("name", "the variable's name")) {
      name = decode_argument(*given);
      if (name && (name->empty() || name->find('=') != std::string::npos)) {
        given->problem(fmt::format("expected a variable's name without \"=\", found {}", in_quotes(*name)));
        name.reset();
      }
    }
    const auto literal = fields.take("value");
    const bool referred = fields.take("valueFrom").has_value();
    fields.finish();
    if (literal && referred) item.problem("expected either value or valueFrom, found both");
    std::string text;
    if (literal) text = decode_argument(*literal).value_or("");
    if (name && !referred) environment[*name] = std::move(text);
  }
}

// Fields of a container that do not concern networking.
void accept_container_fields(Fields& fields) {
  fields.accept({"envFrom", "imagePullPolicy", "lifecycle", "livenessProbe", "readinessProbe", "resizePolicy",
                 "resources", "restartPolicy", "restartPolicyRules", "securityContext", "startupProbe", "stdin",
                 "stdinOnce", "terminationMessagePath", "terminationMessagePolicy", "tty", "volumeDevices",
                 "volumeMounts", "workingDir"});
}

Container decode_container(const Value& value) {
  Container container;
  Fields fields(value);
  if (const auto name = fields.require("name", "the container's name"))
    if (auto text = name->string()) {
      if (const auto wrong = check_dns_label(*text); !wrong.empty())
        name->problem(fmt::format("{}, found {}", wrong, in_quotes(*text)));
      container.name = std::move(*text);
    }
  if (const auto image = fields.take("image")) container.image = image->string().value_or("");
  if (const auto command = fields.take("command")) container.command = decode_arguments(*command);
  if (const auto arguments = fields.take("args")) {
    auto words = decode_arguments(*arguments);
    // Without a command the image's entry point would take them, and that is not known here.
    if (!container.command.empty()) std::ranges::move(words, std::back_inserter(container.command));
  }
  if (const auto environment = fields.take("env")) decode_environment(*environment, container.environment);
  if (const auto ports = fields.take("ports")) container.ports = decode_container_ports(*ports);
  accept_container_fields(fields);
  fields.finish(Unknown::warning);
  return container;
}

void accept_pod_fields(Fields& fields) {
  fields.accept({"activeDeadlineSeconds",
                 "affinity",
                 "automountServiceAccountToken",
                 "dnsConfig",
                 "dnsPolicy",
                 "enableServiceLinks",
                 "ephemeralContainers",
                 "hostAliases",
                 "hostIPC",
                 "hostPID",
                 "hostUsers",
                 "hostname",
                 "hostnameOverride",
                 "imagePullSecrets",
                 "nodeSelector",
                 "os",
                 "overhead",
                 "preemptionPolicy",
                 "priority",
                 "priorityClassName",
                 "readinessGates",
                 "resourceClaims",
                 "resources",
                 "restartPolicy",
                 "runtimeClassName",
                 "schedulerName",
                 "schedulingGates",
                 "securityContext",
                 "serviceAccount",
                 "serviceAccountName",
                 "setHostnameAsFQDN",
                 "shareProcessNamespace",
                 "subdomain",
                 "terminationGracePeriodSeconds",
                 "tolerations",
                 "topologySpreadConstraints",
                 "volumes",
                 "workloadRef"});
}

// Of one pod: a port of the node leads to one container, and host networking has no other port.
void check_host_ports(const Value& containers, const PodSpec& spec) {
  std::set<std::tuple<std::uint16_t, Protocol, std::optional<IpAddress>>> taken;
  const auto items = containers.list();
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto ports = items[i].member("ports");
    const auto places = ports && ports->node().type == NodeType::list ? ports->list() : std::vector<Value>();
    for (std::size_t j = 0; j < places.size(); ++j) {
      const ContainerPort& port = spec.containers[i].ports[j];
      if (port.host_port == 0) continue;
      const Value at = places[j].member("hostPort").value_or(places[j]);
      if (spec.host_network && port.host_port != port.port)
        at.problem(
            fmt::format("expected containerPort {} because of hostNetwork, found {}", port.port, port.host_port));
      if (!taken.emplace(port.host_port, port.protocol, port.host_ip).second)
        at.problem(
            fmt::format("the hostPort {}/{} is given twice in one pod", port.host_port, to_string(port.protocol)));
    }
  }
}

// Of the others nothing listens when the pod is ready.
std::vector<ContainerPort> decode_sidecar_ports(const Value& value) {
  std::vector<ContainerPort> result;
  if (value.node().type != NodeType::list) return result;
  for (const auto& item : value.list()) {
    if (item.node().type != NodeType::map) continue;
    const auto policy = item.member("restartPolicy");
    const auto ports = item.member("ports");
    if (policy && policy->node().text == "Always" && ports)
      std::ranges::move(decode_container_ports(*ports), std::back_inserter(result));
  }
  return result;
}

PodSpec decode_pod_spec(const Value& value) {
  PodSpec spec;
  Fields fields(value);
  const auto containers = fields.require("containers", "a list of at least one container");
  if (containers) {
    std::set<std::string> names;
    for (const auto& item : containers->list()) {
      Container container = decode_container(item);
      if (!container.name.empty() && !names.insert(container.name).second)
        item.problem(fmt::format("the container name {} is given twice", in_quotes(container.name)));
      spec.containers.push_back(std::move(container));
    }
    if (containers->node().type == NodeType::list && spec.containers.empty())
      containers->problem("expected at least one container, found none");
  }
  if (const auto init = fields.take("initContainers")) spec.sidecar_ports = decode_sidecar_ports(*init);
  if (const auto host = fields.take("hostNetwork")) spec.host_network = host->boolean().value_or(false);
  if (const auto node = fields.take("nodeName")) spec.node = node->string().value_or("");
  if (containers && containers->node().type == NodeType::list) check_host_ports(*containers, spec);
  accept_pod_fields(fields);
  fields.finish(Unknown::warning);
  return spec;
}

// status.conditions[Ready]; a status is what a cluster wrote, so oddities in it are passed over.
bool ready_by_status(const Value& status) {
  const Tree& tree = status.tree();
  const auto find = [&](const TreeNode& node, std::string_view name) -> const TreeNode* {
    for (const Field& field : node.fields)
      if (field.name == name) return &tree.at(field.value);
    return nullptr;
  };
  const TreeNode* conditions = find(status.node(), "conditions");
  if (conditions == nullptr) return true;
  for (const NodeId id : conditions->items) {
    const TreeNode* type = find(tree.at(id), "type");
    const TreeNode* state = find(tree.at(id), "status");
    if (type != nullptr && type->text == "Ready") return state != nullptr && state->text == "True";
  }
  return true;
}

std::string_view phase_of(const Value& status) {
  for (const Field& field : status.node().fields)
    if (field.name == "phase") return status.tree().at(field.value).text;
  return {};
}

bool being_deleted(const Value& root) {
  const auto meta = root.member("metadata");
  const auto time = meta ? meta->member("deletionTimestamp") : std::nullopt;
  return time && !time->string().value_or("").empty();
}

// The Deployment named as the owner, as expanded pods carry it.
std::string owning_deployment(const Value& root) {
  const Tree& tree = root.tree();
  for (const Field& field : root.node().fields) {
    if (field.name != "metadata") continue;
    for (const Field& inner : tree.at(field.value).fields) {
      if (inner.name != "ownerReferences") continue;
      for (const NodeId id : tree.at(inner.value).items) {
        std::string kind;
        std::string name;
        for (const Field& entry : tree.at(id).fields) {
          if (entry.name == "kind") kind = tree.at(entry.value).text;
          if (entry.name == "name") name = tree.at(entry.value).text;
        }
        if (kind == "Deployment") return name;
      }
    }
  }
  return {};
}

void decode_template(const Value& value, Deployment& deployment) {
  Fields fields(value);
  if (const auto meta = fields.take("metadata"))
    decode_template_metadata(*meta, deployment.template_labels, deployment.template_annotations);
  const auto annotations = decode_pod_annotations(value, "a pod template");
  deployment.template_weight = annotations.weight;
  deployment.template_addresses = annotations.addresses;
  if (const auto spec = fields.require("spec", "the pods' spec")) deployment.template_spec = decode_pod_spec(*spec);
  fields.finish();
}

void accept_workload_fields(Fields& fields, Workload workload) {
  fields.accept({"minReadySeconds", "revisionHistoryLimit"});
  if (workload == Workload::deployment) fields.accept({"paused", "progressDeadlineSeconds", "strategy"});
  if (workload == Workload::stateful_set)
    fields.accept({"serviceName", "volumeClaimTemplates", "podManagementPolicy", "updateStrategy", "ordinals",
                   "persistentVolumeClaimRetentionPolicy"});
}

void check_selects_template(const Value& selector_value, const Deployment& deployment) {
  if (deployment.selector.empty()) {
    selector_value.problem("expected a selector that names the pods' labels, found an empty one");
  } else if (!deployment.selector.matches(deployment.template_labels)) {
    std::string labels;
    for (const auto& [key, text] : deployment.template_labels)
      labels += fmt::format("{}{}={}", labels.empty() ? "" : ",", key, text);
    selector_value.problem(fmt::format("the selector {} does not match the labels of the template ({})",
                                       deployment.selector.to_string(), labels.empty() ? "none" : labels));
  }
}

}  // namespace

Pod decode_pod(const Value& root) {
  Pod pod;
  Fields fields(root);
  pod.meta = decode_metadata(fields, Kind::pod);
  if (const auto spec = fields.require("spec", "the pod's spec")) pod.spec = decode_pod_spec(*spec);
  if (const auto status = fields.take("status")) {
    pod.ready = ready_by_status(*status);
    const auto phase = phase_of(*status);
    pod.finished = phase == "Succeeded" || phase == "Failed";
  }
  fields.finish();
  pod.terminating = being_deleted(root);
  const auto annotations = decode_pod_annotations(root, "a Pod");
  pod.weight = annotations.weight;
  pod.addresses = annotations.addresses;
  pod.workload = owning_deployment(root);
  return pod;
}

Deployment decode_deployment(const Value& root, Workload workload) {
  Deployment deployment;
  Fields object(root);
  deployment.meta = decode_metadata(object, Kind::deployment);
  refuse_annotations(root, "a Deployment");
  object.accept({"status"});
  const auto spec = object.require("spec", "replicas, selector and template");
  object.finish();
  if (!spec) return deployment;
  Fields fields(*spec);
  if (const auto replicas = fields.take("replicas"))
    deployment.replicas = static_cast<int>(replicas->integer(0, most_replicas).value_or(1));
  const std::size_t before = root.report().problems().size();
  const auto selector = fields.require("selector", "a selector that matches the template's labels");
  if (selector) deployment.selector = decode_selector(*selector);
  const auto pod_template = fields.require("template", "metadata and spec of the pods");
  if (pod_template) decode_template(*pod_template, deployment);
  accept_workload_fields(fields, workload);
  fields.finish();
  // Only worth saying when both were read without a problem of their own.
  if (selector && pod_template && root.report().problems().size() == before)
    check_selects_template(*selector, deployment);
  return deployment;
}

}  // namespace weft::model
