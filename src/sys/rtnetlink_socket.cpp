#include "sys/rtnetlink_socket.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace weft::sys {
namespace {

constexpr std::size_t max_detail = 256;

// The text of an extended acknowledgement (NETLINK_EXT_ACK); empty when the kernel said nothing.
std::string acknowledgement_text(const nlmsghdr* message) {
  if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
  const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
  std::size_t header = sizeof(nlmsgerr);
  if ((message->nlmsg_flags & NLM_F_CAPPED) == 0) header += error->msg.nlmsg_len - sizeof(nlmsghdr);
  if (mnl_nlmsg_get_payload_len(message) < header) return {};
  return Attributes<NLMSGERR_ATTR_MSG + 1>(message, header).text(NLMSGERR_ATTR_MSG).substr(0, max_detail);
}

}  // namespace

Request::Request(std::uint16_t type, std::uint16_t flags) {
  nlmsghdr* header = mnl_nlmsg_put_header(buffer_.data());
  header->nlmsg_type = type;
  header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
}

Request& Request::put(std::uint16_t type, const void* data, std::size_t size) {
  overflowed_ |= !mnl_attr_put_check(message(), buffer_.size(), type, size, data);
  return *this;
}

Request& Request::put_ip(std::uint16_t type, const IpAddress& address) {
  const auto& bytes = address.bytes();
  return address.is_v4() ? put(type, bytes.data() + 12, 4) : put(type, bytes.data(), bytes.size());
}

nlattr* Request::nest(std::uint16_t type) { return mnl_attr_nest_start(message(), type); }

Error Outcome::describe(const std::string& what) const {
  Error described = errno_error(what, error);
  if (!detail.empty()) described.message += " (" + detail + ")";
  if (described.code == ErrorCode::denied) described.hint = "CAP_NET_ADMIN is needed in this network namespace";
  return described;
}

Result<RtnetlinkSocket> RtnetlinkSocket::open() {
  RtnetlinkSocket socket(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC));
  if (socket.socket_ == nullptr) return fail(errno_error("open a rtnetlink socket", errno));
  // All three exist since Linux 4.20. Without them errors lose their words and dumps their filters.
  for (const int option : {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK}) {
    int on = 1;
    if (mnl_socket_setsockopt(socket.socket_.get(), option, &on, sizeof on) < 0)
      return fail(errno_error("set rtnetlink socket option " + std::to_string(option), errno));
  }
  if (mnl_socket_bind(socket.socket_.get(), 0, MNL_SOCKET_AUTOPID) < 0)
    return fail(errno_error("bind a rtnetlink socket", errno));
  return socket;
}

Outcome RtnetlinkSocket::transact(Request& request, const Visit& visit) {
  if (request.overflowed()) return {EMSGSIZE, "the request does not fit its buffer"};
  nlmsghdr* sent = request.message();
  sent->nlmsg_seq = ++sequence_;
  if (mnl_socket_sendto(socket_.get(), sent, sent->nlmsg_len) < 0) return {errno, {}};

  bool interrupted = false;
  for (;;) {
    const ssize_t received = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
    if (received < 0) {
      if (errno == EINTR) continue;
      return {errno, {}};
    }
    int left = static_cast<int>(received);
    const auto* message = static_cast<const nlmsghdr*>(static_cast<const void*>(buffer_.data()));
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_seq != sequence_) continue;  // left over from a request given up before
      interrupted |= (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (message->nlmsg_type == NLMSG_DONE) {
        int status = 0;
        if (mnl_nlmsg_get_payload_len(message) >= sizeof status)
          std::memcpy(&status, mnl_nlmsg_get_payload(message), sizeof status);
        return {interrupted && status == 0 ? EINTR : -status, {}};
      }
      if (message->nlmsg_type == NLMSG_ERROR) {
        const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
        if (error->error == 0) return {};
        return {-error->error, acknowledgement_text(message)};
      }
      if (visit) visit(message);
    }
  }
}

}  // namespace weft::sys
