#include "sources/etcd/failure.h"

#include <fmt/format.h>

namespace weft::etcd {

std::string_view to_string(Reason reason) {
  switch (reason) {
    case Reason::unavailable:
      return "unavailable";
    case Reason::deadline:
      return "deadline";
    case Reason::no_leader:
      return "no leader";
    case Reason::compacted:
      return "compacted";
    case Reason::future_revision:
      return "future revision";
    case Reason::history_lost:
      return "history lost";
    case Reason::unauthenticated:
      return "unauthenticated";
    case Reason::denied:
      return "denied";
    case Reason::lease_not_found:
      return "lease not found";
    case Reason::lease_exists:
      return "lease exists";
    case Reason::exhausted:
      return "exhausted";
    case Reason::invalid:
      return "invalid";
    case Reason::cancelled:
      return "cancelled";
    case Reason::internal:
      return "internal";
  }
  return "internal";
}

bool Failure::transient() const {
  switch (reason) {
    case Reason::unavailable:
    case Reason::deadline:
    case Reason::no_leader:
    case Reason::exhausted:
      return true;
    default:
      return false;
  }
}

namespace {

ErrorCode code_of(Reason reason) {
  switch (reason) {
    case Reason::unavailable:
    case Reason::deadline:
    case Reason::no_leader:
    case Reason::cancelled:
    case Reason::compacted:
    case Reason::history_lost:
      return ErrorCode::unavailable;
    case Reason::unauthenticated:
    case Reason::denied:
      return ErrorCode::denied;
    case Reason::lease_not_found:
      return ErrorCode::not_found;
    case Reason::lease_exists:
      return ErrorCode::exists;
    case Reason::exhausted:
      return ErrorCode::exhausted;
    case Reason::invalid:
    case Reason::future_revision:
      return ErrorCode::invalid;
    case Reason::internal:
      break;
  }
  return ErrorCode::internal;
}

}  // namespace

Error Failure::to_error() const {
  const std::string text = std::string(store) + ": " + message;
  if (store != "etcd") return {code_of(reason), text, hint};
  switch (reason) {
    case Reason::unauthenticated:
      return {code_of(reason), text, "check the user, the password and the client certificate configured for etcd"};
    case Reason::denied:
      return {code_of(reason), text, "grant the user's role the permission for this key in etcd"};
    case Reason::exhausted:
      return {code_of(reason), text,
              "compact and defragment etcd, or raise its quota, then disarm its alarm (etcdctl alarm disarm)"};
    default:
      return {code_of(reason), text, {}};
  }
}

std::string printable(std::string_view key) {
  constexpr std::size_t longest = 80;
  std::string text = "'";
  for (const char byte : key.substr(0, longest)) {
    if (byte >= ' ' && byte <= '~' && byte != '\\' && byte != '\'')
      text += byte;
    else
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  }
  return text + (key.size() > longest ? "...'" : "'");
}

}  // namespace weft::etcd
