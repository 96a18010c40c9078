#include "lab/condition.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "supervise/process.h"
#include "sys/system.h"

namespace weft::lab {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<Condition::Down, std::string_view>, 3> down_words = {
    {{Condition::Down::no, "no"}, {Condition::Down::agent, "agent"}, {Condition::Down::node, "node"}}};

Condition condition_of(const json& value) {
  Condition condition;
  condition.group = value.value("group", 0U);
  condition.delay = std::chrono::microseconds(value.value("delay_us", std::int64_t{0}));
  condition.loss_ppm = value.value("loss_ppm", std::uint32_t{0});
  condition.cut_from_etcd = value.value("cut_from_etcd", false);
  const auto word = value.value("down", "no");
  for (const auto& [down, name] : down_words)
    if (name == word) condition.down = down;
  return condition;
}

struct Measure {
  double value = 0;
  std::string_view unit;
};

// A number, not negative, and what follows it.
std::optional<Measure> parse_measure(std::string_view text) {
  Measure measure;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), measure.value);
  if (error != std::errc() || !(measure.value >= 0)) return std::nullopt;
  measure.unit = text.substr(static_cast<std::size_t>(end - text.data()));
  return measure;
}

}  // namespace

json conditions_to_json(const Conditions& conditions) {
  json all = json::object();
  for (const auto& [node, condition] : conditions) {
    const auto word = std::ranges::find(down_words, condition.down, &decltype(down_words)::value_type::first);
    all[node] = {{"group", condition.group},
                 {"delay_us", condition.delay.count()},
                 {"loss_ppm", condition.loss_ppm},
                 {"cut_from_etcd", condition.cut_from_etcd},
                 {"down", word->second}};
  }
  return all;
}

Conditions load_conditions(const std::string& path) {
  Conditions conditions;
  const auto text = sys::read_file(path);
  const json all = text ? json::parse(*text, nullptr, false) : json();
  if (!all.is_object()) return conditions;
  for (const auto& [node, value] : all.items()) try {
      if (value.is_object()) conditions[node] = condition_of(value);
    } catch (const json::exception&) {
      conditions.erase(node);
    }
  return conditions;
}

Result<void> save_conditions(const std::string& path, const Conditions& conditions) {
  if (!conditions.empty()) return sys::write_file_atomically(path, conditions_to_json(conditions).dump() + "\n", 0644);
  ::unlink(path.c_str());
  return {};
}

Result<std::chrono::microseconds> parse_delay(std::string_view text) {
  const auto measure = parse_measure(text);
  const double factor = !measure                ? 0
                        : measure->unit == "us" ? 1
                        : measure->unit == "ms" ? 1'000
                        : measure->unit == "s"  ? 1'000'000
                                                : 0;
  const double value = measure ? measure->value * factor : 0;
  if (factor == 0 || value > 60'000'000)
    return fail(ErrorCode::invalid,
                fmt::format("expected a delay of at most a minute, such as 20ms, 300us or 1s, found \"{}\"", text));
  return std::chrono::microseconds(static_cast<std::int64_t>(value));
}

Result<std::uint32_t> parse_loss(std::string_view text) {
  const auto measure = parse_measure(text);
  if (!measure || measure->unit != "%" || measure->value > 100)
    return fail(ErrorCode::invalid,
                fmt::format("expected a loss from 0% to 100%, such as 5% or 0.1%, found \"{}\"", text));
  return static_cast<std::uint32_t>(measure->value * 10'000);
}

std::string way_back(const Layout& layout, std::string_view node) {
  if (!supervise::read_pid_file(layout.supervisor_pid_file()))
    return "bring it back with: weft lab up --name " + layout.name();
  const auto conditions = load_conditions(layout.conditions_file());
  for (const auto& each : layout.nodes())
    if (const auto found = conditions.find(each.name);
        (node.empty() || node == each.name) && found != conditions.end() && found->second.down != Condition::Down::no)
      return fmt::format("{} was {}; bring it back with: weft lab start --name {} {}", each.name,
                         found->second.down == Condition::Down::node ? "crashed" : "killed", layout.name(), each.name);
  return fmt::format("the lab's supervisor starts it again; see weft lab list, and {}", layout.supervisor_log());
}

std::vector<const NodeLayout*> by_reach(const Layout& layout) {
  std::vector<const NodeLayout*> nodes;
  for (const auto& node : layout.nodes()) nodes.push_back(&node);
  if (layout.nodes().size() == 1) return nodes;
  const auto conditions = load_conditions(layout.conditions_file());
  std::ranges::stable_partition(nodes, [&conditions](const NodeLayout* node) {
    const auto found = conditions.find(node->name);
    return found == conditions.end() || !found->second.without_etcd();
  });
  return nodes;
}

}  // namespace weft::lab
