#include "agent/wireguard_keys.h"

#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "sys/system.h"

namespace weft::agent {
namespace {

using nlohmann::json;

std::unexpected<Error> damaged(const std::string& path, std::string_view why) {
  return fail(
      ErrorCode::invalid, fmt::format("{}: {}", path, why),
      "put the file back, or delete it: the node then takes new keys, and others send to it again once they know them");
}

std::uint64_t number(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

}  // namespace

Result<WireGuardKeys::Pair> make_wireguard_pair() {
  WireGuardKeys::Pair pair;
  WEFT_TRY(pair.secret, wireguard::generate_private_key());
  WEFT_TRY(pair.shown, wireguard::public_key_of(pair.secret));
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  pair.made = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  return pair;
}

Result<WireGuardKeys> load_wireguard_keys(const std::string& path) {
  const auto text = sys::read_file(path);
  if (!text) return text.error().code == ErrorCode::not_found ? Result<WireGuardKeys>() : fail(text.error());
  const auto whole = json::parse(*text, nullptr, false);
  if (!whole.is_object() || number(whole, "version") != 1) return damaged(path, "not keys of this version");
  const auto list = whole.find("keys");
  if (list == whole.end() || !list->is_array()) return damaged(path, "\"keys\" is no list");
  WireGuardKeys keys;
  keys.settled = static_cast<control::Generation>(number(whole, "settled"));
  for (const auto& entry : *list) {
    const auto generation = static_cast<control::Generation>(entry.is_object() ? number(entry, "generation") : 0);
    const auto secret = generation != 0 ? entry.find("private_key") : entry.end();
    if (generation == 0 || secret == entry.end() || !secret->is_string())
      return damaged(path, "a key is not a generation and a private key");
    WireGuardKeys::Pair pair;
    auto key = wireguard::Key::from_base64(secret->get_ref<const std::string&>());
    if (!key) return damaged(path, key.error().message);
    pair.secret = *key;
    WEFT_TRY(pair.shown, wireguard::public_key_of(pair.secret));
    pair.made = static_cast<std::int64_t>(number(entry, "made"));
    keys.pairs.emplace(generation, pair);
  }
  if (keys.pairs.size() > 2) return damaged(path, "there are more than two keys");
  return keys;
}

Result<void> save_wireguard_keys(const std::string& path, const WireGuardKeys& keys) {
  auto list = json::array();
  for (const auto& [generation, pair] : keys.pairs)
    list.push_back({{"generation", generation}, {"private_key", pair.secret.base64()}, {"made", pair.made}});
  const json whole{{"version", 1}, {"settled", keys.settled}, {"keys", std::move(list)}};
  return sys::write_file_atomically(path, whole.dump() + "\n", 0600);
}

}  // namespace weft::agent
