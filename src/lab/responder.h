// The built-in answers of a lab's pods: whoever reaches a declared port is told the pod's name.
// One loop serves all pods, because a socket stays in the namespace it was opened in.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace asio {
class io_context;
}

namespace weft::lab {

struct ResponderPort {
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;  // tcp, udp or sctp
  bool http = false;
  auto operator<=>(const ResponderPort&) const = default;
};

// Named http, or 80 or 8080.
bool speaks_http(std::string_view port_name, std::uint16_t port, Protocol protocol);

struct ListeningPort {
  ResponderPort port;
  std::string error;  // empty: it listens
};

// TCP and SCTP: the name and a newline on accept, then everything received goes back. UDP: the name
// and a newline for each datagram, from the address it was sent to. HTTP: 200 with the name as body.
// Used from the loop's thread only; `loop` must outlive it.
class Responders {
 public:
  explicit Responders(asio::io_context& loop);
  ~Responders();
  Responders(const Responders&) = delete;
  Responders& operator=(const Responders&) = delete;

  // Replaces what `key` had. A port that cannot be opened does not stop the others.
  std::vector<ListeningPort> open(const std::string& key, int netns, const std::string& name,
                                  const std::vector<ResponderPort>& ports);
  // Closes listeners and connections.
  void close(const std::string& key);

 private:
  class Group;
  asio::io_context& loop_;
  std::map<std::string, std::shared_ptr<Group>> groups_;
};

}  // namespace weft::lab
