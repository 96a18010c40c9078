#include "flow/format.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "flow/time.h"

namespace weft::flow {
namespace {

using nlohmann::json;

const json& member(const json& object, const char* name) {
  static const json none;
  if (!object.is_object()) return none;
  auto found = object.find(name);
  return found == object.end() ? none : *found;
}

std::string text(const json& object, const char* name) {
  const auto& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

unsigned long long number(const json& object, const char* name) {
  const auto& value = member(object, name);
  if (value.is_number_unsigned()) return value.get<unsigned long long>();
  return value.is_number_integer() && value.get<long long>() > 0 ? value.get<unsigned long long>() : 0;
}

std::string name_of(const json& end) {
  const auto pod = text(end, "pod");
  const auto address = text(end, "address");
  if (!pod.empty()) return text(end, "namespace") + "/" + pod;
  const auto kind = text(end, "kind");
  if (kind == "host" || kind == "world") return address.empty() ? kind : kind + " " + address;
  return address.empty() ? "?" : address;
}

std::string with_port(const std::string& name, unsigned long long port) {
  if (port == 0) return name;
  const auto word = name.rfind(' ') == std::string::npos ? 0 : name.rfind(' ') + 1;
  if (name.find("::", word) != std::string::npos || std::ranges::count(name, ':') > 1)
    return fmt::format("{}[{}]:{}", name.substr(0, word), name.substr(word), port);
  return fmt::format("{}:{}", name, port);
}

std::string rule_text(const json& flow, const char* direction) {
  return text(member(member(flow, "rule"), direction), "text");
}

std::string allowed_by(const json& flow) {
  std::string result;
  for (const auto* direction : {"egress", "ingress"}) {
    const auto& rule = member(member(flow, "rule"), direction);
    if (text(rule, "kind").empty() || text(rule, "kind") == "no_policy") continue;
    result += (result.empty() ? "" : "; ") + text(rule, "text");
  }
  return result.empty() ? "no policy" : result;
}

std::string paint(std::string_view text, std::string_view verdict, bool colour) {
  if (!colour) return std::string(text);
  const auto* code = verdict == "DROPPED" ? "31" : verdict == "TRANSLATED" ? "36" : "32";
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

}  // namespace

std::string bytes_text(unsigned long long bytes) {
  if (bytes < 1000) return fmt::format("{} B", bytes);
  constexpr std::array units{"KB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  while (value >= 999.95 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, units[unit]);
}

std::string source_text(const json& flow) {
  const auto& source = member(flow, "source");
  return with_port(name_of(source), number(source, "port"));
}

std::string destination_text(const json& flow) {
  const auto& destination = member(flow, "destination");
  const auto& backend = member(flow, "backend");
  const auto& service = member(flow, "service");
  std::string result;
  if (backend.is_object()) {
    const auto pod = text(backend, "pod");
    const auto name = pod.empty() ? text(backend, "address") : text(backend, "namespace") + "/" + pod;
    result = with_port(name, number(backend, "port"));
  } else {
    result = with_port(name_of(destination), number(destination, "port"));
  }
  if (service.is_object()) {
    result += " via svc/" + text(service, "namespace") + "/" + text(service, "name");
    if (const auto port = number(service, "port"); port != 0) result += fmt::format(":{}", port);
  }
  if (const auto gateway = text(flow, "egress_gateway"); !gateway.empty()) result += " via node " + gateway;
  return result;
}

std::string detail_text(const json& flow) {
  const auto type = text(flow, "type");
  if (type == "denied") {
    const auto deciding = text(flow, "deciding");
    const auto rule = deciding.empty() ? std::string() : rule_text(flow, deciding.c_str());
    return text(flow, "drop_reason") + "  " + (rule.empty() ? text(flow, "drop_meaning") : rule);
  }
  if (type == "closed") {
    const auto& counters = member(flow, "counters");
    return fmt::format("closed  sent {} in {} packets, received {} in {}", bytes_text(number(counters, "bytes")),
                       number(counters, "packets"), bytes_text(number(counters, "reply_bytes")),
                       number(counters, "reply_packets"));
  }
  if (type == "translated") return "at the socket";
  return type + "  " + allowed_by(flow);
}

std::string compact_line(const json& flow, bool colour) {
  if (member(flow, "lost").is_number()) return fmt::format("{:12} ... {} events lost", "", number(flow, "lost"));
  const auto verdict = text(flow, "verdict");
  return fmt::format("{} {} -> {} {}  {} {}", local_clock(text(flow, "time")), source_text(flow),
                     destination_text(flow), text(flow, "protocol"), paint(verdict, verdict, colour),
                     detail_text(flow));
}

const std::vector<std::string>& flow_columns() {
  static const std::vector<std::string> columns{"TIME", "SOURCE", "DESTINATION", "PROTOCOL", "VERDICT", "DETAIL"};
  return columns;
}

std::vector<std::string> flow_cells(const json& flow) {
  if (member(flow, "lost").is_number()) return {"", "", "", "", "LOST", fmt::format("{} events", number(flow, "lost"))};
  return {local_clock(text(flow, "time")), source_text(flow),     destination_text(flow),
          text(flow, "protocol"),          text(flow, "verdict"), detail_text(flow)};
}

}  // namespace weft::flow
