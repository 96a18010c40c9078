#include "agent/service_text.h"

#include "abi/service.h"

namespace weft::agent {

std::string_view algorithm_text(std::uint8_t algorithm) {
  switch (algorithm) {
    case WEFT_ALGORITHM_RANDOM:
      return "random";
    case WEFT_ALGORITHM_ROUND_ROBIN:
      return "round-robin";
    case WEFT_ALGORITHM_LEAST_CONNECTIONS:
      return "least-connections";
    case WEFT_ALGORITHM_MAGLEV:
      return "maglev";
    case WEFT_ALGORITHM_SOURCE_HASH:
      return "source-hash";
    default:
      return "unknown";
  }
}

std::string_view forwarding_text(std::uint8_t forwarding) {
  switch (forwarding) {
    case WEFT_FORWARD_SNAT:
      return "snat";
    case WEFT_FORWARD_DSR_IPIP:
      return "dsr-ipip";
    case WEFT_FORWARD_DSR_GENEVE:
      return "dsr-geneve";
    case WEFT_FORWARD_DSR_OPTION:
      return "dsr-option";
    default:
      return "unknown";
  }
}

std::string_view backend_state_text(std::uint8_t state) {
  switch (state) {
    case WEFT_BACKEND_ACTIVE:
      return "active";
    case WEFT_BACKEND_DRAINING:
      return "draining";
    default:
      return "gone";
  }
}

}  // namespace weft::agent
