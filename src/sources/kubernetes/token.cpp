#include "sources/kubernetes/token.h"

#include <chrono>

#include "sys/system.h"

namespace weft::kubernetes {
namespace {

constexpr auto read_again = std::chrono::minutes(1);

}  // namespace

void Token::read(Time now) {
  read_at_ = now;
  auto text = sys::read_file(file_);
  if (!text) {
    problem_ = text.error().text();
    return;
  }
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r' || text->back() == ' ')) text->pop_back();
  // It becomes a header: a line break would begin another.
  if (text->empty() || text->find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
    problem_ = file_ + ": this is no token";
    return;
  }
  problem_.clear();
  text_ = std::move(*text);
}

const std::string& Token::current(Time now) {
  if (!file_.empty() && (!read_at_ || now - *read_at_ >= read_again)) read(now);
  return text_;
}

bool Token::refused(const std::string& used, Time now) {
  if (file_.empty()) return false;
  if (text_ == used) read(now);
  return text_ != used;
}

}  // namespace weft::kubernetes
