// Result<T>: the one error idiom of the project. A function returns a value or an Error; it never
// logs and returns. Exceptions stay at the edge of third-party libraries and do not leave a room.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace weft {

enum class ErrorCode {
  invalid,      // input is wrong; the message names the place
  not_found,    // the thing named does not exist
  exists,       // it exists already
  exhausted,    // no room: addresses, map entries, ids
  unavailable,  // try again later
  unsupported,  // this kernel or this version cannot do it
  denied,       // not permitted
  io,           // a system call failed
  internal,     // a broken invariant
};

std::string_view to_string(ErrorCode code);
// The inverse of to_string; `internal` for an unknown word.
ErrorCode error_code_from(std::string_view word);

struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;  // what, where and why, without a trailing period
  std::string hint;     // what to do about it; may be empty

  // The same error with "<context>: " before its message.
  [[nodiscard]] Error in(std::string_view context) const;
  // In one line: "<message>; <hint>".
  [[nodiscard]] std::string text() const { return hint.empty() ? message : message + "; " + hint; }
};

// An Error from errno: "<what>: <strerror>". ENOENT -> not_found, EEXIST -> exists,
// EPERM/EACCES -> denied, EOPNOTSUPP/ENOSYS -> unsupported, EAGAIN -> unavailable,
// ENOSPC/E2BIG/ENOMEM -> exhausted, otherwise io.
Error errno_error(std::string_view what, int error_number);

template <class T = void>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
};

inline std::unexpected<Error> fail(Error error) { return std::unexpected(std::move(error)); }
inline std::unexpected<Error> fail(ErrorCode code, std::string message, std::string hint = {}) {
  return std::unexpected(Error{code, std::move(message), std::move(hint)});
}

}  // namespace weft

#define WEFT_CONCAT_(a, b) a##b
#define WEFT_CONCAT(a, b) WEFT_CONCAT_(a, b)
// WEFT_TRY(auto value, expression): the value, or return the expression's error.
#define WEFT_TRY(declaration, ...) WEFT_TRY_(WEFT_CONCAT(weft_try_, __LINE__), declaration, __VA_ARGS__)
#define WEFT_TRY_(temporary, declaration, ...)                       \
  auto temporary = (__VA_ARGS__);                                    \
  if (!temporary) return ::weft::fail(std::move(temporary.error())); \
  declaration = std::move(*temporary)
// WEFT_CHECK(expression): return the error of a Result<> that carries no value.
#define WEFT_CHECK(...)                                                                                      \
  do {                                                                                                       \
    if (auto weft_check_ = (__VA_ARGS__); !weft_check_) return ::weft::fail(std::move(weft_check_.error())); \
  } while (false)
