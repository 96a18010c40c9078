#include "flow/event.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "abi/endpoint.h"

namespace weft::flow {
namespace {

struct Reason {
  std::string_view name;
  std::string_view meaning;
};
constexpr std::array<Reason, WEFT_DROP_REASON_COUNT> reasons{{
#define WEFT_FLOW_REASON(name, text, meaning) Reason{text, meaning},
    WEFT_DROP_REASONS(WEFT_FLOW_REASON)
#undef WEFT_FLOW_REASON
}};

std::unexpected<Error> odd(std::string_view what, unsigned value) {
  return fail(ErrorCode::invalid, fmt::format("event: {} {} is not known", what, value),
              "the datapath is of another version than the agent: restart weftd so that it loads its own");
}

}  // namespace

Result<weft_event> decode_event(std::span<const std::byte> record) {
  weft_event event{};
  if (record.size() != sizeof(event))
    return fail(ErrorCode::invalid,
                fmt::format("event: a record of {} bytes, expected {}", record.size(), sizeof(event)),
                "the datapath is of another version than the agent: restart weftd so that it loads its own");
  std::memcpy(&event, record.data(), sizeof(event));
  if (event.type < WEFT_EVENT_NEW || event.type > WEFT_EVENT_TRANSLATED) return odd("type", event.type);
  if (event.hook < WEFT_HOOK_FROM_POD || event.hook > WEFT_HOOK_FROM_HOST) return odd("hook", event.hook);
  if (event.direction > WEFT_EGRESS) return odd("direction", event.direction);
  return event;
}

IpAddress address_of(const weft_addr& address) {
  IpAddress::Bytes bytes{};
  static_assert(sizeof(address) == sizeof(bytes));
  std::memcpy(bytes.data(), &address, sizeof(address));
  return IpAddress(bytes);
}

bool is_zero(const weft_addr& address) { return address_of(address).is_unspecified(); }

std::string_view type_name(const weft_event& event) {
  switch (event.type) {
    case WEFT_EVENT_NEW:
      return "new";
    case WEFT_EVENT_DENIED:
      return "denied";
    case WEFT_EVENT_CLOSED:
      return "closed";
    default:
      return "translated";
  }
}

std::string_view verdict_name(const weft_event& event) {
  switch (event.type) {
    case WEFT_EVENT_DENIED:
      return "DROPPED";
    case WEFT_EVENT_TRANSLATED:
      return "TRANSLATED";
    default:
      return "FORWARDED";
  }
}

std::string_view hook_name(const weft_event& event) {
  constexpr std::array<std::string_view, 9> names{"",       "from-pod", "to-pod",       "from-device", "to-device",
                                                  "socket", "xdp",      "from-overlay", "from-host"};
  return event.hook < names.size() ? names[event.hook] : "";
}

std::string_view drop_reason_name(unsigned reason) {
  return reason < reasons.size() ? reasons[reason].name : "unknown";
}

std::string_view drop_reason_meaning(unsigned reason) {
  return reason < reasons.size() ? reasons[reason].meaning : "a reason this version does not know";
}

}  // namespace weft::flow
