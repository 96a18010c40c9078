// Whose clock is far from this node's, as far as it shows: every node says with its record what time it is there. A
// record that comes from the future shows a clock that is ahead; one that is old when it comes as news, one that is
// behind. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace weft::agent {

class PeerClocks {
 public:
  static constexpr std::chrono::seconds ahead{10};
  // News may be late by what a connection takes to be found broken.
  static constexpr std::chrono::seconds behind{30};

  // `written`: as the record says it, seconds since 1970; 0: it does not. `news`: it came as it was written, as far as
  // this node knows, and not with a list of all that there is.
  void heard(const std::string& node, std::uint64_t written, std::chrono::system_clock::time_point now, bool news);
  void gone(const std::string& node);
  // By how much at least, positive: ahead of this node's. 0: nothing is known against it.
  [[nodiscard]] std::chrono::seconds difference(const std::string& node) const;

 private:
  struct Heard {
    std::uint64_t written = 0;
    std::chrono::seconds difference{0};
  };
  std::map<std::string, Heard> nodes_;
};

}  // namespace weft::agent
