// The words of weft_ports_v1: how many frontends want each bit, and which words changed.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "abi/service.h"
#include "base/ip.h"

namespace weft::control::services {

class PortWords {
 public:
  // Ports of the device set that are always there; 0, 0: none.
  PortWords(std::uint16_t first, std::uint16_t last);

  void add(weft_port_set set, Protocol protocol, std::uint16_t port);
  void remove(weft_port_set set, Protocol protocol, std::uint16_t port);
  // Words changed since the last call and their values; with `all` every word that is not zero as well.
  std::vector<std::pair<std::uint32_t, std::uint64_t>> take_changes(bool all);

 private:
  void set(std::uint32_t word, std::uint64_t value);

  std::vector<std::uint64_t> words_;
  std::unordered_map<std::uint32_t, std::uint32_t> wanted_;  // word * 64 + bit -> how many
  std::unordered_map<std::uint32_t, std::uint64_t> before_;  // of changed words
};

}  // namespace weft::control::services
