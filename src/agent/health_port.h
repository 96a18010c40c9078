// healthCheckNodePort: tells load balancers outside, on a port of the node, whether a Service has endpoints
// here. As kube-proxy answers it: 200 or 503, and JSON that says why.
#pragma once

#include <asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "control/services/services.h"

namespace weft::agent {

class HealthPorts {
 public:
  using Wanted = std::map<std::uint16_t, control::ServiceCompiler::HealthPort>;
  struct Options {
    std::size_t connections = 64;  // of one port at a time; beyond, the oldest is closed
    std::chrono::milliseconds timeout{5000};
  };
  // `proxy_healthy`: whether the datapath is up to date.
  HealthPorts(asio::io_context& loop, std::function<bool()> proxy_healthy, Options options);
  ~HealthPorts();
  HealthPorts(const HealthPorts&) = delete;
  HealthPorts& operator=(const HealthPorts&) = delete;

  // Opens and closes ports, on all of the node's addresses of both families, and tries again those that could
  // not be opened.
  void want(const Wanted& ports);
  // Ports that are wanted and not open: "healthCheckNodePort 32000 of Service a/b: ...".
  [[nodiscard]] std::vector<std::string> problems() const;
  [[nodiscard]] bool settled() const { return failed_.empty(); }

 private:
  class Listener;
  class Session;
  void open(std::uint16_t port, const control::ServiceCompiler::HealthPort& answer);

  asio::io_context& loop_;
  std::function<bool()> proxy_healthy_;
  Options options_;
  std::map<std::uint16_t, std::shared_ptr<Listener>> listeners_;  // shared with the handlers of their sockets
  std::map<std::uint16_t, std::string> failed_;
};

}  // namespace weft::agent
