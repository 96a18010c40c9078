// What went wrong with a request to the API server, by kind: callers act on the reason, people read the message.
// Outcome<T> is Result<T> with such a reason; to_error() turns it into the project's Error where it leaves the sources.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace weft::kubernetes {

enum class Reason : std::uint8_t {
  unavailable,      // no server answers, or the connection broke
  deadline,         // no answer in time
  server,           // it answers that it cannot now: 5xx
  throttled,        // 429: it asks to slow down
  unauthenticated,  // 401: it does not know who we are
  denied,           // 403: who we are may not
  not_found,        // 404: the object, or its whole resource
  exists,           // 409 AlreadyExists
  conflict,         // 409: the object is another than the one this was based on
  expired,          // 410: the resourceVersion or continue token is too old: list anew
  future_version,   // the resourceVersion asked for has not happened at this server
  invalid,          // the request itself is wrong: 400, 422 and their like
  too_large,        // the answer is larger than what is taken
  internal,         // an answer that makes no sense
};

std::string_view to_string(Reason reason);

struct Failure {
  Reason reason = Reason::internal;
  std::string message;  // "<method> <path> of <server>: <what it or the connection said>"
  // The request may have been carried out all the same. Only ever set for requests that write.
  bool unsure = false;
  int status = 0;                             // of HTTP; 0: there was no answer
  std::chrono::milliseconds retry_after{-1};  // where the server said it

  // Trying the same again later can succeed without anybody changing anything.
  [[nodiscard]] bool transient() const;
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

// The failure that a Status of the API (`code`, its `reason` and the causes' reasons, in words) stands for.
// https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
Reason reason_of(int code, std::string_view words);

}  // namespace weft::kubernetes
