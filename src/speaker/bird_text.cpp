#include "speaker/bird_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace weft::speaker {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    text = trimmed(text);
    if (text.empty()) return words;
    const auto end = std::min(text.find_first_of(" \t"), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

std::uint64_t number_of(std::string_view text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// "Key: value", wherever the value begins.
std::optional<std::string_view> value_of(std::string_view line, std::string_view key) {
  line = trimmed(line);
  if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') return std::nullopt;
  return trimmed(line.substr(key.size() + 1));
}

// "2026-11-29 14:02:13", which the configuration asks for, as a time in UTC, in which the speaker runs.
std::string time_of(std::string_view date, std::string_view time) {
  constexpr std::string_view form = "0000-00-00 00:00:00";
  const auto text = fmt::format("{} {}", date, time.substr(0, 8));
  const auto fits =
      text.size() == form.size() && std::equal(text.begin(), text.end(), form.begin(),
                                               [](char a, char b) { return b == '0' ? is_digit(a) : a == b; });
  return fits ? fmt::format("{}T{}Z", date, time.substr(0, 8)) : std::string();
}

// "Name Proto Table State Since Info", where Since is a date and a time. Info is the state and, behind it, an error.
void read_head(std::string_view line, Peer& peer) {
  const auto words = words_of(line);
  if (words.size() < 6) return;
  peer.since = time_of(words[4], words[5]);
  peer.state = words.size() > 6 ? std::string(words[6]) : std::string(words[3]);
}

// "2 imported, 3 filtered, 2 exported, 1 preferred"
RouteCounts counts_of(std::string_view text) {
  RouteCounts counts;
  const auto words = words_of(text);
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i].starts_with("imported")) counts.received = number_of(words[i - 1]);
    if (words[i].starts_with("exported")) counts.advertised = number_of(words[i - 1]);
  }
  return counts;
}

// "(65000,100) (65000,1)" and "(65000, 1, 2)": with colons, as people write them.
std::vector<std::string> communities_of(std::string_view text) {
  std::vector<std::string> all;
  while (true) {
    const auto open = text.find('(');
    const auto close = text.find(')', open == std::string_view::npos ? 0 : open);
    if (open == std::string_view::npos || close == std::string_view::npos) return all;
    std::string one;
    for (const char c : text.substr(open + 1, close - open - 1))
      if (c != ' ') one += c == ',' ? ':' : c;
    all.push_back(std::move(one));
    text.remove_prefix(close + 1);
  }
}

void read_attribute(std::string_view line, Route& route) {
  if (const auto path = value_of(line, "BGP.as_path")) route.as_path = *path;
  if (const auto communities = value_of(line, "BGP.community")) route.communities = communities_of(*communities);
  if (const auto large = value_of(line, "BGP.large_community")) route.large_communities = communities_of(*large);
  if (const auto hops = value_of(line, "BGP.next_hop"))
    for (const auto word : words_of(*hops))
      if (const auto address = IpAddress::parse(word)) route.next_hops.push_back(*address);
}

}  // namespace

Result<void> BirdReader::feed(std::string_view bytes) {
  size_ += bytes.size();
  if (size_ > most) return fail(ErrorCode::exhausted, fmt::format("an answer of more than {} bytes", most));
  rest_ += bytes;
  std::size_t begin = 0;
  for (auto end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n', begin)) {
    WEFT_CHECK(line(std::string_view(rest_).substr(begin, end - begin)));
    begin = end + 1;
  }
  rest_.erase(0, begin);
  return {};
}

Result<void> BirdReader::line(std::string_view line) {
  if (line.starts_with('+')) return {};  // a message meanwhile, of somebody who listens to the log
  if (line.starts_with(' ')) {
    if (answer_.lines.empty()) return fail(ErrorCode::invalid, "a line continues what was not begun");
    answer_.lines.push_back({answer_.lines.back().code, std::string(line.substr(1))});
    return {};
  }
  const bool coded =
      line.size() >= 5 && std::all_of(line.begin(), line.begin() + 4, is_digit) && (line[4] == '-' || line[4] == ' ');
  if (!coded) return fail(ErrorCode::invalid, "a line without a number: " + std::string(line.substr(0, 60)));
  const int code = static_cast<int>(number_of(line.substr(0, 4)));
  if (line[4] == '-') {
    answer_.lines.push_back({code, std::string(line.substr(5))});
    return {};
  }
  answer_.code = code;
  answer_.text = line.substr(5);
  whole_.push_back(std::exchange(answer_, {}));
  size_ = 0;
  return {};
}

std::optional<BirdAnswer> BirdReader::take() {
  if (whole_.empty()) return std::nullopt;
  auto first = std::move(whole_.front());
  whole_.erase(whole_.begin());
  return first;
}

std::vector<Peer> parse_bird_peers(const BirdAnswer& answer) {
  constexpr int head = 1002;
  std::vector<Peer> peers;
  std::optional<Peer> peer;
  bool known = false;  // its address
  std::optional<Family> channel;
  const auto finish = [&] {
    if (peer && known) peers.push_back(std::move(*peer));
    peer.reset();
    known = false;
    channel.reset();
  };
  for (const auto& [code, text] : answer.lines) {
    if (code == head && !text.empty() && text.front() != ' ') {
      finish();
      const auto words = words_of(text);
      if (words.size() < 2 || words[1] != "BGP") continue;
      read_head(text, peer.emplace());
      continue;
    }
    if (!peer) continue;
    const auto line = trimmed(text);
    if (line == "Channel ipv4") channel = Family::v4;
    if (line == "Channel ipv6") channel = Family::v6;
    if (const auto address = value_of(line, "Neighbor address")) {
      const auto parsed = IpAddress::parse(address->substr(0, address->find('%')));
      known = parsed.has_value();
      if (parsed) peer->address = *parsed;
    } else if (const auto state = value_of(line, "BGP state")) {
      peer->state = *state;
      peer->established = *state == "Established";
    } else if (const auto error = value_of(line, "Last error")) {
      peer->last_error = *error;
    } else if (const auto counts = value_of(line, "Routes"); counts && channel) {
      peer->routes[*channel] = counts_of(*counts);
    }
  }
  finish();
  return peers;
}

std::vector<Route> parse_bird_routes(const BirdAnswer& answer, const IpAddress& peer, bool advertised) {
  constexpr int route_line = 1007;
  std::vector<Route> routes;
  bool open = false;
  for (const auto& [code, text] : answer.lines) {
    if (code != route_line) {
      if (open) read_attribute(text, routes.back());
      continue;
    }
    const auto words = words_of(text);
    if (words.size() < 2 || text.front() == '\t') continue;  // "via ..." belongs to the route before
    const auto prefix = Cidr::parse(words[0]);
    open = prefix.has_value();
    if (!open) continue;
    Route route;
    route.prefix = *prefix;
    route.peer = peer;
    route.advertised = advertised;
    routes.push_back(std::move(route));
  }
  return routes;
}

}  // namespace weft::speaker
