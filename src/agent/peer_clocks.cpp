#include "agent/peer_clocks.h"

namespace weft::agent {

void PeerClocks::heard(const std::string& node, std::uint64_t written, std::chrono::system_clock::time_point now,
                       bool news) {
  auto& known = nodes_[node];
  if (known.written == written) return;  // something else of it has changed
  known.written = written;
  known.difference = {};
  if (written == 0) return;
  const auto there = std::chrono::seconds(static_cast<std::int64_t>(written));
  const auto here = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch());
  if (there - here > ahead || (news && here - there > behind)) known.difference = there - here;
}

void PeerClocks::gone(const std::string& node) { nodes_.erase(node); }

std::chrono::seconds PeerClocks::difference(const std::string& node) const {
  const auto found = nodes_.find(node);
  return found == nodes_.end() ? std::chrono::seconds{0} : found->second.difference;
}

}  // namespace weft::agent
