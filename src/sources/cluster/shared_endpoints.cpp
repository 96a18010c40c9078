#include "sources/cluster/shared_endpoints.h"

#include "abi/endpoint.h"
#include "sources/cluster/value_reader.h"

namespace weft::cluster {
namespace {

constexpr std::size_t most_ports = 256;      // of one pod
constexpr std::uint32_t most_weight = 1000;  // of the annotation weft.io/weight

// A thousand nodes read what one writes: what most pods have in common is left out.
json pod_json(const PodName& name, const SharedEndpoint& pod) {
  json value{{"namespace", name.namespace_},
             {"name", name.name},
             {"addresses", texts(pod.addresses)},
             {"identity", pod.identity}};
  if (!pod.ready) value["ready"] = false;
  if (pod.terminating) value["terminating"] = true;
  if (pod.host_network) value["host_network"] = true;
  if (pod.weight != 1) value["weight"] = pod.weight;
  for (const auto& port : pod.ports) {
    json one{{"port", port.port}, {"protocol", to_string(port.protocol)}};
    if (!port.name.empty()) one["name"] = port.name;
    value["ports"].push_back(std::move(one));
  }
  return value;
}

EndpointPort read_port(Reader& reader) {
  EndpointPort port;
  if (reader.has("name")) port.name = reader.text("name");
  port.port = static_cast<std::uint16_t>(reader.number("port", 1, 65535));
  const auto protocol = parse_protocol(reader.text("protocol"));
  if (protocol)
    port.protocol = *protocol;
  else
    reader.wrong("\"protocol\": " + protocol.error().message);
  return port;
}

std::pair<PodName, SharedEndpoint> read_pod(Reader& reader) {
  PodName name{.namespace_ = reader.text("namespace"), .name = reader.text("name")};
  for (const auto& [what, text] : {std::pair("\"namespace\"", &name.namespace_), {"\"name\"", &name.name}})
    if (const auto good = check_name(what, *text); !good) reader.wrong(good.error().message);
  SharedEndpoint pod;
  pod.addresses = reader.addresses("addresses");
  if (pod.addresses.size() > 2 || (pod.addresses.size() == 2 && pod.addresses[0].family() == pod.addresses[1].family()))
    reader.wrong("\"addresses\": a pod has one of each family at most");
  pod.identity = static_cast<IdentityNumber>(reader.number("identity", WEFT_IDENTITY_FIRST, WEFT_IDENTITY_LAST));
  pod.ready = reader.flag("ready", true);
  pod.terminating = reader.flag("terminating", false);
  pod.host_network = reader.flag("host_network", false);
  if (reader.has("weight")) pod.weight = static_cast<std::uint32_t>(reader.number("weight", 0, most_weight));
  if (reader.has("ports"))
    reader.each_object("ports", [&](Reader& element) {
      pod.ports.push_back(read_port(element));
      if (pod.ports.size() > most_ports) element.wrong(fmt::format("\"ports\": more than {}", most_ports));
    });
  return {std::move(name), std::move(pod)};
}

}  // namespace

std::string encode(const NodeEndpoints& endpoints) {
  auto value = object();
  value["boot_id"] = endpoints.boot_id;
  auto pods = json::array();
  for (const auto& [name, pod] : endpoints.pods) pods.push_back(pod_json(name, pod));
  value["pods"] = std::move(pods);
  return dump(value);
}

Result<NodeEndpoints> decode_endpoints(std::string_view key, std::string_view value) {
  Reader reader(key, value);
  NodeEndpoints endpoints{.boot_id = reader.text("boot_id"), .pods = {}};
  reader.each_object("pods", [&](Reader& element) {
    auto [name, pod] = read_pod(element);
    const auto text = name.to_string();
    if (!endpoints.pods.emplace(std::move(name), std::move(pod)).second)
      element.wrong("\"pods\": " + etcd::printable(text) + " is there twice");
  });
  return reader.result(std::move(endpoints));
}

}  // namespace weft::cluster
