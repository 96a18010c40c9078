// A record of the ring buffer weft_events_v1 -> struct weft_event.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "abi/event.h"
#include "base/ip.h"
#include "base/result.h"

namespace weft::flow {

// `invalid` when the record has another size or a type, hook or direction this version does not
// know: the datapath and the agent would be of different versions. The record may be unaligned.
Result<weft_event> decode_event(std::span<const std::byte> record);

IpAddress address_of(const weft_addr& address);
bool is_zero(const weft_addr& address);

// "new", "denied", "closed", "translated"
std::string_view type_name(const weft_event& event);
// "FORWARDED", "DROPPED", "TRANSLATED"
std::string_view verdict_name(const weft_event& event);
// "from-pod", "to-pod", "from-device", "to-device", "socket"
std::string_view hook_name(const weft_event& event);
// Of abi/drop_reasons.h; "unknown" for numbers of a newer datapath.
std::string_view drop_reason_name(unsigned reason);
std::string_view drop_reason_meaning(unsigned reason);

}  // namespace weft::flow
