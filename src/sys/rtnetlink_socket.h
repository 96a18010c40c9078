// One NETLINK_ROUTE socket: builds a request, sends it, waits for its answer. Private to this room.
// A socket stays in the network namespace it was opened in, whatever its thread does later.
#pragma once

#include <libmnl/libmnl.h>
#include <linux/netlink.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"

namespace weft::sys {

// A request under construction. The requests of this room are far below its capacity; libmnl's
// checked puts turn an overflow into `overflowed()` rather than a write past the end.
class Request {
 public:
  Request(std::uint16_t type, std::uint16_t flags);

  // The family header (ifinfomsg, ifaddrmsg, ...), zeroed; valid as long as the request.
  template <class Header>
  Header& header() {
    return *static_cast<Header*>(mnl_nlmsg_put_extra_header(message(), sizeof(Header)));
  }
  Request& put(std::uint16_t type, const void* data, std::size_t size);
  Request& put_u8(std::uint16_t type, std::uint8_t value) { return put(type, &value, sizeof value); }
  Request& put_u32(std::uint16_t type, std::uint32_t value) { return put(type, &value, sizeof value); }
  Request& put_text(std::uint16_t type, const std::string& value) { return put(type, value.c_str(), value.size() + 1); }
  Request& put_ip(std::uint16_t type, const IpAddress& address);  // 4 or 16 bytes
  Request& put_mac(std::uint16_t type, const MacAddress& mac) { return put(type, mac.bytes.data(), mac.bytes.size()); }
  [[nodiscard]] nlattr* nest(std::uint16_t type);
  void end_nest(nlattr* start) { mnl_attr_nest_end(message(), start); }

  [[nodiscard]] nlmsghdr* message() { return static_cast<nlmsghdr*>(static_cast<void*>(buffer_.data())); }
  [[nodiscard]] bool overflowed() const { return overflowed_; }

 private:
  alignas(nlmsghdr) std::array<char, 2048> buffer_{};
  bool overflowed_ = false;
};

// What the kernel answered: an errno (0 is success) and the extended acknowledgement's text.
struct Outcome {
  int error = 0;
  std::string detail;

  // Error "<what>: <strerror>[ (<kernel's words>)]".
  [[nodiscard]] Error describe(const std::string& what) const;
};

class RtnetlinkSocket {
 public:
  using Visit = std::function<void(const nlmsghdr*)>;

  static Result<RtnetlinkSocket> open();
  // Sends a request that carries NLM_F_ACK or NLM_F_DUMP and hands every answer but the closing one to `visit`.
  // A dump that the kernel reports as interrupted ends with EINTR: its rows may be inconsistent.
  Outcome transact(Request& request, const Visit& visit = {});

 private:
  struct Closer {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
  };
  explicit RtnetlinkSocket(mnl_socket* socket) : socket_(socket) {}

  std::unique_ptr<mnl_socket, Closer> socket_;
  std::vector<char> buffer_ = std::vector<char>(32 * 1024);  // the kernel's own largest dump chunk
  std::uint32_t sequence_ = 0;
};

// Attributes of a message by type, null where absent; types above the table are ignored.
template <std::size_t Count>
class Attributes {
 public:
  Attributes(const nlmsghdr* message, std::size_t header_size) {
    mnl_attr_parse(message, static_cast<unsigned>(header_size), &Attributes::store, this);
  }
  Attributes(const std::uint8_t* payload, std::size_t size) {
    mnl_attr_parse_payload(payload, size, &Attributes::store, this);
  }
  explicit Attributes(const nlattr* nest) {
    if (nest != nullptr) mnl_attr_parse_nested(nest, &Attributes::store, this);
  }
  [[nodiscard]] const nlattr* operator[](std::size_t type) const { return type < Count ? table_[type] : nullptr; }
  [[nodiscard]] std::uint32_t u32(std::size_t type, std::uint32_t otherwise = 0) const {
    const nlattr* attribute = (*this)[type];
    if (attribute == nullptr || mnl_attr_get_payload_len(attribute) < sizeof(std::uint32_t)) return otherwise;
    return mnl_attr_get_u32(attribute);
  }
  [[nodiscard]] std::uint8_t u8(std::size_t type) const {
    const nlattr* attribute = (*this)[type];
    return attribute == nullptr || mnl_attr_get_payload_len(attribute) < 1 ? 0 : mnl_attr_get_u8(attribute);
  }
  [[nodiscard]] std::string text(std::size_t type) const {
    const nlattr* attribute = (*this)[type];
    if (attribute == nullptr) return {};
    std::string value(static_cast<const char*>(mnl_attr_get_payload(attribute)), mnl_attr_get_payload_len(attribute));
    return value.substr(0, value.find('\0'));
  }

 private:
  static int store(const nlattr* attribute, void* self) {
    auto& table = static_cast<Attributes*>(self)->table_;
    if (const auto type = mnl_attr_get_type(attribute); type < Count) table[type] = attribute;
    return MNL_CB_OK;
  }
  std::array<const nlattr*, Count> table_{};
};

}  // namespace weft::sys
