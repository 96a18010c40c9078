#include "lab/probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <utility>

#include "api/answer.h"
#include "api/client.h"
#include "lab/machine.h"

namespace weft::lab {
namespace {

using nlohmann::json;

constexpr std::size_t queries_per_call = 8192;  // a line of the API has at most 16 MiB

Verdict verdict_of(const json& item) {
  Verdict verdict;
  if (!item.is_object()) return verdict;
  if (const auto word = item.find("verdict"); word != item.end() && word->is_string())
    verdict.verdict = word->get<std::string>();
  if (const auto rule = item.find("rule"); rule != item.end()) verdict.rule = rule->dump();
  return verdict;
}

// The datapath goes on without the agent, and the supervisor starts a new one within a second or two.
template <class Ask>
auto patiently(Ask ask) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  auto answer = ask();
  while (!answer && answer.error().code == ErrorCode::unavailable && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
    answer = ask();
  }
  return answer;
}

// Which of several backends' verdicts is about this connection.
std::size_t deciding(const Probe& probe, const WireOutcome& wire, const std::vector<Verdict>& verdicts) {
  const auto first_with = [&verdicts](std::string_view word) {
    const auto found = std::ranges::find(verdicts, word, &Verdict::verdict);
    return static_cast<std::size_t>(found == verdicts.end() ? 0 : found - verdicts.begin());
  };
  if (!wire.answered_by.empty())
    for (std::size_t i = 0; i < std::min(probe.queries.size(), verdicts.size()); ++i)
      if (probe.queries[i].backend.ends_with("/" + wire.answered_by)) return i;
  return first_with(wire.reachable == true ? "allow" : "deny");
}

// What one agent is asked. Many probes ask the same: several ports of a service, both families of a pod.
struct Questions {
  std::map<std::string, std::size_t> known;
  std::vector<json> queries;

  std::size_t add(const VerdictQuery& query, const std::string& node) {
    const auto name = [&node](const QueryEnd& end) { return end.node == node ? end.here : end.elsewhere; };
    const auto from = name(query.from);
    const auto to = name(query.to);
    const auto key = fmt::format("{} {} {} {}", from, to, query.port, static_cast<int>(query.protocol));
    const auto [found, added] = known.emplace(key, queries.size());
    if (added)
      queries.push_back({{"from", from}, {"to", to}, {"port", query.port}, {"protocol", to_string(query.protocol)}});
    return found->second;
  }
};

struct Asked {
  std::string node;
  std::size_t position;
};

Result<std::vector<Verdict>> ask_agent(const std::string& socket, const Questions& questions) {
  const auto& queries = questions.queries;
  WEFT_TRY(auto client, api::Client::connect(socket));
  std::vector<Verdict> answers;
  for (std::size_t first = 0; first < queries.size(); first += queries_per_call) {
    const auto last = std::min(queries.size(), first + queries_per_call);
    json batch = json::array();
    for (std::size_t i = first; i < last; ++i) batch.push_back(queries[i]);
    const auto answer = client.call("policy.verdicts", {{"queries", std::move(batch)}});
    if (!answer) return fail(answer.error().error.in("policy.verdicts"));
    const auto items = answer->find("items");
    if (items == answer->end() || items->size() != last - first)
      return fail(ErrorCode::internal, "policy.verdicts: as many answers as questions were expected");
    for (const auto& item : *items) answers.push_back(verdict_of(item));
  }
  return answers;
}

}  // namespace

Result<std::vector<std::vector<Verdict>>> ask_verdicts(const Layout& layout, const std::vector<Probe>& probes) {
  std::map<std::string, Questions> agents;  // by node
  std::vector<std::vector<std::vector<Asked>>> asked(probes.size());
  for (std::size_t i = 0; i < probes.size(); ++i)
    for (const auto& query : probes[i].queries) {
      auto& of_query = asked[i].emplace_back();
      // Who is outside has no agent of its own; without any on either side the first node's is asked.
      std::set<std::string> nodes = {query.from.node, query.to.node};
      nodes.erase(std::string());
      if (nodes.empty()) nodes.insert(layout.node().name);
      for (const auto& node : nodes) of_query.push_back({node, agents[node].add(query, node)});
    }
  std::map<std::string, std::vector<Verdict>> answers;
  for (const auto& [node, questions] : agents) {
    WEFT_TRY(const auto* its_layout, layout.need_node(node));
    WEFT_TRY(answers[node], ask_agent(its_layout->socket(), questions));
  }
  std::vector<std::vector<Verdict>> result(probes.size());
  for (std::size_t i = 0; i < probes.size(); ++i)
    for (const auto& of_query : asked[i]) {
      Verdict verdict;
      for (const auto& [node, position] : of_query) {
        const Verdict& one = answers[node][position];
        if (verdict.verdict.empty() || one.verdict == "deny") verdict = one;
        if (verdict.verdict == "deny") break;
      }
      result[i].push_back(std::move(verdict));
    }
  return result;
}

ProbeResult judge(const Probe& probe, const WireOutcome& wire, const std::vector<Verdict>& verdicts) {
  ProbeResult result{probe, wire, {}, {}};
  if (!verdicts.empty()) result.verdict = verdicts[deciding(result.probe, result.wire, verdicts)];
  if (!result.wire.reachable || result.verdict.verdict.empty()) return result;
  const bool allowed = result.verdict.verdict == "allow";
  if (result.probe.no_backend) {
    result.agrees = !*result.wire.reachable;  // nobody can be reached, whatever policy says
    if (!*result.wire.reachable) result.wire.error = "the service has no ready endpoint: " + result.wire.error;
  } else if (result.wire.refused) {
    result.agrees = allowed;  // it got there; that nobody listens is not the network's doing
  } else {
    result.agrees = *result.wire.reachable == allowed;
  }
  return result;
}

Result<std::vector<ProbeResult>> run_probes(const Layout& layout, const ProbeOptions& options) {
  WEFT_CHECK(check_lab_exists(layout));
  WEFT_TRY(const auto inventory, patiently([&] { return load_inventory(layout); }));
  WEFT_TRY(const auto probes, plan_probes(layout, inventory, options));
  const auto outcomes = try_probes(probes, options.timeout);
  WEFT_TRY(const auto verdicts, patiently([&] { return ask_verdicts(layout, probes); }));
  std::vector<ProbeResult> results;
  results.reserve(probes.size());
  for (std::size_t i = 0; i < probes.size(); ++i) results.push_back(judge(probes[i], outcomes[i], verdicts[i]));
  return results;
}

std::string probes_to_json(const std::vector<ProbeResult>& results) {
  const auto optional = [](const auto& value) { return value ? json(*value) : json(); };
  const auto text = [](const std::string& value) { return value.empty() ? json() : json(value); };
  json list = json::array();
  for (const auto& [probe, wire, verdict, agrees] : results)
    list.push_back({{"from", probe.from},
                    {"to", probe.to},
                    {"address", probe.address ? json(probe.address->to_string()) : json()},
                    {"port", probe.port},
                    {"protocol", to_string(probe.protocol)},
                    {"reachable", optional(wire.reachable)},
                    {"verdict", text(verdict.verdict)},
                    {"rule", json::parse(verdict.rule, nullptr, false)},
                    {"answered_by", text(wire.answered_by)},
                    {"error", text(wire.error)},
                    {"latency_us", optional(wire.latency_us)},
                    {"agrees", optional(agrees)}});
  return list.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace weft::lab
