#include "agent/l2_listener.h"

#include <unistd.h>

#include <array>

namespace weft::agent {
namespace {

// Of one readiness, so that a storm of ARP leaves the agent its other work.
constexpr unsigned frames_at_once = 64;

}  // namespace

L2Listener::Ear::Ear(asio::io_context& loop, sys::NeighbourSocket opened)
    : socket(std::move(opened)), descriptor(loop, ::dup(socket.fd())) {}

void L2Listener::want(const L2Announcer::Rows& rows) {
  std::map<std::uint32_t, std::set<MacAddress>> groups;
  for (const auto& [key, row] : rows) {
    auto& of_device = groups[key.ifindex];
    const auto address = datapath::from_abi(key.addr);
    if (address.is_v6()) of_device.insert(solicited_group(address));
  }
  errors_.clear();
  std::erase_if(ears_, [&](const auto& entry) { return !groups.contains(entry.first); });
  for (const auto& [ifindex, wanted] : groups) {
    if (!ears_.contains(ifindex)) open(ifindex);
    if (const auto found = ears_.find(ifindex); found != ears_.end()) join(ifindex, *found->second, wanted);
  }
}

void L2Listener::open(std::uint32_t ifindex) {
  auto socket = sys::NeighbourSocket::open(ifindex);
  if (!socket) {
    errors_[ifindex] = socket.error().message;
    return;
  }
  const auto ear = std::make_shared<Ear>(loop_, std::move(*socket));
  ears_.emplace(ifindex, ear);
  listen(ifindex, ear);
}

// A device that filters groups in hardware takes in the questions for these addresses only when told to.
void L2Listener::join(std::uint32_t ifindex, Ear& ear, const std::set<MacAddress>& groups) {
  const auto note = [&](const Result<void>& done) {
    if (!done) errors_[ifindex] = done.error().message;
  };
  for (const auto& group : ear.groups)
    if (!groups.contains(group)) note(ear.socket.join(group, false));
  for (const auto& group : groups)
    if (!ear.groups.contains(group)) note(ear.socket.join(group, true));
  ear.groups = groups;
}

void L2Listener::listen(std::uint32_t ifindex, const std::shared_ptr<Ear>& ear) {
  ear->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                             [this, ifindex, weak = std::weak_ptr(ear)](const std::error_code& error) {
                               const auto still = weak.lock();
                               if (!still || error) return;
                               hear(ifindex, *still);
                               listen(ifindex, still);
                             });
}

void L2Listener::hear(std::uint32_t ifindex, const Ear& ear) {
  std::array<std::uint8_t, 256> buffer{};
  for (unsigned i = 0; i < frames_at_once; ++i) {
    const auto frame = ear.socket.receive(buffer);
    if (!frame || frame->empty()) return;
    if (const auto said = heard(*frame)) said_(ifindex, *said);
  }
}

}  // namespace weft::agent
