// How results are written: aligned tables for people, JSON and YAML as the API answered.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "cli/session.h"

namespace weft::cli {

std::string lower(std::string text);
// "networkpolicy/shop/deny-all", of {kind, namespace, name}.
std::string reference_of(const nlohmann::json& entry);

// "5 s", "2m10s", "3h04m", "12d03h"
std::string duration_text(std::uint64_t seconds);

// Columns aligned by two spaces, the last one ragged; nothing for no rows.
void print_table(std::ostream& out, const std::vector<std::string>& columns,
                 const std::vector<std::vector<std::string>>& rows);

// What a terminal would obey is escaped, as JSON allows; `indent` below 0: one line.
std::string json_text(const nlohmann::json& value, int indent);
// One line, or indented on a terminal.
void print_json(const Session& session, const nlohmann::json& value);
void print_yaml(const Session& session, const nlohmann::json& value);

// What is wrong after `before`, and below it what to do, where something is and there is something.
void print_problem(const Session& session, std::string_view before, const std::string& problem,
                   const std::string& remedy);

// A pool's `capacity`; "2^63 or more" where the agent's count saturates, as it does for IPv6.
std::string capacity_text(const nlohmann::json& pool);

struct Column {
  std::string header;
  std::function<std::string(const nlohmann::json& item)> cell;
  bool wide = false;  // only with -o wide
};
// A column that shows the item's member `path`.
Column column(std::string header, std::string path, bool wide = false);

// An array of items in the format asked for: "table", "wide", "json", "yaml", or "name" by `name`.
// An empty table prints `nothing` on the error stream instead.
struct ListView {
  std::vector<Column> columns;
  std::function<std::string(const nlohmann::json& item)> name;
  std::string nothing;
};
int print_items(const Session& session, const nlohmann::json& items, const std::string& output, const ListView& view);

// The same for items that come in parts: of a long list only what is printed of it is kept, and of JSON for
// programs, or names, nothing.
class ItemPrinter {
 public:
  ItemPrinter(const Session& session, std::string output, ListView view);
  void add(const nlohmann::json& items);
  void finish();

 private:
  [[nodiscard]] bool shows(const Column& column) const { return !column.wide || output_ == "wide"; }

  const Session& session_;
  std::string output_;
  ListView view_;
  bool streams_;  // JSON on one line
  std::size_t count_ = 0;
  nlohmann::json kept_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace weft::cli
