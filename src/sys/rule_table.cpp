#include "sys/rule_table.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <cstring>

#include "sys/netlink.h"
#include "sys/rtnetlink_socket.h"

namespace weft::sys {
namespace {

std::uint8_t family_of(bool v4) { return v4 ? AF_INET : AF_INET6; }

std::string words(const Rule& rule) { return fmt::format("rule {} to table {}", rule.priority, rule.table); }

Request rule_request(std::uint16_t type, std::uint16_t flags, const Rule& rule) {
  Request request(type, flags);
  auto& header = request.header<fib_rule_hdr>();
  header.family = family_of(rule.family == Family::v4);
  header.action = FR_ACT_TO_TBL;
  request.put_u32(FRA_PRIORITY, rule.priority).put_u32(FRA_TABLE, rule.table);
  request.put_u8(FRA_PROTOCOL, route_protocol_weft);
  if (rule.mark != 0) request.put_u32(FRA_FWMARK, rule.mark).put_u32(FRA_FWMASK, 0xffffffff);
  if (rule.local) request.put_text(FRA_IIFNAME, "lo");
  const auto ports = [&](std::uint16_t attribute, std::uint16_t port) {
    const fib_rule_port_range range{port, port};
    request.put(attribute, &range, sizeof range);
  };
  if (rule.tcp_source != 0 || rule.tcp_destination != 0) request.put_u8(FRA_IP_PROTO, IPPROTO_TCP);
  if (rule.tcp_source != 0) ports(FRA_SPORT_RANGE, rule.tcp_source);
  if (rule.tcp_destination != 0) ports(FRA_DPORT_RANGE, rule.tcp_destination);
  return request;
}

std::uint16_t port_of(const nlattr* attribute) {
  fib_rule_port_range range{};
  if (attribute != nullptr && mnl_attr_get_payload_len(attribute) >= sizeof range)
    std::memcpy(&range, mnl_attr_get_payload(attribute), sizeof range);
  return range.start;
}

std::optional<Rule> parse_rule(const nlmsghdr* message) {
  const auto* header = static_cast<const fib_rule_hdr*>(mnl_nlmsg_get_payload(message));
  const Attributes<FRA_DPORT_RANGE + 1> attributes(message, sizeof *header);
  const auto* protocol = attributes[FRA_PROTOCOL];
  if (protocol == nullptr || mnl_attr_get_u8(protocol) != route_protocol_weft) return {};
  Rule rule;
  rule.family = header->family == AF_INET ? Family::v4 : Family::v6;
  rule.priority = attributes.u32(FRA_PRIORITY);
  rule.table = attributes.u32(FRA_TABLE, header->table);
  rule.mark = attributes.u32(FRA_FWMARK);
  rule.local = attributes.text(FRA_IIFNAME) == "lo";
  rule.tcp_source = port_of(attributes[FRA_SPORT_RANGE]);
  rule.tcp_destination = port_of(attributes[FRA_DPORT_RANGE]);
  return rule;
}

Request route_request(std::uint16_t type, std::uint16_t flags, std::uint32_t table, const TableRoute& route) {
  Request request(type, flags);
  auto& header = request.header<rtmsg>();
  header.rtm_family = family_of(route.destination.is_v4());
  header.rtm_dst_len = static_cast<std::uint8_t>(route.destination.length());
  header.rtm_table = RT_TABLE_UNSPEC;
  header.rtm_protocol = route_protocol_weft;
  header.rtm_scope = route.destination.is_v4() ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  header.rtm_type = RTN_UNICAST;
  request.put_ip(RTA_DST, route.destination.address()).put_ip(RTA_PREFSRC, route.source);
  request.put_u32(RTA_OIF, static_cast<std::uint32_t>(route.device)).put_u32(RTA_TABLE, table);
  return request;
}

IpAddress address_of(const nlattr* attribute) {
  IpAddress::Bytes bytes{};
  if (mnl_attr_get_payload_len(attribute) == 4) {
    bytes[10] = bytes[11] = 0xff;
    std::memcpy(bytes.data() + 12, mnl_attr_get_payload(attribute), 4);
  } else if (mnl_attr_get_payload_len(attribute) == 16) {
    std::memcpy(bytes.data(), mnl_attr_get_payload(attribute), 16);
  }
  return IpAddress(bytes);
}

}  // namespace

class RuleTable::Impl {
 public:
  explicit Impl(RtnetlinkSocket opened) : socket(std::move(opened)) {}

  Result<void> mutate(Request request, const std::string& what, int harmless) {
    const auto outcome = socket.transact(request);
    if (outcome.error == 0 || outcome.error == harmless) return {};
    return fail(outcome.describe(what));
  }

  // Of both families.
  template <class Header, class Visit>
  Result<void> dump(std::uint16_t type, Visit visit) {
    for (const bool v4 : {true, false}) {
      Request request(type, NLM_F_DUMP);
      auto* header = &request.header<Header>();
      *reinterpret_cast<unsigned char*>(header) = family_of(v4);  // both headers begin with it
      const auto outcome = socket.transact(request, visit);
      // a kernel without IPv6
      if (outcome.error != 0 && (v4 || outcome.error != EOPNOTSUPP))
        return fail(outcome.describe("read rules and routes"));
    }
    return {};
  }

  RtnetlinkSocket socket;
};

RuleTable::RuleTable(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RuleTable::RuleTable(RuleTable&&) noexcept = default;
RuleTable::~RuleTable() = default;

Result<RuleTable> RuleTable::open() {
  WEFT_TRY(auto socket, RtnetlinkSocket::open());
  return RuleTable(std::make_unique<Impl>(std::move(socket)));
}

Result<std::vector<Rule>> RuleTable::rules() {
  std::vector<Rule> all;
  WEFT_CHECK(impl_->dump<fib_rule_hdr>(RTM_GETRULE, [&](const nlmsghdr* message) {
    if (const auto rule = parse_rule(message)) all.push_back(*rule);
  }));
  return all;
}

Result<void> RuleTable::add(const Rule& rule) {
  return impl_->mutate(rule_request(RTM_NEWRULE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, rule), "add " + words(rule),
                       EEXIST);
}

Result<void> RuleTable::remove(const Rule& rule) {
  return impl_->mutate(rule_request(RTM_DELRULE, NLM_F_ACK, rule), "delete " + words(rule), ENOENT);
}

Result<std::vector<TableRoute>> RuleTable::routes(std::uint32_t table) {
  std::vector<TableRoute> all;
  WEFT_CHECK(impl_->dump<rtmsg>(RTM_GETROUTE, [&](const nlmsghdr* message) {
    const auto* header = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message));
    const Attributes<RTA_TABLE + 1> attributes(message, sizeof *header);
    if (attributes.u32(RTA_TABLE, header->rtm_table) != table || header->rtm_protocol != route_protocol_weft ||
        attributes[RTA_DST] == nullptr)
      return;
    TableRoute route;
    route.destination = Cidr(address_of(attributes[RTA_DST]), header->rtm_dst_len);
    route.device = static_cast<int>(attributes.u32(RTA_OIF));
    if (attributes[RTA_PREFSRC] != nullptr) route.source = address_of(attributes[RTA_PREFSRC]);
    all.push_back(route);
  }));
  return all;
}

Result<void> RuleTable::replace(std::uint32_t table, const TableRoute& route) {
  return impl_->mutate(route_request(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, table, route),
                       fmt::format("route {} of table {}", route.destination.to_string(), table), 0);
}

Result<void> RuleTable::remove(std::uint32_t table, const TableRoute& route) {
  return impl_->mutate(route_request(RTM_DELROUTE, NLM_F_ACK, table, route),
                       fmt::format("delete route {} of table {}", route.destination.to_string(), table), ESRCH);
}

}  // namespace weft::sys
