// Lines from clients of the node API: the request decoder and the answer's way back.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "api/params.h"
#include "api/request.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weft::api;  // NOLINT
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  auto request = decode_request(line);
  if (request) {
    if (!request->params.is_object()) std::abort();
    // What was read can be printed, and reads back as the same.
    auto again = parse_json(to_line(request->params));
    if (!again || *again != request->params) std::abort();
    for (const auto& [name, value] : request->params.items()) {
      (void)required_text(request->params, name.c_str());
      (void)optional_texts(request->params, name.c_str());
      (void)optional_number(request->params, name.c_str(), 0);
      (void)optional_bool(request->params, name.c_str(), false);
    }
  } else {
    (void)to_line(error_to_json(request.error().error));
  }
  if (auto value = parse_json(line)) (void)error_from_json(*value);
  (void)nearest(line, {"status", "observe", "policy.list"});
  return 0;
}
