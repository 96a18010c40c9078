// What a backend answers to a health check, and what anybody sends to a health check port: cut into pieces
// anywhere it must be read the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "agent/health_http.h"

namespace {

template <class Head>
void read(std::string_view bytes, std::size_t piece) {
  Head whole;
  whole.feed(bytes);
  Head pieces;
  for (std::size_t at = 0; at < bytes.size(); at += piece) pieces.feed(bytes.substr(at, piece));
  if (whole.progress() != pieces.progress() || whole.problem() != pieces.problem()) std::abort();
  if ((whole.progress() == weft::agent::HttpProgress::malformed) != !whole.problem().empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  read<weft::agent::HttpResponseHead>(bytes, std::size_t{1} + data[0] % 64);
  read<weft::agent::HttpRequestHead>(bytes, std::size_t{1} + data[0] % 64);
  weft::agent::HttpResponseHead head;
  if (head.feed(bytes) == weft::agent::HttpProgress::done && (head.status() < 100 || head.status() > 599)) std::abort();
  return 0;
}
