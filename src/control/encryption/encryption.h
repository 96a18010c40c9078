// Keys of the nodes of a cluster, and how they are changed under traffic. Pure.
//
// Keys have generations. A node holds the key of one, while keys change those of two that follow each other, each on a
// device of its own; so what another node sends by either arrives. Whoever sees a key of the next generation makes one
// too; who was away while keys changed goes where most are. To a node that has a session of the later generation is
// sent by that one; when it is so for every node that is known, this node has settled; when all have, the earlier key
// goes. Nobody has to do anything at the same time as anybody else.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace weft::control {

using Generation = std::uint32_t;  // from 1
constexpr Generation last_generation = 0x7fffffff;

struct OfferedKey {
  Generation generation = 0;
  std::string public_key;
  std::uint16_t port = 0;
  auto operator<=>(const OfferedKey&) const = default;
};

// What another node says of itself.
struct OfferedKeys {
  std::vector<OfferedKey> keys;  // none: it does not encrypt
  Generation settled = 0;        // it sends by this one, or a later one, to everybody
  auto operator<=>(const OfferedKeys&) const = default;
};

// Who has answered: generation of the device here, public key of the node there.
using Sessions = std::set<std::pair<Generation, std::string>>;

struct KeyPlan {
  // Keys to hold, at most two; those that are not held yet have to be made, the others go.
  std::set<Generation> hold;
  std::map<std::string, OfferedKey> send;  // by node; absent: there is no key that both have a counterpart of
  Generation settled = 0;
  std::set<std::string> waits_for;  // nodes that keep an earlier key from going
};

// What this node has, and has said to the others.
struct OwnKeys {
  std::set<Generation> held;  // none at the first start
  Generation settled = 0;     // sessions may be lost, but nothing is sent by an earlier key any more
};

// `rotate`: begin the next generation, unless the last one is still under way. `others`: all that are known.
KeyPlan plan_keys(const OwnKeys& own, const std::map<std::string, OfferedKeys>& others, const Sessions& sessions,
                  bool rotate);

}  // namespace weft::control
