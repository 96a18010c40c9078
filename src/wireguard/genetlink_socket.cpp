#include <libmnl/libmnl.h>
#include <sys/time.h>

#include <cerrno>
#include <vector>

#include "wireguard/genetlink.h"

namespace weft::wireguard {
namespace {

class Socket : public Transport {
 public:
  explicit Socket(mnl_socket* socket) : socket_(socket) {}

  Result<void> transact(Message& message, const Visit& visit) override {
    auto* header = reinterpret_cast<nlmsghdr*>(message.data());
    header->nlmsg_seq = ++sequence_;
    if (mnl_socket_sendto(socket_.get(), header, header->nlmsg_len) < 0)
      return fail(errno_error("ask the kernel's WireGuard", errno));
    for (;;) {
      const auto got = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail(errno_error("an answer of the kernel's WireGuard", errno));
      int left = static_cast<int>(got);
      const auto* answer = reinterpret_cast<const nlmsghdr*>(buffer_.data());
      for (; mnl_nlmsg_ok(answer, left); answer = mnl_nlmsg_next(answer, &left)) {
        if (answer->nlmsg_seq != sequence_) continue;  // left over from a request given up before
        if (answer->nlmsg_type == NLMSG_DONE) return {};
        if (answer->nlmsg_type == NLMSG_ERROR) {
          const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(answer));
          if (error->error == 0) return {};
          return fail(errno_error("the kernel's WireGuard", -error->error));
        }
        WEFT_CHECK(visit(answer));
      }
    }
  }

 private:
  struct Closer {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
  };
  std::unique_ptr<mnl_socket, Closer> socket_;
  std::vector<char> buffer_ = std::vector<char>(64 * 1024);
  std::uint32_t sequence_ = 0;
};

}  // namespace

Result<std::unique_ptr<Transport>> open_transport() {
  auto* raw = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
  if (raw == nullptr) return fail(errno_error("open a socket of generic netlink", errno));
  std::unique_ptr<Transport> transport = std::make_unique<Socket>(raw);
  if (mnl_socket_bind(raw, 0, MNL_SOCKET_AUTOPID) < 0)
    return fail(errno_error("bind a socket of generic netlink", errno));
  return transport;
}

}  // namespace weft::wireguard
