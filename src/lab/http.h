// As much of HTTP/1.1 as the built-in responder needs. Pure; the input is whatever a client sends.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace weft::lab {

struct HttpRequest {
  std::string method;
  bool keep_alive = true;
  bool expects_continue = false;
  bool chunked = false;  // its body's end is not known from the head
  std::size_t content_length = 0;
};

// `head` is everything up to and with the empty line. Nothing when it is no HTTP request.
std::optional<HttpRequest> parse_http_head(std::string_view head);

// The whole response; HEAD gets no body.
std::string http_response(const HttpRequest& request, std::string_view pod_name);
std::string http_bad_request();

}  // namespace weft::lab
