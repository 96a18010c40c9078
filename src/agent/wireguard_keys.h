// The node's own keys, in <state_dir>/wireguard.json, which nobody else may read. They are on the disk before anybody
// hears of them.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"
#include "control/encryption/encryption.h"
#include "wireguard/key.h"

namespace weft::agent {

struct WireGuardKeys {
  struct Pair {
    wireguard::Key secret;
    wireguard::Key shown;
    std::int64_t made = 0;  // seconds since 1970
    bool operator==(const Pair&) const = default;
  };
  std::map<control::Generation, Pair> pairs;
  control::Generation settled = 0;  // as the others were told
  bool operator==(const WireGuardKeys&) const = default;
};

// No file: no keys. One that is damaged is an error: other keys would be others' for a stranger's.
Result<WireGuardKeys> load_wireguard_keys(const std::string& path);
Result<void> save_wireguard_keys(const std::string& path, const WireGuardKeys& keys);
Result<WireGuardKeys::Pair> make_wireguard_pair();

}  // namespace weft::agent
