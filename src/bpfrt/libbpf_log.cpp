#include "bpfrt/libbpf_log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>

namespace weft::bpfrt {
namespace {

// A verifier log ends with what was wrong; its beginning is the path there.
constexpr std::size_t max_text_in_error = 16 * 1024;

thread_local std::string* sink = nullptr;

__attribute__((format(printf, 2, 0))) int collect(libbpf_print_level level, const char* format, va_list arguments) {
  if (sink == nullptr || level == LIBBPF_DEBUG) return 0;
  va_list again;
  va_copy(again, arguments);
  const int length = std::vsnprintf(nullptr, 0, format, again);
  va_end(again);
  if (length <= 0) return 0;
  const std::size_t before = sink->size();
  sink->resize(before + static_cast<std::size_t>(length) + 1);
  std::vsnprintf(sink->data() + before, static_cast<std::size_t>(length) + 1, format, arguments);
  sink->pop_back();  // the terminator
  return length;
}

}  // namespace

LibbpfLog::LibbpfLog() : outer_(sink) {
  [[maybe_unused]] static const auto installed = libbpf_set_print(collect);
  sink = &text_;
}

LibbpfLog::~LibbpfLog() { sink = outer_; }

Error LibbpfLog::error(const std::string& what, int error_number) const {
  Error error = errno_error(what, error_number);
  std::string_view text = text_;
  if (text.size() > max_text_in_error) {
    text.remove_prefix(text.size() - max_text_in_error);
    text.remove_prefix(text.find('\n') + 1);
    error.message += "\n...";
  }
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  if (!text.empty()) error.message += "\n" + std::string(text);
  return error;
}

}  // namespace weft::bpfrt
