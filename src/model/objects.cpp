#include "model/objects.h"

#include <fmt/format.h>

#include <array>

namespace weft::model {
namespace {

struct KindName {
  std::string_view word;
  Kind kind;
};

// Every word kubectl takes for the kinds, in lower case.
constexpr std::array kind_words{
    KindName{"namespace", Kind::namespace_},
    KindName{"namespaces", Kind::namespace_},
    KindName{"ns", Kind::namespace_},
    KindName{"pod", Kind::pod},
    KindName{"pods", Kind::pod},
    KindName{"po", Kind::pod},
    KindName{"deployment", Kind::deployment},
    KindName{"deployments", Kind::deployment},
    KindName{"deploy", Kind::deployment},
    KindName{"service", Kind::service},
    KindName{"services", Kind::service},
    KindName{"svc", Kind::service},
    KindName{"endpointslice", Kind::endpoint_slice},
    KindName{"endpointslices", Kind::endpoint_slice},
    KindName{"networkpolicy", Kind::network_policy},
    KindName{"networkpolicies", Kind::network_policy},
    KindName{"netpol", Kind::network_policy},
    KindName{"netpols", Kind::network_policy},
    KindName{"loadbalancerpool", Kind::load_balancer_pool},
    KindName{"loadbalancerpools", Kind::load_balancer_pool},
    KindName{"lbpool", Kind::load_balancer_pool},
    KindName{"lbpools", Kind::load_balancer_pool},
    KindName{"l2announcement", Kind::l2_announcement},
    KindName{"l2announcements", Kind::l2_announcement},
    KindName{"l2ann", Kind::l2_announcement},
    KindName{"bgppeering", Kind::bgp_peering},
    KindName{"bgppeerings", Kind::bgp_peering},
    KindName{"bgpp", Kind::bgp_peering},
    KindName{"egressgateway", Kind::egress_gateway},
    KindName{"egressgateways", Kind::egress_gateway},
    KindName{"egressgw", Kind::egress_gateway},
    KindName{"egw", Kind::egress_gateway},
    KindName{"podaddresspool", Kind::pod_address_pool},
    KindName{"podaddresspools", Kind::pod_address_pool},
    KindName{"podpool", Kind::pod_address_pool},
    KindName{"podpools", Kind::pod_address_pool},
};

template <class T, std::size_t count>
using Words = std::array<std::pair<std::string_view, T>, count>;

constexpr Words<Algorithm, 5> algorithm_words{{{"random", Algorithm::random},
                                               {"round-robin", Algorithm::round_robin},
                                               {"least-connections", Algorithm::least_connections},
                                               {"maglev", Algorithm::maglev},
                                               {"source-hash", Algorithm::source_hash}}};
constexpr Words<Forwarding, 4> forwarding_words{{{"snat", Forwarding::snat},
                                                 {"dsr-ipip", Forwarding::dsr_ipip},
                                                 {"dsr-geneve", Forwarding::dsr_geneve},
                                                 {"dsr-option", Forwarding::dsr_option}}};

template <class T, std::size_t count>
std::string_view word_of(const Words<T, count>& words, T value) {
  for (const auto& [word, known] : words)
    if (known == value) return word;
  return "?";
}

template <class T, std::size_t count>
Result<T> find_word(const Words<T, count>& words, std::string_view text, std::string_view what) {
  std::string known;
  for (const auto& [word, value] : words) {
    if (word == text) return value;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", word);
  }
  return fail(ErrorCode::invalid, fmt::format("\"{}\" is no {} Weft knows", text, what), "use one of " + known);
}

}  // namespace

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::namespace_:
      return "Namespace";
    case Kind::pod:
      return "Pod";
    case Kind::deployment:
      return "Deployment";
    case Kind::service:
      return "Service";
    case Kind::endpoint_slice:
      return "EndpointSlice";
    case Kind::network_policy:
      return "NetworkPolicy";
    case Kind::load_balancer_pool:
      return "LoadBalancerPool";
    case Kind::l2_announcement:
      return "L2Announcement";
    case Kind::bgp_peering:
      return "BGPPeering";
    case Kind::egress_gateway:
      return "EgressGateway";
    case Kind::pod_address_pool:
      return "PodAddressPool";
  }
  return "?";
}

Result<Kind> parse_kind(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  for (const auto& [word, kind] : kind_words)
    if (word == lower) return kind;
  return fail(ErrorCode::invalid, fmt::format("\"{}\" is not a kind Weft knows", text),
              "use namespace, pod, deployment, service, endpointslice, networkpolicy, loadbalancerpool, "
              "l2announcement, bgppeering, egressgateway or podaddresspool");
}

bool has_namespace(Kind kind) {
  return kind != Kind::namespace_ && kind != Kind::load_balancer_pool && kind != Kind::l2_announcement &&
         kind != Kind::bgp_peering && kind != Kind::egress_gateway && kind != Kind::pod_address_pool;
}

std::string_view to_string(Algorithm algorithm) { return word_of(algorithm_words, algorithm); }
Result<Algorithm> parse_algorithm(std::string_view text) { return find_word(algorithm_words, text, "algorithm"); }
std::string_view to_string(Forwarding forwarding) { return word_of(forwarding_words, forwarding); }
Result<Forwarding> parse_forwarding(std::string_view text) { return find_word(forwarding_words, text, "forwarding"); }

Kind kind_of(const Object& object) {
  struct Visitor {
    Kind operator()(const Namespace&) const { return Kind::namespace_; }
    Kind operator()(const Pod&) const { return Kind::pod; }
    Kind operator()(const Deployment&) const { return Kind::deployment; }
    Kind operator()(const Service&) const { return Kind::service; }
    Kind operator()(const EndpointSlice&) const { return Kind::endpoint_slice; }
    Kind operator()(const NetworkPolicy&) const { return Kind::network_policy; }
    Kind operator()(const LoadBalancerPool&) const { return Kind::load_balancer_pool; }
    Kind operator()(const L2Announcement&) const { return Kind::l2_announcement; }
    Kind operator()(const BgpPeering&) const { return Kind::bgp_peering; }
    Kind operator()(const EgressGateway&) const { return Kind::egress_gateway; }
    Kind operator()(const PodAddressPool&) const { return Kind::pod_address_pool; }
  };
  return std::visit(Visitor{}, object);
}

const Metadata& metadata_of(const Object& object) {
  return std::visit([](const auto& value) -> const Metadata& { return value.meta; }, object);
}

}  // namespace weft::model
