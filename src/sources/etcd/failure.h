// What went wrong with a request to etcd, by kind: callers act on the reason, people read the message.
// Outcome<T> is Result<T> with such a reason; to_error() turns it into the project's Error where it
// leaves the sources.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace weft::etcd {

using Revision = std::int64_t;

enum class Reason : std::uint8_t {
  unavailable,      // no endpoint answers, or the connection broke
  deadline,         // no answer in time
  no_leader,        // the member has no leader, or lost it meanwhile
  compacted,        // the revision asked for is gone: list anew
  future_revision,  // the revision asked for has not happened
  history_lost,     // the cluster is not the one it was (restored, or wiped): list anew
  unauthenticated,  // wrong user or password, or none where one is needed
  denied,           // the user may not
  lease_not_found,  // expired or revoked
  lease_exists,     // the lease id asked for is taken
  exhausted,        // etcd is out of space, or asks to slow down
  invalid,          // the request itself is wrong
  cancelled,        // by the caller
  internal,         // an answer that makes no sense
};

std::string_view to_string(Reason reason);

struct Failure {
  Reason reason = Reason::internal;
  std::string message;  // "<endpoint>: <operation> <key>: <what etcd or the connection said>"
  // The request may have been applied all the same. Only ever set for requests that write.
  bool unsure = false;
  // Nothing was sent: there was no connection in all the time the request had. Whoever tries again waits for one anew.
  bool waited = false;
  Revision compact_revision = 0;  // of `compacted`, where etcd told it
  // For to_error: what keeps the keys, where that is not etcd itself, and then what to do about it.
  std::string_view store = "etcd";
  std::string hint;

  // Trying the same again later can succeed without anybody changing anything.
  [[nodiscard]] bool transient() const;
  // Positions in history are worthless; whoever follows it has to list anew.
  [[nodiscard]] bool needs_list() const { return reason == Reason::compacted || reason == Reason::history_lost; }
  [[nodiscard]] Error to_error() const;
};

template <class T = void>
class [[nodiscard]] Outcome : public std::expected<T, Failure> {
 public:
  using std::expected<T, Failure>::expected;
};

inline std::unexpected<Failure> failed(Reason reason, std::string message) {
  return std::unexpected(Failure{.reason = reason, .message = std::move(message)});
}

// A key for people: quoted, what is not printable as \xNN, cut after 80 bytes.
std::string printable(std::string_view key);

}  // namespace weft::etcd
