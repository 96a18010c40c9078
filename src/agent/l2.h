// Tells the neighbours of a device, unasked, that an address of a Service is here now: gratuitous ARP and
// unsolicited neighbour advertisements. Answers to their questions are the datapath's.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "datapath/rows.h"

namespace weft::agent {

// The frame. IPv4: an ARP announcement (RFC 5227); IPv6: an unsolicited advertisement to all nodes with the override
// flag (RFC 4861, 7.2.6).
std::vector<std::uint8_t> announcement_frame(const IpAddress& address, const MacAddress& mac);

class L2Announcer {
 public:
  using Announced = datapath::Rows<weft_l2_key, weft_l2>;
  using Send = std::function<Result<void>(std::uint32_t ifindex, std::span<const std::uint8_t> frame)>;
  // Three times, `interval` apart, the first one at once.
  L2Announcer(asio::io_context& loop, Send send, std::chrono::milliseconds interval = std::chrono::seconds(1));

  // Rows that were not in the last call, or whose device has another MAC address now, are announced.
  void want(const Announced& rows);
  [[nodiscard]] const Announced& announced() const { return rows_; }
  // Of the last frame that could not be sent; empty: all were.
  [[nodiscard]] const std::string& last_error() const { return last_error_; }

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Due {
    weft_l2_key key{};
    weft_l2 row{};
    unsigned left = 0;
  };
  void send_due();
  void arm();

  Send send_;
  std::chrono::milliseconds interval_;
  asio::steady_timer timer_;
  Announced rows_;
  std::multimap<Time, Due> due_;
  std::string last_error_;
  std::shared_ptr<L2Announcer*> alive_;
};

}  // namespace weft::agent
