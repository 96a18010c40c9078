#include "control/services/backend_numbers.h"

#include <fmt/format.h>

#include <algorithm>

namespace weft::control {

std::size_t BackendNumbers::Hash::operator()(const Key& key) const noexcept {
  return std::hash<IpAddress>{}(key.address) ^ (std::size_t{key.port} << 8 | static_cast<std::size_t>(key.protocol));
}

std::string BackendNumbers::text_of(const Key& key) {
  return fmt::format("{}:{}/{}", key.address.to_string(), key.port, to_string(key.protocol));
}

BackendNumbers::BackendNumbers(const BackendTexts& restored) {
  for (const auto& [text, number] : restored) {
    reserve_up_to(number);
    const auto colon = text.rfind(':');
    if (colon == std::string::npos || number == 0) continue;
    const auto address = IpAddress::parse(std::string_view(text).substr(0, colon));
    const auto port = PortProtocol::parse(std::string_view(text).substr(colon + 1));
    if (!address || !port || by_number_.contains(number)) continue;
    const Key key{*address, port->port, port->protocol};
    // Another spelling of an address is not what `use` would keep.
    if (text_of(key) == text && entries_.try_emplace(key, Entry{number, 0}).second) by_number_.emplace(number, key);
  }
}

std::uint32_t BackendNumbers::use(const IpAddress& address, std::uint16_t port, Protocol protocol,
                                  BackendTexts& texts) {
  const Key key{address, port, protocol};
  auto [entry, is_new] = entries_.try_emplace(key);
  if (is_new) {
    while (next_ == 0 || by_number_.contains(next_)) ++next_;
    entry->second.number = next_++;
    by_number_.emplace(entry->second.number, key);
    texts[text_of(key)] = entry->second.number;
  }
  entry->second.used_in = round_;
  return entry->second.number;
}

void BackendNumbers::forget_unused(BackendTexts& texts) {
  std::erase_if(entries_, [&](const auto& item) {
    const auto& [key, entry] = item;
    if (entry.used_in == round_) return false;
    texts.erase(text_of(key));
    by_number_.erase(entry.number);
    return true;
  });
  // Restored texts that meant nothing.
  if (texts.size() != entries_.size())
    std::erase_if(texts, [&](const auto& item) {
      const auto known = by_number_.find(item.second);
      return known == by_number_.end() || text_of(known->second) != item.first;
    });
}

void BackendNumbers::begin_round() { ++round_; }

void BackendNumbers::reserve_up_to(std::uint32_t number) { next_ = std::max(next_, number + 1); }

}  // namespace weft::control
