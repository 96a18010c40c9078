#include "sources/crd_store/failures.h"

#include <string>
#include <utility>

namespace weft::crd {
namespace {

constexpr const char* no_resources =
    "install Weft's resources: weft install, or kubectl apply -f deploy/kubernetes/crds";

etcd::Reason reason_of(const kubernetes::Failure& failure) {
  switch (failure.reason) {
    case kubernetes::Reason::unavailable:
    case kubernetes::Reason::server:
    case kubernetes::Reason::conflict:
      return etcd::Reason::unavailable;
    case kubernetes::Reason::deadline:
      return etcd::Reason::deadline;
    case kubernetes::Reason::throttled:
    case kubernetes::Reason::too_large:
      return etcd::Reason::exhausted;
    case kubernetes::Reason::unauthenticated:
      return etcd::Reason::unauthenticated;
    case kubernetes::Reason::denied:
      return etcd::Reason::denied;
    case kubernetes::Reason::expired:
      return etcd::Reason::compacted;
    case kubernetes::Reason::future_version:
      return etcd::Reason::future_revision;
    case kubernetes::Reason::not_found:
    case kubernetes::Reason::exists:
    case kubernetes::Reason::invalid:
      return etcd::Reason::invalid;
    case kubernetes::Reason::internal:
      break;
  }
  return etcd::Reason::internal;
}

std::string hint_of(const kubernetes::Failure& failure) {
  if (is_no_resource(failure)) return no_resources;
  if (failure.reason == kubernetes::Reason::not_found) return "make the namespace: kubectl create namespace";
  switch (failure.reason) {
    case kubernetes::Reason::denied:
      return "grant what the message names to Weft's service account (docs/kubernetes.md lists its rights)";
    case kubernetes::Reason::throttled:
      return "the API server asks to slow down: see its flow schemas and priority levels, and who else asks much of it";
    default:
      return failure.to_error().hint;
  }
}

}  // namespace

bool is_no_resource(const kubernetes::Failure& failure) {
  // Of an object it says: weftnodes.weft.io "x" not found. Of what it does not know, in plain text: 404 page not found.
  return failure.reason == kubernetes::Reason::not_found && failure.message.find("\" not found") == std::string::npos;
}

etcd::Failure to_etcd(const kubernetes::Failure& failure) {
  return {.reason = reason_of(failure),
          .message = failure.message,
          .unsure = failure.unsure,
          .store = "Kubernetes",
          .hint = hint_of(failure)};
}

}  // namespace weft::crd
