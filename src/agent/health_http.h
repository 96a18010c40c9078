// As much of HTTP/1 as health checks need, in both roles: the head of a message, read strictly and in
// bounded memory from whatever the other side sends.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace weft::agent {

enum class HttpProgress { more, done, malformed };

// Takes the head of a message apart into lines. One LF or CRLF ends a line (RFC 9112, 2.2).
class HttpHead {
 public:
  static constexpr std::size_t max_bytes = 8192;

  virtual ~HttpHead() = default;
  // More of the message. Once it is `done` or `malformed` it stays so, and bytes are ignored.
  HttpProgress feed(std::string_view bytes);
  [[nodiscard]] HttpProgress progress() const { return progress_; }
  [[nodiscard]] const std::string& problem() const { return problem_; }  // of a malformed one

 protected:
  // Of the first line; false refuses it, and `problem` says why.
  virtual bool start_line(std::string_view line, std::string& problem) = 0;
  // After the empty line: whether this was the message that counts, or another head follows.
  virtual bool finished() { return true; }

 private:
  void line(std::string_view text);
  void refuse(std::string problem);

  HttpProgress progress_ = HttpProgress::more;
  std::string line_;
  std::string problem_;
  std::size_t read_ = 0;
  bool started_ = false;
};

class HttpResponseHead final : public HttpHead {
 public:
  // Of the final response; interim ones (100 Continue) are passed over.
  [[nodiscard]] int status() const { return status_; }

 private:
  bool start_line(std::string_view line, std::string& problem) override;
  bool finished() override { return status_ >= 200 || status_ == 101; }
  int status_ = 0;
};

class HttpRequestHead final : public HttpHead {
 public:
  [[nodiscard]] const std::string& method() const { return method_; }

 private:
  bool start_line(std::string_view line, std::string& problem) override;
  std::string method_;
};

}  // namespace weft::agent
