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
};

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
              "use namespace, pod, deployment, service, endpointslice or networkpolicy");
}

Kind kind_of(const Object& object) {
  struct Visitor {
    Kind operator()(const Namespace&) const { return Kind::namespace_; }
    Kind operator()(const Pod&) const { return Kind::pod; }
    Kind operator()(const Deployment&) const { return Kind::deployment; }
    Kind operator()(const Service&) const { return Kind::service; }
    Kind operator()(const EndpointSlice&) const { return Kind::endpoint_slice; }
    Kind operator()(const NetworkPolicy&) const { return Kind::network_policy; }
  };
  return std::visit(Visitor{}, object);
}

const Metadata& metadata_of(const Object& object) {
  return std::visit([](const auto& value) -> const Metadata& { return value.meta; }, object);
}

}  // namespace weft::model
