// The number of a backend (address, port, protocol): the same for as long as something uses it, and
// over restarts through the texts that are kept.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>

#include "base/ip.h"

namespace weft::control {

using BackendTexts = std::map<std::string, std::uint32_t>;  // "10.0.0.1:80/TCP" -> number

class BackendNumbers {
 public:
  // Texts that do not parse are left out; `forget_unused` removes them.
  explicit BackendNumbers(const BackendTexts& restored);

  // The number of this backend, kept in `texts` when it is new, and marked as used.
  std::uint32_t use(const IpAddress& address, std::uint16_t port, Protocol protocol, BackendTexts& texts);
  void begin_round();
  // Drops, here and from `texts`, what was not used since the round began.
  void forget_unused(BackendTexts& texts);
  // Numbers up to this one may still be in a kernel map: new ones start above.
  void reserve_up_to(std::uint32_t number);

 private:
  struct Key {
    IpAddress address;
    std::uint16_t port = 0;
    Protocol protocol = Protocol::tcp;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept;
  };
  struct Entry {
    std::uint32_t number = 0;
    std::uint64_t used_in = 0;  // round
  };
  static std::string text_of(const Key& key);

  std::unordered_map<Key, Entry, Hash> entries_;
  std::unordered_map<std::uint32_t, Key> by_number_;
  std::uint32_t next_ = 1;
  std::uint64_t round_ = 1;
};

}  // namespace weft::control
