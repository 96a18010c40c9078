#include "agent/key_change.h"

#include <fmt/format.h>

#include <algorithm>

namespace weft::agent {

KeyWaitReason why_waiting(const KeyWait& wait) {
  const auto there = std::ranges::find(wait.offered.keys, wait.newest, &control::OfferedKey::generation);
  const bool has_key = there != wait.offered.keys.end();
  if (!wait.alive)
    return {fmt::format("node {} is away", wait.node),
            fmt::format("the change goes on when it is back; if it is gone for good: weft node delete {}", wait.node)};
  if (!has_key)
    return {fmt::format("node {} has no key of generation {} yet", wait.node, wait.newest),
            "see there whether its device is ready and it is joined to the cluster: weft encryption status, weft "
            "status, weftd's log"};
  if (wait.sends_by != wait.newest)
    return {fmt::format("node {} makes no handshake by its key of generation {}, at {}", wait.node, wait.newest,
                        wait.address.empty() ? fmt::format("UDP port {}", there->port) : wait.address),
            fmt::format("let UDP port {} (WireGuard) pass between the nodes, as the port of the earlier key does",
                        there->port)};
  return {fmt::format("node {} has this node's key of generation {}, but still needs an earlier one for others",
                      wait.node, wait.newest),
          "weft encryption status there says for whom"};
}

void Keyless::take(const std::set<std::string>& nodes, Time now) {
  std::erase_if(since_, [&](const auto& entry) { return !nodes.contains(entry.first); });
  for (const auto& node : nodes) since_.try_emplace(node, now);
}

bool Keyless::lasts(const std::string& node, Time now) const {
  const auto since = since_.find(node);
  return since != since_.end() && now - since->second >= patience;
}

}  // namespace weft::agent
