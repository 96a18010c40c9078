// One HTTP/1.1 connection of the API server of tests, plain or TLS, blocking: each has a thread.
#pragma once

#include <openssl/ssl.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace weft::kubernetes::testing {

struct HttpRequest {
  std::string method;
  std::string path;                            // "/api/v1/pods"
  std::map<std::string, std::string> query;    // unescaped
  std::map<std::string, std::string> headers;  // names in small letters
  std::string body;
  [[nodiscard]] std::string query_value(const std::string& name) const;
  [[nodiscard]] std::string header(const std::string& name) const;
};

// Path and query of a request's target, apart.
void read_target(std::string_view target, HttpRequest& request);

class Connection {
 public:
  // `tls` may be null.
  Connection(Fd fd, SSL_CTX* tls);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Nothing once the peer has closed, or says what is no HTTP.
  std::optional<HttpRequest> read();
  // False once nobody reads any more.
  bool write(std::string_view bytes);
  bool answer(int status, std::string_view body, const std::string& more_headers = {});
  bool begin_stream();
  bool chunk(std::string_view bytes);
  bool end_stream();
  // The peer has gone.
  [[nodiscard]] bool gone() const;
  // Ends whatever a thread does with it; from any thread.
  void interrupt() const;
  // At once and without a farewell: the peer sees a reset.
  void reset();

 private:
  bool fill();

  Fd fd_;
  SSL* ssl_ = nullptr;
  std::string buffer_;
};

}  // namespace weft::kubernetes::testing
