// observe: flows as they come.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "api/answer.h"
#include "cli/commands.h"
#include "cli/json_access.h"
#include "cli/output.h"
#include "flow/format.h"

namespace weft::cli {
namespace {

using nlohmann::json;

Result<json> to_params(const ObserveOptions& options) {
  json params{{"follow", options.follow}};
  if (!options.last.empty()) {
    std::uint64_t last = 0;
    const auto* end = options.last.data() + options.last.size();
    if (const auto [at, error] = std::from_chars(options.last.data(), end, last); error != std::errc{} || at != end)
      return fail(ErrorCode::invalid, fmt::format("--last {}: is not a number", options.last));
    params["last"] = last;
  }
  if (!options.since.empty()) params["since"] = options.since;
  if (!options.until.empty()) params["until"] = options.until;
  json filters = json::object();
  for (const auto& [name, entries] : options.filters)
    if (!entries.empty()) filters[name] = entries;
  if (!filters.empty()) params["filters"] = std::move(filters);
  return params;
}

// A follower cannot know how wide the next flow is: columns begin at a width that fits most and grow
// with what comes, so that after a wide one the rows stand in line again.
class StreamedTable {
 public:
  std::string row(const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i + 1 == cells.size() || i >= widths_.size()) {
        line += cells[i] + "  ";
        continue;
      }
      widths_[i] = std::max(widths_[i], cells[i].size());
      line += fmt::format("{:<{}}  ", cells[i], widths_[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    return line;
  }

 private:
  std::array<std::size_t, 5> widths_{12, 32, 40, 10, 12};
};

// Of an agent that is asked for what it has already.
constexpr std::chrono::milliseconds longest_silence = std::chrono::seconds(10);

}  // namespace

int run_observe(const Session& session, const ObserveOptions& options) {
  auto params = to_params(options);
  if (!params) return session.usage_error(params.error());
  auto client = session.connect();
  if (!client) return session.report(client.error());
  auto& out = session.io.out;
  const bool table = options.output == "table";
  std::vector<std::vector<std::string>> rows;
  StreamedTable streamed;
  if (table && options.follow) out << streamed.row(flow::flow_columns()) << '\n' << std::flush;

  auto ended = client->stream(
      "observe", *params,
      [&](const json& item) {
        if (table && !options.follow) {
          rows.push_back(flow::flow_cells(item));
          return true;
        }
        if (options.output == "json")
          out << json_text(item, -1) << '\n';
        else if (table)
          out << streamed.row(flow::flow_cells(item)) << '\n';
        else
          out << flow::compact_line(item, session.io.colour) << '\n';
        if (options.follow) out.flush();
        return out.good();
      },
      options.follow ? std::chrono::milliseconds(0) : longest_silence);
  print_table(out, flow::flow_columns(), rows);
  return ended ? exit_ok : session.report_words(ended.error());
}

}  // namespace weft::cli
