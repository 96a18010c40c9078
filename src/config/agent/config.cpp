#include "config/agent/config.h"

#include <fmt/format.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>

#include "config/keys.h"
#include "model/names.h"
#include "sources/kubernetes/kubeconfig.h"
#include "sys/system.h"

namespace weft::agent {
namespace {

using config::flag;
using config::number;
using config::read_texts;
using config::scalar;
using config::text;
using config::texts;
using config::word;
using Setter = config::Setter<Config>;

// Ranges, or single addresses.
Setter peers(std::vector<Cidr> Config::*field) {
  return [=](Config& config, const YAML::Node& node) -> Result<void> {
    WEFT_TRY(const auto values, read_texts(node));
    (config.*field).clear();
    for (const auto& value : values) {
      const auto address = IpAddress::parse(value);
      const auto range = address ? Cidr(*address, address->is_v4() ? 32 : 128) : Cidr::parse(value);
      if (!range) return fail(ErrorCode::invalid, fmt::format("\"{}\" is neither an address nor a CIDR", value));
      (config.*field).push_back(*range);
    }
    return {};
  };
}

Result<void> set_node_labels(Config& config, const YAML::Node& node) {
  if (!node.IsMap()) return fail(ErrorCode::invalid, "expected labels, {key: value, ...}");
  config.node_labels.clear();
  for (const auto& entry : node) {
    WEFT_TRY(const auto key, scalar<std::string>(entry.first, "a label's key"));
    WEFT_TRY(const auto value, scalar<std::string>(entry.second, "text"));
    if (const auto why = model::check_label_key(key); !why.empty())
      return fail(ErrorCode::invalid, fmt::format("\"{}\" is no key of a label: {}", key, why));
    if (const auto why = model::check_label_value(value); !why.empty())
      return fail(ErrorCode::invalid, fmt::format("{}: \"{}\" is no value of a label: {}", key, value, why));
    if (!config.node_labels.emplace(key, value).second)
      return fail(ErrorCode::invalid, fmt::format("{} is given twice", key));
  }
  return {};
}

Result<Config::Xdp> parse_xdp(std::string_view text) {
  if (text == "auto") return Config::Xdp::automatic;
  if (text == "native") return Config::Xdp::native;
  if (text == "generic") return Config::Xdp::generic;
  if (text == "off") return Config::Xdp::off;
  return fail(ErrorCode::invalid, fmt::format("expected auto, native, generic or off, found \"{}\"", text));
}

Result<Config::Store> parse_store(std::string_view text) {
  if (text == "embedded") return Config::Store::embedded;
  if (text == "etcd") return Config::Store::etcd;
  if (text == "kubernetes") return Config::Store::kubernetes;
  return fail(ErrorCode::invalid, fmt::format("expected embedded, etcd or kubernetes, found \"{}\"", text));
}

Result<Config::Tunnel> parse_tunnel(std::string_view text) {
  for (const auto tunnel : {Config::Tunnel::none, Config::Tunnel::vxlan, Config::Tunnel::geneve, Config::Tunnel::ipip})
    if (text == to_string(tunnel)) return tunnel;
  return fail(ErrorCode::invalid, fmt::format("expected none, vxlan, geneve or ipip, found \"{}\"", text));
}

Result<Config::BgpSpeaker> parse_bgp_speaker(std::string_view text) {
  if (text == "auto") return Config::BgpSpeaker::automatic;
  if (text == "bird") return Config::BgpSpeaker::bird;
  if (text == "frr") return Config::BgpSpeaker::frr;
  if (text == "none") return Config::BgpSpeaker::none;
  return fail(ErrorCode::invalid, fmt::format("expected auto, bird, frr or none, found \"{}\"", text));
}

Result<Config::TunnelScope> parse_tunnel_scope(std::string_view text) {
  if (text == "always") return Config::TunnelScope::always;
  if (text == "cross-subnet") return Config::TunnelScope::cross_subnet;
  return fail(ErrorCode::invalid, fmt::format("expected always or cross-subnet, found \"{}\"", text));
}

Result<Config::Encryption> parse_encryption(std::string_view text) {
  if (text == "none") return Config::Encryption::none;
  if (text == "wireguard") return Config::Encryption::wireguard;
  return fail(ErrorCode::invalid, fmt::format("expected none or wireguard, found \"{}\"", text));
}

Result<Config::NodeCidrs> parse_node_cidrs(std::string_view text) {
  if (text == "pools") return Config::NodeCidrs::pools;
  if (text == "kubernetes") return Config::NodeCidrs::kubernetes;
  return fail(ErrorCode::invalid, fmt::format("expected pools or kubernetes, found \"{}\"", text));
}

Result<Config::ObjectSource> parse_object_source(std::string_view text) {
  if (text == "applied") return Config::ObjectSource::applied;
  if (text == "kubernetes") return Config::ObjectSource::kubernetes;
  return fail(ErrorCode::invalid, fmt::format("expected applied or kubernetes, found \"{}\"", text));
}

Result<Config::OperatorUse> parse_operator_use(std::string_view text) {
  if (text == "auto") return Config::OperatorUse::automatic;
  if (text == "external") return Config::OperatorUse::external;
  return fail(ErrorCode::invalid, fmt::format("expected auto or external, found \"{}\"", text));
}

config::Keys<Config> own_keys() {
  return {
      {"instance", text(&Config::instance)},
      {"node", text(&Config::node)},
      {"state_dir", text(&Config::state_dir)},
      {"run_dir", text(&Config::run_dir)},
      {"bpffs", text(&Config::bpffs)},
      {"cgroup_root", text(&Config::cgroup_root)},
      {"pod_cidrs", config::cidrs(&Config::pod_cidrs, true)},
      {"service_cidrs", config::cidrs(&Config::service_cidrs, true)},
      {"native_cidrs", config::cidrs(&Config::native_cidrs, false)},
      {"load_balancer_peers", peers(&Config::load_balancer_peers)},
      {"masquerade", flag(&Config::masquerade)},
      {"devices", texts(&Config::devices)},
      {"mtu", number(&Config::mtu, 0, 65535)},
      {"quarantine_seconds", number(&Config::quarantine_seconds, 0, 86400)},
      {"flow_table_entries", number(&Config::flow_table_entries, 0, 16777216)},
      {"nat_port_min", number(&Config::nat_port_min, 1024, 65535)},
      {"nat_port_max", number(&Config::nat_port_max, 1024, 65535)},
      {"zone", text(&Config::zone)},
      {"node_labels", set_node_labels},
      {"node_port_min", number(&Config::node_port_min, 1, 65535)},
      {"node_port_max", number(&Config::node_port_max, 1, 65535)},
      {"lb_port_min", number(&Config::lb_port_min, 1024, 65535)},
      {"lb_port_max", number(&Config::lb_port_max, 1024, 65535)},
      {"service_algorithm", word(&Config::service_algorithm, &model::parse_algorithm)},
      {"service_forwarding", word(&Config::service_forwarding, &model::parse_forwarding)},
      {"maglev_table_size", number(&Config::maglev_table_size, 251, 131071)},
      {"service_hash_seed", number(&Config::service_hash_seed, 0, 4294967295U)},
      {"service_table_entries", number(&Config::service_table_entries, 64, 16777216)},
      {"backend_table_entries", number(&Config::backend_table_entries, 64, 16777216)},
      {"slot_table_entries", number(&Config::slot_table_entries, 64, 67108864)},
      {"remote_table_entries", number(&Config::remote_table_entries, 64, 16777216)},
      {"external_ips", flag(&Config::external_ips)},
      {"xdp", word(&Config::xdp, &parse_xdp)},
      {"events", flag(&Config::events)},
      {"flow_history", number(&Config::flow_history, 16, 1048576)},
      {"store", word(&Config::store, &parse_store)},
      {"objects", word(&Config::objects, &parse_object_source)},
      {"node_cidrs", word(&Config::node_cidrs, &parse_node_cidrs)},
      {"cni_bin_dir", text(&Config::cni_bin_dir)},
      {"cni_conf_dir", text(&Config::cni_conf_dir)},
      {"cni_conf_name", text(&Config::cni_conf_name)},
      {"pod_block_length_v4", number(&Config::pod_block_length_v4, 8, 29)},
      {"pod_block_length_v6", number(&Config::pod_block_length_v6, 8, 125)},
      {"tunnel", word(&Config::tunnel, &parse_tunnel)},
      {"tunnel_scope", word(&Config::tunnel_scope, &parse_tunnel_scope)},
      {"tunnel_port", number(&Config::tunnel_port, 1, 65535)},
      {"bgp_speaker", word(&Config::bgp_speaker, &parse_bgp_speaker)},
      {"encryption", word(&Config::encryption, &parse_encryption)},
      {"encryption_strict", flag(&Config::encryption_strict)},
      {"encryption_node_to_node", flag(&Config::encryption_node_to_node)},
      {"wireguard_port", number(&Config::wireguard_port, 1, 65534)},
      {"wireguard_rotate_seconds", number(&Config::wireguard_rotate_seconds, 0, 31536000)},
      {"wireguard_keepalive_seconds", number(&Config::wireguard_keepalive_seconds, 0, 65535)},
      {"edge", flag(&Config::edge)},
      {"operator", word(&Config::operator_use, &parse_operator_use)},
      {"log_level", word(&Config::log_level, &config::parse_log_level)},
      {"log_file", text(&Config::log_file)},
  };
}

const config::Keys<Config>& all_keys() {
  static const auto table = [] {
    auto keys = own_keys();
    for (const auto& [name, set] : config::cluster_access_keys()) keys.emplace(name, set);
    for (const auto& [name, set] : config::kubernetes_access_keys()) keys.emplace(name, set);
    return keys;
  }();
  return table;
}

bool is_prime(std::uint32_t number) {
  for (std::uint32_t divisor = 2; divisor * divisor <= number; ++divisor)
    if (number % divisor == 0) return false;
  return number > 1;
}

// Ranges must leave addresses to give, and ones that hosts route.
Result<void> check_range(const char* key, const Cidr& cidr, std::uint64_t fewest) {
  const auto refuse = [&](std::string_view why, std::string hint) {
    return fail(ErrorCode::invalid, fmt::format("{}: {} {}", key, cidr.to_string(), why), std::move(hint));
  };
  for (const auto* special : {"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10",
                              "ff00::/8", "::ffff:0.0.0.0/96"}) {
    const auto known = Cidr::parse(special);
    if (known && known->family() == cidr.family() && (known->contains(cidr) || cidr.contains(*known)))
      return refuse(fmt::format("holds addresses of {}, which no host routes", special),
                    "choose a private range, for example 10.244.0.0/24 or fd00:10:244::/64");
  }
  if (cidr.size() < fewest)
    return refuse(fmt::format("is too small: it has {} address{}, and some are never given", cidr.size(),
                              cidr.size() == 1 ? "" : "es"),
                  cidr.is_v4() ? "give it a length of 29 or less" : "give it a length of 125 or less");
  return {};
}

Result<void> check_ranges(const Config& config) {
  bool has_v6 = false;
  for (const auto& cidr : config.pod_cidrs) {
    has_v6 = has_v6 || !cidr.is_v4();
    WEFT_CHECK(check_range("pod_cidrs", cidr, 4));
  }
  for (const auto& cidr : config.service_cidrs) WEFT_CHECK(check_range("service_cidrs", cidr, 4));
  for (const auto& cidr : config.load_balancer_peers) WEFT_CHECK(check_range("load_balancer_peers", cidr, 1));
  const auto least = has_v6 ? 1280U : 576U;
  if (config.mtu != 0 && config.mtu < least)
    return fail(ErrorCode::invalid, fmt::format("mtu: expected 0 or at least {}, found {}: {} needs that much", least,
                                                config.mtu, has_v6 ? "IPv6, which pod_cidrs asks for," : "IPv4"));
  return {};
}

// What only nodes of a cluster need.
Result<void> check_encryption(const Config& config) {
  if (config.encryption == Config::Encryption::none) {
    for (const auto& [key, given] : {std::pair{"encryption_strict", config.encryption_strict},
                                     {"encryption_node_to_node", config.encryption_node_to_node}})
      if (given)
        return fail(ErrorCode::invalid, fmt::format("{}: there is no encryption to be so", key),
                    "set encryption: wireguard");
    return {};
  }
  for (const int port : {config.wireguard_port + 0, config.wireguard_port + 1})
    if ((config.tunnel == Config::Tunnel::vxlan && port == config.tunnel_port) || port == 6081)
      return fail(ErrorCode::invalid,
                  fmt::format("wireguard_port: {} and the next one are WireGuard's, but {} is a tunnel's",
                              config.wireguard_port, port));
  return {};
}

Result<void> check_kubernetes_store(const Config& config) {
  if (config.objects != Config::ObjectSource::kubernetes)
    return fail(ErrorCode::invalid,
                "store: kubernetes keeps what nodes share in the API server, but objects is applied",
                "set objects: kubernetes, or store: etcd");
  if (!config.etcd_endpoints.empty())
    return fail(ErrorCode::invalid, "etcd_endpoints are given, but store is kubernetes", "set store: etcd");
  if (config.encryption_node_to_node)
    return fail(ErrorCode::unsupported,
                "encryption_node_to_node: true would encrypt what nodes say to the API server, which tells their keys",
                "leave it out, or set store: etcd");
  return config::check_times(config);
}

Result<void> check_node_cidrs(const Config& config) {
  if (config.node_cidrs == Config::NodeCidrs::pools ||
      (config.clustered() && config.objects == Config::ObjectSource::kubernetes))
    return {};
  return fail(ErrorCode::invalid,
              "node_cidrs: kubernetes takes what the Node objects of a cluster say, but " +
                  std::string(config.clustered() ? "objects is applied" : "store is embedded"),
              config.clustered() ? "set objects: kubernetes, or leave it out"
                                 : "set store: kubernetes or etcd, or leave it out");
}

Result<void> check_cluster(const Config& config) {
  WEFT_CHECK(check_node_cidrs(config));
  if (!config.clustered()) {
    if (!config.etcd_endpoints.empty())
      return fail(ErrorCode::invalid, "etcd_endpoints are given, but store is embedded", "set store: etcd");
    if (config.tunnel != Config::Tunnel::none)
      return fail(ErrorCode::invalid,
                  fmt::format("tunnel: {} leads to other nodes, but store is embedded, which knows none",
                              to_string(config.tunnel)),
                  "set store: etcd or kubernetes");
    if (config.encryption != Config::Encryption::none)
      return fail(ErrorCode::invalid,
                  "encryption: wireguard is between nodes, but store is embedded, which knows no others",
                  "set store: etcd or kubernetes");
    if (config.edge)
      return fail(ErrorCode::invalid, "edge: true keeps what others would take, but store is embedded: there are none",
                  "set store: etcd or kubernetes, or leave edge out");
    if (config.operator_use == Config::OperatorUse::external)
      return fail(ErrorCode::invalid,
                  "operator: external leaves duties to operators, but store is embedded: a node by itself has none",
                  "set store: etcd or kubernetes, or leave operator out");
    return {};
  }
  WEFT_CHECK(check_encryption(config));
  if (config.store == Config::Store::kubernetes) {
    WEFT_CHECK(check_kubernetes_store(config));
  } else if (auto access = config::check(config); !access) {
    return fail(access.error().in("store: etcd"));
  }
  for (const auto& cidr : config.pod_cidrs) {
    const auto length = cidr.is_v4() ? config.pod_block_length_v4 : config.pod_block_length_v6;
    if (length < cidr.length())
      return fail(ErrorCode::invalid, fmt::format("pod_block_length_v{}: a block of /{} is larger than pod_cidrs {}",
                                                  cidr.is_v4() ? 4 : 6, length, cidr.to_string()));
  }
  return {};
}

Result<void> check_kubernetes(const Config& config) {
  if (config.objects != Config::ObjectSource::kubernetes)
    return config::check_no_kubernetes(config, "objects is applied", "set objects: kubernetes, or leave it out");
  for (const auto& server : config.kubernetes_servers)
    if (const auto parsed = kubernetes::parse_server(server); !parsed)
      return fail(parsed.error().in("kubernetes_servers"));
  return config::check_kubernetes(config);
}

Result<void> check_cni(const Config& config) {
  for (const auto& [key, directory] :
       {std::pair{"cni_bin_dir", &config.cni_bin_dir}, {"cni_conf_dir", &config.cni_conf_dir}})
    if (!directory->empty() && directory->front() != '/')
      return fail(ErrorCode::invalid, fmt::format("{}: expected an absolute path, found \"{}\"", key, *directory));
  const auto& name = config.cni_conf_name;
  if (name.find('/') != std::string::npos || !name.ends_with(".conflist") || name.starts_with('.'))
    return fail(ErrorCode::invalid,
                fmt::format("cni_conf_name: expected the name of a file that ends in .conflist, found \"{}\"", name),
                "runtimes take the first list of cni_conf_dir, in the order of their names");
  return {};
}

// The downward API gives it to a pod, whose host name may be another.
std::string default_node_name() {
  if (const char* given = std::getenv("NODE_NAME"); given != nullptr && *given != '\0') return given;
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

Result<void> validate(const Config& config) {
  WEFT_CHECK(check_kubernetes(config));
  WEFT_CHECK(check_cni(config));
  WEFT_CHECK(check_ranges(config));
  WEFT_CHECK(check_cluster(config));
  if (config.nat_port_min > config.nat_port_max) return fail(ErrorCode::invalid, "nat_port_min is above nat_port_max");
  if (config.node_port_min > config.node_port_max)
    return fail(ErrorCode::invalid, "node_port_min is above node_port_max");
  if (config.lb_port_min > config.lb_port_max) return fail(ErrorCode::invalid, "lb_port_min is above lb_port_max");
  const auto apart = [](std::uint16_t a_min, std::uint16_t a_max, std::uint16_t b_min, std::uint16_t b_max) {
    return a_max < b_min || b_max < a_min;
  };
  if (!apart(config.lb_port_min, config.lb_port_max, config.nat_port_min, config.nat_port_max))
    return fail(ErrorCode::invalid, "lb_port_min to lb_port_max and nat_port_min to nat_port_max overlap",
                "replies to pods and replies to balanced clients are told apart by these ports");
  if (!apart(config.lb_port_min, config.lb_port_max, config.node_port_min, config.node_port_max) ||
      !apart(config.nat_port_min, config.nat_port_max, config.node_port_min, config.node_port_max))
    return fail(ErrorCode::invalid, "node_port_min to node_port_max overlaps with the ports of translation");
  if (!is_prime(config.maglev_table_size))
    return fail(ErrorCode::invalid, fmt::format("maglev_table_size: {} is not a prime", config.maglev_table_size),
                "251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521 and 131071 are usual");
  if (config.instance.empty() || config.instance.size() > 100 ||
      config.instance.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") != std::string::npos ||
      config.instance.front() == '.')
    return fail(
        ErrorCode::invalid,
        fmt::format("instance: \"{}\" is not a name of lower case letters, digits and dashes", config.instance));
  // As the kernel takes the path of a unix socket.
  constexpr std::size_t longest_socket_path = 107;
  if (const auto path = config.socket_path(); path.size() > longest_socket_path)
    return fail(ErrorCode::invalid, fmt::format("run_dir: the socket {} would have a path of {} bytes, {} are the most",
                                                path, path.size(), longest_socket_path));
  // A pod is no node: what it sends is never taken for one's.
  for (const auto& [key, ranges] :
       {std::pair{"pod_cidrs", &config.pod_cidrs}, {"service_cidrs", &config.service_cidrs}})
    for (const auto& range : *ranges)
      for (const auto& peer : config.load_balancer_peers)
        if (range.contains(peer) || peer.contains(range))
          return fail(ErrorCode::invalid,
                      fmt::format("load_balancer_peers {} and {} {} overlap", peer.to_string(), key, range.to_string()),
                      "list the addresses of the other nodes");
  for (const auto& pod : config.pod_cidrs)
    for (const auto& service : config.service_cidrs)
      if (pod.contains(service) || service.contains(pod))
        return fail(ErrorCode::invalid,
                    fmt::format("pod_cidrs {} and service_cidrs {} overlap", pod.to_string(), service.to_string()));
  return {};
}

Config defaults() {
  Config config;
  config.pod_cidrs = {*Cidr::parse("10.244.0.0/24"), *Cidr::parse("fd00:10:244::/64")};
  config.service_cidrs = {*Cidr::parse("10.96.0.0/16"), *Cidr::parse("fd00:10:96::/112")};
  config.node = default_node_name();
  return config;
}

}  // namespace

std::string_view to_string(Config::Tunnel tunnel) {
  switch (tunnel) {
    case Config::Tunnel::vxlan:
      return "vxlan";
    case Config::Tunnel::geneve:
      return "geneve";
    case Config::Tunnel::ipip:
      return "ipip";
    case Config::Tunnel::none:
      break;
  }
  return "none";
}

std::uint32_t Config::tunnel_overhead(bool outer_v4) const {
  constexpr std::uint32_t udp = 8;
  constexpr std::uint32_t vxlan = 8 + 14;  // RFC 7348, with the Ethernet header inside
  constexpr std::uint32_t geneve = 8;      // RFC 8926 without options, an IP packet inside
  const std::uint32_t ip = outer_v4 ? 20 : 40;
  switch (tunnel) {
    case Tunnel::vxlan:
      return ip + udp + vxlan;
    case Tunnel::geneve:
      return ip + udp + geneve;
    case Tunnel::ipip:
      return ip;
    case Tunnel::none:
      break;
  }
  return 0;
}

std::uint32_t Config::overhead(bool outer_v4) const {
  const auto tunnel_bytes = tunnel_overhead(outer_v4);
  if (!encrypts()) return tunnel_bytes;
  // What goes by an egress gateway is wrapped between the nodes' gateways first (lib/tunnel_send.h), and servers
  // outside may never hear that a packet was too large.
  const bool v4 = pod_cidrs.empty() || std::ranges::any_of(pod_cidrs, &Cidr::is_v4);
  return std::max(tunnel_bytes, wireguard_overhead(outer_v4) + (v4 ? 20U : 40U));
}

LabelMap Config::labels() const {
  auto labels = node_labels;
  labels.try_emplace("kubernetes.io/hostname", node);
  if (!zone.empty()) labels["topology.kubernetes.io/zone"] = zone;
  return labels;
}

std::string Config::reserved_ports() const {
  const auto list = [](std::uint16_t first, std::uint16_t last) {
    return first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
  };
  if (!masquerade) return list(lb_port_min, lb_port_max);
  auto low = std::pair{lb_port_min, lb_port_max};
  auto high = std::pair{nat_port_min, nat_port_max};
  if (high < low) std::swap(low, high);
  if (low.second + 1 == high.first) return list(low.first, high.second);
  return list(low.first, low.second) + "," + list(high.first, high.second);
}

Result<Config> parse_config(const std::string& file, std::string_view text_of_file) {
  auto config = defaults();
  WEFT_TRY(const auto document, config::read_document(file, text_of_file, "weftd.yaml"));
  WEFT_TRY(const auto keys, config::read_keys(config, file, document, all_keys()));
  if (config.node.empty()) config.node = default_node_name();
  // A range that many nodes share is larger than that of one.
  if (config.clustered() && !keys.contains("pod_cidrs"))
    config.pod_cidrs = {*Cidr::parse("10.244.0.0/16"), *Cidr::parse("fd00:10:244::/48")};
  if (auto valid = validate(config); !valid) return fail(valid.error().in(file));
  return config;
}

Result<Config> load_config_for_cleanup(const std::string& path) {
  auto whole = load_config(path);
  if (whole || path.empty()) return whole;
  const auto content = sys::read_file(path);
  if (!content) return whole;
  YAML::Node places;
  try {
    const auto document = YAML::Load(*content);
    if (!document.IsMap()) return whole;
    for (const auto* key : {"instance", "node", "state_dir", "run_dir", "bpffs", "cgroup_root", "devices",
                            "cni_bin_dir", "cni_conf_dir", "cni_conf_name"})
      if (document[key]) places[key] = document[key];
  } catch (const YAML::Exception&) {
    return whole;
  }
  return parse_config(path, YAML::Dump(places));
}

Result<Config> load_config(const std::string& path) {
  if (path.empty()) return defaults();
  WEFT_TRY(const auto content, sys::read_file(path));
  return parse_config(path, content);
}

}  // namespace weft::agent
