// What a call answers: JSON, or an error that may carry details ("problems": [...]) beside its text.
#pragma once

#include <expected>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/result.h"

namespace weft::api {

struct ApiError {
  Error error;
  nlohmann::json details;  // an object whose members stand beside code and message, or null

  ApiError() = default;
  // Implicit both ways, so that handlers may return plain fail(...) and callers may use WEFT_TRY.
  ApiError(Error plain) : error(std::move(plain)) {}
  ApiError(Error plain, nlohmann::json extra) : error(std::move(plain)), details(std::move(extra)) {}
  operator Error() const { return error; }
};

class [[nodiscard]] Answer : public std::expected<nlohmann::json, ApiError> {
 public:
  using Base = std::expected<nlohmann::json, ApiError>;
  Answer(nlohmann::json value) : Base(std::move(value)) {}
  Answer(std::unexpected<ApiError> error) : Base(std::move(error)) {}
  Answer(std::unexpected<Error> error) : Base(std::unexpected(ApiError(std::move(error.error())))) {}
  Answer(Result<nlohmann::json> result) : Base(nlohmann::json()) {
    if (result)
      **this = std::move(*result);
    else
      *this = Answer(std::unexpected(std::move(result.error())));
  }
};

// {"code","message","hint",...details}; the inverse takes anything and never fails; its details are an object.
nlohmann::json error_to_json(const ApiError& error);
ApiError error_from_json(const nlohmann::json& object);

}  // namespace weft::api

namespace weft {
// Found by WEFT_TRY, so that details survive from one Answer to the next.
inline std::unexpected<api::ApiError> fail(api::ApiError error) { return std::unexpected(std::move(error)); }
}  // namespace weft
