#include "control/services/port_words.h"

#include <algorithm>

namespace weft::control::services {

PortWords::PortWords(std::uint16_t first, std::uint16_t last) : words_(WEFT_PORTS_WORDS) {
  if (first == 0) return;
  for (const auto protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp})
    for (std::uint32_t port = first; port <= last; ++port)
      add(WEFT_PORTS_DEVICE, protocol, static_cast<std::uint16_t>(port));
}

void PortWords::set(std::uint32_t word, std::uint64_t value) {
  before_.try_emplace(word, words_[word]);
  words_[word] = value;
}

void PortWords::add(weft_port_set set_, Protocol protocol, std::uint16_t port) {
  const auto index = weft_port_protocol(static_cast<std::uint8_t>(protocol));
  if (index > 2) return;
  const auto word = weft_port_word(set_, index, port);
  const std::uint32_t bit = port & 63U;
  if (++wanted_[word * 64 + bit] == 1) set(word, words_[word] | (std::uint64_t{1} << bit));
}

void PortWords::remove(weft_port_set set_, Protocol protocol, std::uint16_t port) {
  const auto index = weft_port_protocol(static_cast<std::uint8_t>(protocol));
  if (index > 2) return;
  const auto word = weft_port_word(set_, index, port);
  const std::uint32_t bit = port & 63U;
  const auto found = wanted_.find(word * 64 + bit);
  if (found == wanted_.end() || --found->second != 0) return;
  wanted_.erase(found);
  set(word, words_[word] & ~(std::uint64_t{1} << bit));
}

std::vector<std::pair<std::uint32_t, std::uint64_t>> PortWords::take_changes(bool all) {
  std::vector<std::pair<std::uint32_t, std::uint64_t>> changes;
  if (all) {
    for (std::uint32_t word = 0; word < words_.size(); ++word)
      if (words_[word] != 0 || before_.contains(word)) changes.emplace_back(word, words_[word]);
  } else {
    for (const auto& [word, value] : before_)
      if (words_[word] != value) changes.emplace_back(word, words_[word]);
    std::ranges::sort(changes);
  }
  before_.clear();
  return changes;
}

}  // namespace weft::control::services
