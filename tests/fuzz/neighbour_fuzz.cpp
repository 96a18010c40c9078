// What any host of the link sends as ARP or neighbour discovery: read within its bounds, and what is sent in the place
// of what was heard says the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "agent/l2_frames.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto said = weft::agent::heard({data, size});
  if (!said) return 0;
  const bool claim = said->kind == weft::agent::Heard::Kind::claim;
  const auto frame = claim ? weft::agent::announcement_frame(said->address, said->mac)
                           : weft::agent::probe_frame(said->address, said->mac);
  if (weft::agent::heard(frame) != said) std::abort();
  return 0;
}
