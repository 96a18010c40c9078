// Listens to the neighbours on the devices where addresses are claimed. On the agent's loop.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "agent/l2.h"
#include "sys/neighbour_socket.h"

namespace weft::agent {

class L2Listener {
 public:
  using Said = std::function<void(std::uint32_t ifindex, const Heard& heard)>;
  L2Listener(asio::io_context& loop, Said said) : loop_(loop), said_(std::move(said)) {}

  // Listens on the devices of these rows and on no other.
  void want(const L2Announcer::Rows& rows);
  // By device, why it cannot be listened to: conflicts there go unnoticed.
  [[nodiscard]] const std::map<std::uint32_t, std::string>& errors() const { return errors_; }

 private:
  struct Ear {
    Ear(asio::io_context& loop, sys::NeighbourSocket opened);
    sys::NeighbourSocket socket;
    asio::posix::stream_descriptor descriptor;
    std::set<MacAddress> groups;
  };
  void open(std::uint32_t ifindex);
  void join(std::uint32_t ifindex, Ear& ear, const std::set<MacAddress>& groups);
  void listen(std::uint32_t ifindex, const std::shared_ptr<Ear>& ear);
  void hear(std::uint32_t ifindex, const Ear& ear);

  asio::io_context& loop_;
  Said said_;
  std::map<std::uint32_t, std::shared_ptr<Ear>> ears_;
  std::map<std::uint32_t, std::string> errors_;
};

}  // namespace weft::agent
