#include "base/result.h"

#include <array>
#include <cerrno>
#include <cstring>

namespace weft {
namespace {

struct Name {
  ErrorCode code;
  std::string_view word;
};
constexpr std::array names{
    Name{ErrorCode::invalid, "invalid"},         Name{ErrorCode::not_found, "not_found"},
    Name{ErrorCode::exists, "exists"},           Name{ErrorCode::exhausted, "exhausted"},
    Name{ErrorCode::unavailable, "unavailable"}, Name{ErrorCode::unsupported, "unsupported"},
    Name{ErrorCode::denied, "denied"},           Name{ErrorCode::io, "io"},
    Name{ErrorCode::internal, "internal"},
};

ErrorCode code_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENODEV:
    case ESRCH:
      return ErrorCode::not_found;
    case EEXIST:
      return ErrorCode::exists;
    case EPERM:
    case EACCES:
      return ErrorCode::denied;
    case EOPNOTSUPP:
    case ENOSYS:
      return ErrorCode::unsupported;
    case EAGAIN:
    case EBUSY:
      return ErrorCode::unavailable;
    case ENOSPC:
    case E2BIG:
    case ENOMEM:
      return ErrorCode::exhausted;
    default:
      return ErrorCode::io;
  }
}

}  // namespace

std::string_view to_string(ErrorCode code) {
  for (const auto& name : names)
    if (name.code == code) return name.word;
  return "internal";
}

ErrorCode error_code_from(std::string_view word) {
  for (const auto& name : names)
    if (name.word == word) return name.code;
  return ErrorCode::internal;
}

Error Error::in(std::string_view context) const { return Error{code, std::string(context) + ": " + message, hint}; }

Error errno_error(std::string_view what, int error_number) {
  return Error{code_of(error_number), std::string(what) + ": " + std::strerror(error_number), {}};
}

}  // namespace weft
