// operators/<name>/<run>: how a run of an operator is doing, for whoever asks any node.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace weft::cluster {

// What a collector has done since it began.
struct Collected {
  std::uint64_t rounds = 0;
  std::uint64_t nodes = 0;      // records of nodes that are gone
  std::uint64_t endpoints = 0;  // lists of their pods
  std::uint64_t blocks = 0;
  std::uint64_t users = 0;  // lists of numbers they needed
  std::uint64_t identities = 0;
  auto operator<=>(const Collected&) const = default;
};

// How a run of an operator is doing. Times are texts, RFC 3339; empty: never.
struct OperatorRecord {
  std::string host;
  std::string version;
  std::string started;
  Collected collected;
  std::string last_round;
  std::uint64_t served = 0;   // waiting Services that were given addresses
  std::uint64_t waiting = 0;  // those that wait now
  std::string problem;        // the last one, if it lasts
  auto operator<=>(const OperatorRecord&) const = default;
};

// As values.h.
std::string encode(const OperatorRecord& record);
Result<OperatorRecord> decode_operator(std::string_view key, std::string_view value);

}  // namespace weft::cluster
