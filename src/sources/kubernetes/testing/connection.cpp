#include "sources/kubernetes/testing/connection.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>

namespace weft::kubernetes::testing {
namespace {

std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      plain += static_cast<char>(std::strtol(std::string(text.substr(i + 1, 2)).c_str(), nullptr, 16));
      i += 2;
    } else {
      plain += text[i] == '+' ? ' ' : text[i];
    }
  }
  return plain;
}

void read_query(std::string_view text, std::map<std::string, std::string>& query) {
  while (!text.empty()) {
    const auto end = std::min(text.find('&'), text.size());
    const auto pair = text.substr(0, end);
    const auto equal = pair.find('=');
    query[unescape(pair.substr(0, equal))] = equal == std::string_view::npos ? "" : unescape(pair.substr(equal + 1));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::string_view reason_phrase(int status) { return status < 300 ? "OK" : "Error"; }

}  // namespace

std::string HttpRequest::query_value(const std::string& name) const {
  const auto found = query.find(name);
  return found == query.end() ? std::string() : found->second;
}

std::string HttpRequest::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

void read_target(std::string_view target, HttpRequest& request) {
  const auto question = target.find('?');
  request.path = unescape(target.substr(0, question));
  if (question != std::string_view::npos) read_query(target.substr(question + 1), request.query);
}

Connection::Connection(Fd fd, SSL_CTX* tls) : fd_(std::move(fd)) {
  if (tls == nullptr) return;
  ssl_ = SSL_new(tls);
  SSL_set_fd(ssl_, fd_.get());
  if (SSL_accept(ssl_) == 1) return;
  ERR_clear_error();
  interrupt();
}

Connection::~Connection() { SSL_free(ssl_); }

bool Connection::fill() {
  std::array<char, 16384> bytes{};
  const long count =
      ssl_ != nullptr ? SSL_read(ssl_, bytes.data(), bytes.size()) : ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
  ERR_clear_error();
  if (count <= 0) return false;
  buffer_.append(bytes.data(), static_cast<std::size_t>(count));
  return true;
}

std::optional<HttpRequest> Connection::read() {
  std::size_t head = std::string::npos;
  while ((head = buffer_.find("\r\n\r\n")) == std::string::npos)
    if (buffer_.size() > 65536 || !fill()) return std::nullopt;
  HttpRequest request;
  std::string_view text = std::string_view(buffer_).substr(0, head + 2);
  const auto first = text.substr(0, text.find("\r\n"));
  const auto space = first.find(' ');
  const auto second = first.find(' ', space + 1);
  if (space == std::string_view::npos || second == std::string_view::npos) return std::nullopt;
  request.method = first.substr(0, space);
  const auto target = first.substr(space + 1, second - space - 1);
  read_target(target, request);
  text.remove_prefix(first.size() + 2);
  while (!text.empty()) {
    const auto line = text.substr(0, text.find("\r\n"));
    text.remove_prefix(line.size() + 2);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    std::string name(line.substr(0, colon));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    request.headers[name] = line.substr(std::min(line.find_first_not_of(' ', colon + 1), line.size()));
  }
  buffer_.erase(0, head + 4);
  const auto length = static_cast<std::size_t>(std::atoll(request.header("content-length").c_str()));
  while (buffer_.size() < length)
    if (!fill()) return std::nullopt;
  request.body = buffer_.substr(0, length);
  buffer_.erase(0, length);
  return request;
}

bool Connection::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto part = std::min<std::size_t>(bytes.size(), 1UL << 20);
    const long count = ssl_ != nullptr ? SSL_write(ssl_, bytes.data(), static_cast<int>(part))
                                       : ::send(fd_.get(), bytes.data(), part, MSG_NOSIGNAL);
    ERR_clear_error();
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

bool Connection::answer(int status, std::string_view body, const std::string& more_headers) {
  return write(fmt::format("HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n", status,
                           reason_phrase(status), body.size(), more_headers)) &&
         write(body);
}

bool Connection::begin_stream() {
  return write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
}

bool Connection::chunk(std::string_view bytes) {
  return bytes.empty() || write(fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes));
}

bool Connection::end_stream() { return write("0\r\n\r\n"); }

bool Connection::gone() const {
  pollfd wanted{.fd = fd_.get(), .events = POLLRDHUP, .revents = 0};
  return ::poll(&wanted, 1, 0) > 0;
}

void Connection::interrupt() const { ::shutdown(fd_.get(), SHUT_RDWR); }

void Connection::reset() {
  const linger none{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
  fd_.reset();
}

}  // namespace weft::kubernetes::testing
