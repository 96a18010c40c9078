#include "sources/kubernetes/failure.h"

namespace weft::kubernetes {

std::string_view to_string(Reason reason) {
  switch (reason) {
    case Reason::unavailable:
      return "unavailable";
    case Reason::deadline:
      return "deadline";
    case Reason::server:
      return "server";
    case Reason::throttled:
      return "throttled";
    case Reason::unauthenticated:
      return "unauthenticated";
    case Reason::denied:
      return "denied";
    case Reason::not_found:
      return "not found";
    case Reason::exists:
      return "exists";
    case Reason::conflict:
      return "conflict";
    case Reason::expired:
      return "expired";
    case Reason::future_version:
      return "future version";
    case Reason::invalid:
      return "invalid";
    case Reason::too_large:
      return "too large";
    case Reason::internal:
      return "internal";
  }
  return "internal";
}

bool Failure::transient() const {
  switch (reason) {
    case Reason::unavailable:
    case Reason::deadline:
    case Reason::server:
    case Reason::throttled:
    case Reason::future_version:
      return true;
    default:
      return false;
  }
}

Error Failure::to_error() const {
  const std::string text = "Kubernetes: " + message;
  switch (reason) {
    case Reason::unavailable:
    case Reason::deadline:
    case Reason::server:
    case Reason::throttled:
    case Reason::expired:
    case Reason::future_version:
      return {ErrorCode::unavailable, text, {}};
    case Reason::unauthenticated:
      return {ErrorCode::denied, text, "check the token or the client certificate in the kubeconfig"};
    case Reason::denied:
      return {ErrorCode::denied, text, "grant it with a ClusterRole bound to Weft's service account"};
    case Reason::not_found:
      return {ErrorCode::not_found, text, {}};
    case Reason::exists:
      return {ErrorCode::exists, text, {}};
    case Reason::conflict:
      return {ErrorCode::unavailable, text, "read the object again and repeat the change on what it is now"};
    case Reason::invalid:
      return {ErrorCode::invalid, text, {}};
    case Reason::too_large:
      return {ErrorCode::exhausted, text, {}};
    case Reason::internal:
      break;
  }
  return {ErrorCode::internal, text, {}};
}

Reason reason_of(int code, std::string_view words) {
  switch (code) {
    case 401:
      return Reason::unauthenticated;
    case 403:
      return Reason::denied;
    case 404:
      return Reason::not_found;
    case 409:
      return words.find("AlreadyExists") != std::string_view::npos ? Reason::exists : Reason::conflict;
    case 410:
      return Reason::expired;
    case 429:
      return Reason::throttled;
    case 504:
      // A server that is behind: "Too large resource version", with this cause.
      if (words.find("ResourceVersionTooLarge") != std::string_view::npos) return Reason::future_version;
      return Reason::server;
    default:
      break;
  }
  if (code >= 500) return Reason::server;
  if (code >= 400) return Reason::invalid;
  return Reason::internal;
}

}  // namespace weft::kubernetes
