#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "lab/probe.h"

namespace weft::lab {
namespace {

struct Symbol {
  char key;  // for sorting and lookup
  const char* text;
  const char* colour;
  const char* meaning;
};
constexpr Symbol symbols[] = {
    {'y', "✓", "\033[32m", "allowed and reached"},
    {'n', "✗", "\033[31m", "denied and stopped"},
    {'r', "o", "\033[33m", "allowed and arrived, but nobody listens"},
    {'!', "!", "\033[1;35m", "the network and the policy engine disagree"},
    {'a', "+", "", "allowed; could not be tried here"},
    {'d', "-", "", "denied; could not be tried here"},
    {'?', "?", "", "not known"},
};

const Symbol& symbol_for(const ProbeResult& result) {
  char key = '?';
  const bool allowed = result.verdict.verdict == "allow";
  if (result.agrees == false)
    key = '!';
  else if (result.agrees == true)
    key = result.wire.reachable == true ? 'y' : allowed ? 'r' : 'n';
  else if (!result.wire.reachable && !result.verdict.verdict.empty())
    key = allowed ? 'a' : 'd';
  for (const auto& symbol : symbols)
    if (symbol.key == key) return symbol;
  return symbols[6];
}

std::string column_of(const ProbeResult& result, bool with_address) {
  const Probe& probe = result.probe;
  const std::string port =
      probe.port == 0 ? to_string(probe.protocol) : fmt::format("{}/{}", probe.port, to_string(probe.protocol));
  if (!with_address || !probe.address || probe.to == probe.address->to_string())
    return fmt::format("{}:{}", probe.to, port);
  return fmt::format("{} {}:{}", probe.to, probe.address->to_string(), port);
}

// A target tried at several addresses shows them.
std::set<std::string> targets_with_several_addresses(const std::vector<ProbeResult>& results) {
  std::map<std::string, std::set<std::string>> addresses;
  for (const auto& result : results)
    if (result.probe.address) addresses[result.probe.to].insert(result.probe.address->to_string());
  std::set<std::string> several;
  for (const auto& [to, list] : addresses)
    if (list.size() > 1) several.insert(to);
  return several;
}

template <class T>
std::size_t position(std::vector<T>& list, const T& value) {
  const auto found = std::ranges::find(list, value);
  if (found != list.end()) return static_cast<std::size_t>(found - list.begin());
  list.push_back(value);
  return list.size() - 1;
}

std::string rule_text(const Verdict& verdict) {
  const auto rule = nlohmann::json::parse(verdict.rule, nullptr, false);
  if (!rule.is_object()) return "no rule is known";
  const auto text = [&rule](const char* key) {
    const auto found = rule.find(key);
    return found != rule.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  if (auto words = text("text"); !words.empty()) return words;
  return fmt::format("{} {} {}", text("kind"), text("direction"), text("policy"));
}

struct Table {
  std::vector<std::string> rows;
  std::vector<std::string> columns;
  std::map<std::pair<std::size_t, std::size_t>, const Symbol*> cells;
};

// Headings as a staircase: any number of columns two characters wide, each with its full name.
std::string draw(const Table& table, bool colour) {
  std::size_t width = 4;
  for (const auto& row : table.rows) width = std::max(width, row.size());
  std::string text;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    text += std::string(width + 2, ' ');
    for (std::size_t bar = 0; bar < i; ++bar) text += "│ ";
    text += table.columns[i] + "\n";
  }
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    text += fmt::format("{:<{}}  ", table.rows[row], width);
    for (std::size_t column = 0; column < table.columns.size(); ++column) {
      const auto cell = table.cells.find({row, column});
      if (cell == table.cells.end())
        text += "  ";
      else if (colour && *cell->second->colour != 0)
        text += fmt::format("{}{}\033[0m ", cell->second->colour, cell->second->text);
      else
        text += fmt::format("{} ", cell->second->text);
    }
    while (text.ends_with(' ')) text.pop_back();
    text += "\n";
  }
  return text;
}

// One rule usually stops the same sources at many ports: those share a line.
std::string describe_rule(const std::string& rule, const std::map<std::string, std::vector<std::string>>& columns) {
  std::map<std::vector<std::string>, std::vector<std::string>> by_sources;
  for (const auto& [column, sources] : columns) by_sources[sources].push_back(column);
  std::string text = fmt::format("  {}\n", rule);
  for (const auto& [sources, targets] : by_sources)
    text += fmt::format("    from {}\n      to {}\n", fmt::join(sources, ", "), fmt::join(targets, ", "));
  return text;
}

}  // namespace

std::string draw_matrix(const std::vector<ProbeResult>& results, bool colour) {
  const auto several = targets_with_several_addresses(results);
  Table table;
  std::map<char, int> counts;
  std::map<std::string, std::map<std::string, std::vector<std::string>>> denials;  // rule -> "to:port" -> from
  std::vector<std::string> disagreements;
  for (const auto& result : results) {
    const auto column = column_of(result, several.contains(result.probe.to));
    const Symbol& symbol = symbol_for(result);
    table.cells[{position(table.rows, result.probe.from), position(table.columns, column)}] = &symbol;
    ++counts[symbol.key];
    if (result.verdict.verdict == "deny") denials[rule_text(result.verdict)][column].push_back(result.probe.from);
    if (result.agrees == false)
      disagreements.push_back(fmt::format("{} -> {}: the network: {}; the policy engine: {}, {}", result.probe.from,
                                          column, result.wire.reachable == true ? "reached" : result.wire.error,
                                          result.verdict.verdict, rule_text(result.verdict)));
  }
  std::string text = draw(table, colour) + "\n";
  for (const auto& symbol : symbols)
    if (counts.contains(symbol.key))
      text += fmt::format("{} {} ({})\n", symbol.text, symbol.meaning, counts[symbol.key]);
  if (!denials.empty()) text += "\ndenied by:\n";
  for (const auto& [rule, columns] : denials) text += describe_rule(rule, columns);
  if (!disagreements.empty()) text += "\ndisagreements:\n";
  for (const auto& line : disagreements) text += "  " + line + "\n";
  return text;
}

}  // namespace weft::lab
