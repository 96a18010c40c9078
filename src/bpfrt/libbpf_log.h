// libbpf's messages, kept from stderr and put into errors. Private to this room.
#pragma once

#include <string>

#include "base/result.h"

namespace weft::bpfrt {

// While it lives, libbpf's warnings of this thread are collected here instead of being dropped.
// From the first one on, libbpf writes nothing to stderr in the whole process.
class LibbpfLog {
 public:
  LibbpfLog();
  ~LibbpfLog();
  LibbpfLog(const LibbpfLog&) = delete;
  LibbpfLog& operator=(const LibbpfLog&) = delete;

  // errno_error() with the collected text, its end if it is long, on the following lines.
  [[nodiscard]] Error error(const std::string& what, int error_number) const;

 private:
  std::string text_;
  std::string* outer_;
};

}  // namespace weft::bpfrt
