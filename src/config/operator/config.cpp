#include "config/operator/config.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "config/keys.h"
#include "sources/kubernetes/open_access.h"
#include "sys/system.h"

namespace weft::op {
namespace {

Result<Config::Store> parse_store(std::string_view text) {
  if (text == "etcd") return Config::Store::etcd;
  if (text == "kubernetes") return Config::Store::kubernetes;
  if (text == "embedded") return Config::Store::embedded;
  return fail(ErrorCode::invalid, fmt::format("expected etcd, kubernetes or embedded, found \"{}\"", text));
}

Result<Config::ObjectSource> parse_objects(std::string_view text) {
  if (text == "applied") return Config::ObjectSource::applied;
  if (text == "kubernetes") return Config::ObjectSource::kubernetes;
  return fail(ErrorCode::invalid, fmt::format("expected applied or kubernetes, found \"{}\"", text));
}

const config::Keys<Config>& all_keys() {
  static const auto table = [] {
    config::Keys<Config> keys{
        {"store", config::word(&Config::store, &parse_store)},
        {"objects", config::word(&Config::objects, &parse_objects)},
        {"crds", config::text(&Config::crds)},
        {"health_address", config::text(&Config::health_address)},
        {"name", config::text(&Config::name)},
        {"log_level", config::word(&Config::log_level, &config::parse_log_level)},
        {"log_file", config::text(&Config::log_file)},
    };
    for (const auto& [name, set] : config::cluster_access_keys()) keys.emplace(name, set);
    for (const auto& [name, set] : config::kubernetes_access_keys()) keys.emplace(name, set);
    return keys;
  }();
  return table;
}

// The pod's name where there is one: two pods of a node have its host name, and who looks at the Lease sees whose it
// is.
std::string own_name() {
  if (const char* pod = std::getenv("POD_NAME"); pod != nullptr && *pod != '\0') return pod;
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string();
}

// As cluster::check_name: it is part of a key.
Result<void> check_name(const std::string& name) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  const bool good = !name.empty() && name.size() <= 253 && letters.find(name.front()) != std::string_view::npos &&
                    name.find_first_not_of(std::string(letters) + "-_.") == std::string::npos;
  if (good) return {};
  return fail(ErrorCode::invalid, fmt::format("name: \"{}\" is not a name", name),
              "use letters, digits, \"-\", \"_\" and \".\", beginning with a letter or digit");
}

Result<void> check_store(const Config& config) {
  if (config.store == Config::Store::etcd) return config::check(config);
  if (!config.etcd_endpoints.empty())
    return fail(ErrorCode::invalid, "etcd_endpoints are given, but store is not etcd", "set store: etcd");
  if (config.store == Config::Store::embedded && config.objects == Config::ObjectSource::applied)
    return fail(ErrorCode::invalid, "store: embedded, and objects are applied: there is nothing to do",
                "set objects: kubernetes, or store: etcd");
  if (config.store == Config::Store::kubernetes && config.objects == Config::ObjectSource::applied)
    return fail(ErrorCode::invalid, "store: kubernetes, but objects are applied", "set objects: kubernetes, too");
  return config::check_times(config);
}

Result<void> check_api_server(const Config& config) {
  if (!config.on_kubernetes()) {
    if (!config.crds.empty())
      return fail(ErrorCode::invalid, "crds is given, but objects is applied", "set objects: kubernetes");
    return config::check_no_kubernetes(config, "objects is applied", "set objects: kubernetes, or leave it out");
  }
  WEFT_CHECK(kubernetes::check_servers(config));
  return config::check_kubernetes(config);
}

Result<void> check_health_address(const std::string& text) {
  if (const auto parsed = parse_health_address(text); !parsed) return fail(parsed.error().in("health_address"));
  return {};
}

}  // namespace

Result<HealthAddress> parse_health_address(std::string_view text) {
  const auto colon = text.rfind(':');
  auto host = text.substr(0, std::min(colon, text.size()));
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = IpAddress::parse(host);
  HealthAddress parsed;
  const auto* end = text.data() + text.size();
  const auto* digits = colon == std::string_view::npos ? end : text.data() + colon + 1;
  const auto read = std::from_chars(digits, end, parsed.port);
  if (!address || bracketed == address->is_v4() || read.ec != std::errc() || read.ptr != end)
    return fail(ErrorCode::invalid, fmt::format("\"{}\" is no address with a port", text),
                "write it as 127.0.0.1:9441 or [::]:9441");
  parsed.address = *address;
  return parsed;
}

Result<Config> parse_config(const std::string& file, std::string_view text) {
  Config config;
  WEFT_TRY(const auto document, config::read_document(file, text, "weft-operator.yaml"));
  WEFT_CHECK(config::read_keys(config, file, document, all_keys()));
  if (config.name.empty()) config.name = own_name();
  auto valid = check_name(config.name);
  if (valid) valid = check_store(config);
  if (valid) valid = check_api_server(config);
  if (valid && !config.health_address.empty()) valid = check_health_address(config.health_address);
  if (!valid) return fail(valid.error().in(file));
  return config;
}

Result<Config> load_config(const std::string& path) {
  WEFT_TRY(const auto content, sys::read_file(path));
  return parse_config(path, content);
}

}  // namespace weft::op
