#include "cni/invocation.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>

namespace weft::cni {
namespace {

struct VersionName {
  SpecVersion version;
  std::string_view name;
};
constexpr std::array version_names{
    VersionName{SpecVersion::v0_3_1, "0.3.1"},
    VersionName{SpecVersion::v0_4_0, "0.4.0"},
    VersionName{SpecVersion::v1_0_0, "1.0.0"},
    VersionName{SpecVersion::v1_1_0, "1.1.0"},
};

struct CommandRule {
  std::string_view name;
  Command command;
  SpecVersion since;
  bool needs_container;  // CNI_CONTAINERID and CNI_IFNAME
  bool needs_netns;
};
constexpr std::array command_rules{
    CommandRule{"ADD", Command::add, SpecVersion::v0_3_1, true, true},
    CommandRule{"DEL", Command::del, SpecVersion::v0_3_1, true, false},
    CommandRule{"CHECK", Command::check, SpecVersion::v0_4_0, true, true},
    CommandRule{"GC", Command::gc, SpecVersion::v1_1_0, false, false},
    CommandRule{"STATUS", Command::status, SpecVersion::v1_1_0, false, false},
    CommandRule{"VERSION", Command::version, SpecVersion::v0_3_1, false, false},
};

std::unexpected<CniError> refuse(ErrorNumber number, std::string message, std::string details = {}) {
  return std::unexpected(CniError{number, std::move(message), std::move(details), newest_version});
}

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// The specification's pattern for container ids and network names.
bool is_identifier(std::string_view text) {
  if (text.empty() || text.size() > 1024 || !is_alphanumeric(text.front())) return false;
  return std::ranges::all_of(text, [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

// What the kernel takes as a device name, where '%' would make it number devices itself, and what the specification
// forbids on top of it.
bool is_interface_name(std::string_view text) {
  if (text.empty() || text.size() > 15 || text == "." || text == "..") return false;
  return std::ranges::none_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= ' ' || byte >= 0x7f || c == '/' || c == ':' || c == '%';
  });
}

std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (const char c : text.substr(0, 128)) result += static_cast<unsigned char>(c) < ' ' ? '?' : c;
  if (text.size() > 128) result += "...";
  return result + "\"";
}

std::string value_of(const Environment& environment, const std::string& name) {
  const auto found = environment.find(name);
  return found == environment.end() ? std::string() : found->second;
}

CniResult<Json> parse_object(std::string_view text) {
  if (text.size() > largest_configuration)
    return refuse(ErrorNumber::decoding_failure, "the network configuration on stdin is larger than 4 MiB");
  bool too_deep = false;
  const auto limit_depth = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > deepest_configuration;
    return depth <= deepest_configuration;
  };
  Json document = Json::parse(text.begin(), text.end(), limit_depth, /*allow_exceptions=*/false);
  if (too_deep)
    return refuse(ErrorNumber::decoding_failure, "the network configuration on stdin is nested more than 64 deep");
  if (document.is_discarded())
    return refuse(ErrorNumber::decoding_failure, "the network configuration on stdin is not JSON",
                  text.empty() ? "stdin is empty" : "it begins with " + in_quotes(text.substr(0, 40)));
  if (!document.is_object())
    return refuse(ErrorNumber::decoding_failure, "the network configuration on stdin is not a JSON object but a JSON " +
                                                     std::string(document.type_name()));
  return document;
}

CniResult<SpecVersion> read_version(const Json& config) {
  const auto found = config.find("cniVersion");
  if (found != config.end() && !found->is_string())
    return refuse(ErrorNumber::bad_configuration,
                  "cniVersion: expected a string such as \"1.0.0\", found " + in_quotes(found->dump(-1, ' ', true)));
  // A configuration without the key is one of specification 0.1.0.
  const std::string asked = found == config.end() ? "0.1.0" : found->get<std::string>();
  for (const auto& [version, name] : version_names)
    if (name == asked) return version;
  return refuse(ErrorNumber::incompatible_version, "cniVersion " + in_quotes(asked) + " is not supported by weft-cni",
                "supported versions: 0.3.1, 0.4.0, 1.0.0, 1.1.0" +
                    std::string(found == config.end() ? "; the configuration has no cniVersion" : ""));
}

CniResult<Invocation> read_environment(const CommandRule& rule, const Environment& environment) {
  Invocation invocation;
  invocation.command = rule.command;
  std::string missing;
  const auto require = [&](const std::string& name, bool needed) {
    std::string value = value_of(environment, name);
    if (needed && value.empty()) missing += (missing.empty() ? "" : ", ") + name;
    return value;
  };
  invocation.container_id = require("CNI_CONTAINERID", rule.needs_container);
  invocation.ifname = require("CNI_IFNAME", rule.needs_container);
  invocation.netns = require("CNI_NETNS", rule.needs_netns);
  if (!missing.empty())
    return refuse(ErrorNumber::bad_environment, "required environment variables missing: " + missing,
                  "CNI_COMMAND=" + std::string(rule.name) + " needs them");
  if (rule.needs_container && !is_identifier(invocation.container_id))
    return refuse(ErrorNumber::bad_environment, "CNI_CONTAINERID: " + in_quotes(invocation.container_id) +
                                                    " is not a container id: a letter or digit, then letters, "
                                                    "digits, '_', '.' or '-'");
  if (rule.needs_container && !is_interface_name(invocation.ifname))
    return refuse(ErrorNumber::bad_environment, "CNI_IFNAME: " + in_quotes(invocation.ifname) +
                                                    " is not a device name: 1 to 15 characters without '/', ':', '%' "
                                                    "or space, not \".\" or \"..\"");
  if (rule.needs_netns && !invocation.netns.starts_with('/'))
    return refuse(ErrorNumber::bad_environment,
                  "CNI_NETNS: " + in_quotes(invocation.netns) + " is not an absolute path to a network namespace");
  auto args = parse_args(value_of(environment, "CNI_ARGS"));
  if (!args) return std::unexpected(std::move(args.error()));
  invocation.args = std::move(*args);
  return invocation;
}

CniResult<std::vector<Attachment>> read_attachments(const Json& config) {
  // libcni writes both spellings; older drafts of the specification had the second.
  auto found = config.find("cni.dev/valid-attachments");
  if (found == config.end()) found = config.find("cni.dev/attachments");
  if (found == config.end())
    return refuse(ErrorNumber::bad_configuration, "cni.dev/valid-attachments is missing",
                  "without it GC would detach every container of the network");
  std::vector<Attachment> attachments;
  if (found->is_null()) return attachments;
  if (!found->is_array())
    return refuse(ErrorNumber::bad_configuration,
                  "cni.dev/valid-attachments: expected an array, found a JSON " + std::string(found->type_name()));
  for (const auto& item : *found) {
    const auto text = [&item](const char* key) -> std::optional<std::string> {
      if (!item.is_object() || !item.contains(key) || !item.at(key).is_string()) return std::nullopt;
      return item.at(key).get<std::string>();
    };
    auto container_id = text("containerID");
    auto ifname = text("ifname");
    if (!container_id || !ifname)
      return refuse(ErrorNumber::bad_configuration,
                    "cni.dev/valid-attachments[" + std::to_string(attachments.size()) +
                        "]: expected an object with the strings containerID and ifname");
    attachments.push_back({std::move(*container_id), std::move(*ifname)});
  }
  return attachments;
}

CniResult<void> read_agent_settings(const Json& config, Invocation& invocation) {
  invocation.socket = default_socket;
  if (const auto socket = config.find("socket"); socket != config.end()) {
    if (!socket->is_string() || !socket->get_ref<const std::string&>().starts_with('/'))
      return refuse(ErrorNumber::bad_configuration, "socket: expected the absolute path of weftd's unix socket");
    invocation.socket = socket->get<std::string>();
  }
  if (invocation.socket.size() > 107)  // sun_path
    return refuse(ErrorNumber::bad_configuration, "socket: a unix socket's path has at most 107 characters");
  if (const auto timeout = config.find("timeoutSeconds"); timeout != config.end()) {
    const double seconds = timeout->is_number() ? timeout->get<double>() : 0;
    if (!(seconds >= 0.001 && seconds <= 600))
      return refuse(ErrorNumber::bad_configuration, "timeoutSeconds: expected a number from 0.001 to 600");
    invocation.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
  }
  return {};
}

// Containers' earlier results; libcni has already brought them to the configuration's version.
CniResult<void> check_previous_result(const Json& config, Command command) {
  const auto previous = config.find("prevResult");
  if (previous == config.end() || previous->is_null()) {
    if (command == Command::check)
      return refuse(ErrorNumber::bad_configuration, "prevResult is missing",
                    "CHECK compares the container with the result of its ADD");
    return {};
  }
  if (!previous->is_object())
    return refuse(ErrorNumber::bad_configuration,
                  "prevResult: expected an object, found a JSON " + std::string(previous->type_name()));
  for (const char* key : {"interfaces", "ips", "routes"})
    if (const auto part = previous->find(key); part != previous->end() && !part->is_null()) {
      const bool objects = part->is_array() && std::ranges::all_of(*part, [](const Json& i) { return i.is_object(); });
      if (!objects)
        return refuse(ErrorNumber::bad_configuration,
                      "prevResult." + std::string(key) + ": expected an array of objects");
    }
  if (const auto dns = previous->find("dns"); dns != previous->end() && !dns->is_null() && !dns->is_object())
    return refuse(ErrorNumber::bad_configuration, "prevResult.dns: expected an object");
  return {};
}

CniResult<void> read_configuration(const CommandRule& rule, std::string_view text, Invocation& invocation) {
  auto config = parse_object(text);
  if (!config) return std::unexpected(std::move(config.error()));
  auto version = read_version(*config);
  if (!version) return std::unexpected(std::move(version.error()));
  invocation.version = *version;
  if (*version < rule.since)
    return refuse(ErrorNumber::incompatible_version,
                  "cniVersion " + std::string(to_string(*version)) + " does not have " + std::string(rule.name),
                  "it came with specification " + std::string(to_string(rule.since)));
  const auto name = config->find("name");
  if (name == config->end() || !name->is_string() || !is_identifier(name->get_ref<const std::string&>()))
    return refuse(ErrorNumber::bad_configuration,
                  "name: expected the network's name: a letter or digit, then letters, digits, '_', '.' or '-'");
  invocation.network = name->get<std::string>();
  if (auto settings = read_agent_settings(*config, invocation); !settings) return settings;
  if (rule.command == Command::add || rule.command == Command::check)
    if (auto previous = check_previous_result(*config, rule.command); !previous) return previous;
  if (rule.command == Command::gc) {
    auto attachments = read_attachments(*config);
    if (!attachments) return std::unexpected(std::move(attachments.error()));
    invocation.valid_attachments = std::move(*attachments);
  }
  invocation.config = std::move(*config);
  return {};
}

// VERSION is the one question that may come with nothing on stdin, and with any cniVersion.
CniResult<Invocation> read_version_question(std::string_view standard_input) {
  Invocation invocation;
  if (standard_input.find_first_not_of(" \t\r\n") == std::string_view::npos) return invocation;
  auto config = parse_object(standard_input);
  if (!config) return std::unexpected(std::move(config.error()));
  invocation.config = std::move(*config);
  return invocation;
}

}  // namespace

std::string_view to_string(SpecVersion version) {
  for (const auto& [candidate, name] : version_names)
    if (candidate == version) return name;
  return "1.1.0";
}

CniResult<std::map<std::string, std::string>> parse_args(std::string_view text) {
  std::map<std::string, std::string> args;
  while (!text.empty()) {
    const auto end = std::min(text.find(';'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;  // "A=1;;B=2;" is common
    const auto equals = pair.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return refuse(ErrorNumber::bad_environment, "CNI_ARGS: " + in_quotes(pair) + " is not KEY=VALUE");
    args[std::string(pair.substr(0, equals))] = std::string(pair.substr(equals + 1));
  }
  return args;
}

CniResult<Invocation> parse_invocation(const Environment& environment, std::string_view standard_input) {
  const std::string name = value_of(environment, "CNI_COMMAND");
  if (name.empty())
    return refuse(ErrorNumber::bad_environment, "required environment variables missing: CNI_COMMAND",
                  "weft-cni is started by a container runtime; see docs/cni.md");
  const auto* rule = std::ranges::find(command_rules, std::string_view(name), &CommandRule::name);
  if (rule == command_rules.end())
    return refuse(ErrorNumber::bad_environment, "unknown CNI_COMMAND " + in_quotes(name),
                  "known: ADD, DEL, CHECK, GC, STATUS, VERSION");
  if (rule->command == Command::version) return read_version_question(standard_input);
  auto invocation = read_environment(*rule, environment);
  // Errors are printed in the form of the asked version wherever that is known by then.
  SpecVersion version = newest_version;
  if (const auto config = parse_object(standard_input); config)
    if (const auto asked = read_version(*config); asked) version = *asked;
  if (!invocation) {
    invocation.error().version = version;
    return invocation;
  }
  if (auto read = read_configuration(*rule, standard_input, *invocation); !read) {
    read.error().version = version;
    return std::unexpected(std::move(read.error()));
  }
  return invocation;
}

}  // namespace weft::cni
