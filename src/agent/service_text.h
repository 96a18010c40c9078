// Words for what the maps of services hold, as users write them in annotations.
#pragma once

#include <cstdint>
#include <string_view>

namespace weft::agent {

std::string_view algorithm_text(std::uint8_t algorithm);    // weft_algorithm
std::string_view forwarding_text(std::uint8_t forwarding);  // weft_forwarding
std::string_view backend_state_text(std::uint8_t state);    // weft_backend_state

}  // namespace weft::agent
