#include "install/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>

#include "config/agent/config.h"
#include "config/operator/config.h"
#include "install/cluster.h"

namespace weft::install {
namespace {

using nlohmann::json;

// Keys that the chart has values of its own for: deploy/kubernetes/chart/weft/templates/_helpers.tpl
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> values{
    {{"pod_cidrs", "podCIDRs"},
     {"service_cidrs", "serviceCIDRs"},
     {"kubernetes_servers", "kubernetesServers"},
     {"store", "store"},
     {"etcd_endpoints", "etcd.endpoints"},
     {"tunnel", "tunnel"},
     {"tunnel_scope", "tunnelScope"},
     {"etcd_ca_file", "etcd.secret"}}};

std::string_view line_of(std::string_view text, int number) {
  for (; number > 1 && !text.empty(); --number) text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  return text.substr(0, text.find('\n'));
}

// Refusals begin with "FILE:LINE:COLUMN: " where they are about one entry, else with "FILE: " and mostly the key.
std::string_view key_of(std::string_view message, std::string_view file, std::string_view text) {
  message.remove_prefix(std::min(file.size(), message.size()));
  const auto word = [](std::string_view of) {
    return of.substr(0, of.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"));
  };
  if (message.starts_with(": ")) return word(message.substr(2));
  int line = 0;
  if (message.starts_with(':')) std::from_chars(message.data() + 1, message.data() + message.size(), line);
  return line > 0 ? word(line_of(text, line)) : std::string_view();
}

Error refusal(Error error, const std::string& file, std::string_view text, std::string_view others) {
  const auto key = key_of(error.message, file, text);
  const auto own = std::ranges::find(values, key, &std::pair<std::string_view, std::string_view>::first);
  const bool known = text.starts_with(key) || text.find("\n" + std::string(key) + ":") != std::string_view::npos;
  const auto value = key.empty() || !known ? std::string(others)
                     : own != values.end() ? std::string(own->second)
                                           : fmt::format("{}.{}", others, key);
  error.message = fmt::format("nothing has been changed: {}: {}", value, error.message);
  return error;
}

}  // namespace

Result<void> check_settings(const std::vector<json>& objects) {
  for (const auto& object : objects) {
    if (object.value("kind", "") != "ConfigMap") continue;
    // Names are those of nodes and pods, not this machine's.
    const auto weftd = text_at(object, "/data/weftd.yaml");
    const auto named = [](const std::string& text, const std::string& key) {
      return text.find(fmt::format("\n{}:", key)) != std::string::npos ? text
                                                                       : fmt::format("{}\n{}: name\n", text, key);
    };
    if (const auto good = agent::parse_config("weftd.yaml", named(weftd, "node")); !good)
      return fail(refusal(good.error(), "weftd.yaml", weftd, "agentConfig"));
    const auto of_operator = text_at(object, "/data/weft-operator.yaml");
    if (const auto good = op::parse_config("weft-operator.yaml", named(of_operator, "name")); !good)
      return fail(refusal(good.error(), "weft-operator.yaml", of_operator, "operatorConfig"));
  }
  return {};
}

}  // namespace weft::install
