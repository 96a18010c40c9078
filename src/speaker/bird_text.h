// BIRD's control protocol: commands are lines, an answer is lines with a number in front, of which the last one has a
// space behind it (client.c of BIRD has the reader that people use). Pure; the text is another program's.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "speaker/peer.h"

namespace weft::speaker {

struct BirdLine {
  int code = 0;
  std::string text;
};

struct BirdAnswer {
  std::vector<BirdLine> lines;
  int code = 0;      // of the last line: below 8000 all is well
  std::string text;  // of the last line
  [[nodiscard]] bool good() const { return code < 8000; }
};

class BirdReader {
 public:
  static constexpr std::size_t most = 64UL << 20;  // bytes of one answer

  // An error: what was said is no answer, and the connection is of no use any more.
  Result<void> feed(std::string_view bytes);
  // The next whole answer.
  std::optional<BirdAnswer> take();

 private:
  Result<void> line(std::string_view line);

  std::string rest_;
  std::size_t size_ = 0;
  BirdAnswer answer_;
  std::vector<BirdAnswer> whole_;
};

// Of "show protocols all": those of BGP that have a neighbour. What is not understood of one is left out.
std::vector<Peer> parse_bird_peers(const BirdAnswer& answer);
// Of "show route all ...".
std::vector<Route> parse_bird_routes(const BirdAnswer& answer, const IpAddress& peer, bool advertised);

}  // namespace weft::speaker
