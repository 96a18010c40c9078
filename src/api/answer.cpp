#include "api/answer.h"

namespace weft::api {
namespace {

std::string text_member(const nlohmann::json& object, const char* name) {
  auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

nlohmann::json error_to_json(const ApiError& error) {
  nlohmann::json object = error.details.is_object() ? error.details : nlohmann::json::object();
  object["code"] = to_string(error.error.code);
  object["message"] = error.error.message;
  if (!error.error.hint.empty()) object["hint"] = error.error.hint;
  return object;
}

ApiError error_from_json(const nlohmann::json& object) {
  if (!object.is_object())
    return {Error{ErrorCode::internal, "the agent answered an error that is not an object", {}},
            nlohmann::json::object()};
  ApiError result(
      Error{error_code_from(text_member(object, "code")), text_member(object, "message"), text_member(object, "hint")});
  result.details = nlohmann::json::object();
  for (const auto& [name, value] : object.items())
    if (name != "code" && name != "message" && name != "hint") result.details[name] = value;
  return result;
}

}  // namespace weft::api
