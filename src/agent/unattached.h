// Pods that asked for a network and got none, for the operator: the runtime tries again by itself, for ever, and tells
// nobody but its own log. In memory only: a start forgets them, and hears of them again with the next try. One owner
// thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "model/objects.h"

namespace weft::agent {

class Unattached {
 public:
  using Clock = std::chrono::system_clock;
  // Runtimes wait five minutes between tries at most; what nobody tries any more is over.
  static constexpr std::chrono::minutes kept{15};
  static constexpr std::size_t most = 256;  // the oldest go

  void failed(const model::ObjectKey& pod, const Error& error, Clock::time_point now);
  // It has its network, or is not wanted any more.
  void forget(const model::ObjectKey& pod) { pods_.erase(pod); }
  void expire(Clock::time_point now);
  // {namespace, pod, reason, remedy, tries, since, last} each.
  [[nodiscard]] nlohmann::json to_json() const;
  [[nodiscard]] std::size_t size() const { return pods_.size(); }

 private:
  struct Failure {
    Error error;  // of the last try
    std::uint64_t tries = 0;
    Clock::time_point since;
    Clock::time_point last;
  };
  std::map<model::ObjectKey, Failure> pods_;
};

}  // namespace weft::agent
