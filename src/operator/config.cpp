#include "operator/config.h"

#include <unistd.h>

#include <array>

#include "config/keys.h"
#include "sys/system.h"

namespace weft::op {
namespace {

const config::Keys<Config>& all_keys() {
  static const auto table = [] {
    config::Keys<Config> keys{
        {"name", config::text(&Config::name)},
        {"log_level", config::word(&Config::log_level, &config::parse_log_level)},
        {"log_file", config::text(&Config::log_file)},
    };
    for (const auto& [name, set] : config::cluster_access_keys()) keys.emplace(name, set);
    return keys;
  }();
  return table;
}

std::string host_name() {
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

}  // namespace

Result<Config> parse_config(const std::string& file, std::string_view text) {
  Config config;
  WEFT_TRY(const auto document, config::read_document(file, text, "weft-operator.yaml"));
  WEFT_CHECK(config::read_keys(config, file, document, all_keys()));
  if (config.name.empty()) config.name = host_name();
  auto valid = check_name(config.name);
  if (valid) valid = config::check(config);
  if (!valid) return fail(valid.error().in(file));
  return config;
}

Result<Config> load_config(const std::string& path) {
  WEFT_TRY(const auto content, sys::read_file(path));
  return parse_config(path, content);
}

}  // namespace weft::op
