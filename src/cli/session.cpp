#include "cli/session.h"

#include <fmt/format.h>
#include <unistd.h>

#include "api/answer.h"
#include "cli/json_access.h"
#include "lab/condition.h"
#include "lab/layout.h"
#include "lab/machine.h"

namespace weft::cli {
namespace {

// A few milliseconds of the agent's work.
constexpr unsigned page_items = 500;

std::chrono::milliseconds longest_answer(std::string_view method) {
  return std::chrono::seconds(method == "status" ? 5 : 15);
}

}  // namespace

bool was_answered(const api::ApiError& error) { return error.details.is_object(); }

std::string Session::socket_path() const {
  if (!lab.empty()) return fmt::format("{}/{}/{}/weft.sock", lab::Roots{}.run, lab, node);
  return socket.empty() ? std::string(api::Client::default_path) : socket;
}

Result<api::Client> Session::connect() const {
  if (!lab.empty()) WEFT_CHECK(lab::check_lab_name(lab));
  auto client = api::Client::connect(socket_path());
  if (client || lab.empty() || client.error().code != ErrorCode::unavailable) return client;
  const auto layout = lab::this_machine().layout(lab);
  if (::access(layout.run_dir().c_str(), F_OK) != 0)
    return fail(ErrorCode::unavailable, fmt::format("there is no lab {}: nothing is at {}", lab, socket_path()),
                fmt::format("weft lab list shows those there are; make it with: weft lab up --name {}", lab));
  if (layout.find_node(node) == nullptr)
    return fail(ErrorCode::not_found, fmt::format("lab {} has no node \"{}\"", lab, node), "see \"weft lab list\"");
  return fail(ErrorCode::unavailable, fmt::format("{} of lab {} does not answer at {}", node, lab, socket_path()),
              lab::way_back(layout, node));
}

api::Answer Session::call(std::string_view method, const nlohmann::json& params) const {
  WEFT_TRY(auto client, connect());
  // Changes may take their time; a question that is not answered soon will not be.
  const bool change = method == "apply" || method == "delete" || method == "store.push";
  if (!change) return client.call(method, params, longest_answer(method));
  if (!io.err_tty) return client.call(method, params, api::Client::default_timeout);
  bool told = false;
  auto answer = client.call(method, params, api::Client::default_timeout, [&](std::chrono::seconds waited) {
    told = true;
    io.err << fmt::format("\rweft: {}: the agent is at work, {} s", method, waited.count()) << std::flush;
  });
  if (told) io.err << "\r\x1b[K" << std::flush;
  return answer;
}

api::Answer Session::call_pages(std::string_view method, nlohmann::json params, const SeeItems& see) const {
  WEFT_TRY(auto client, connect());
  params["limit"] = page_items;
  for (;;) {
    auto answer = client.call(method, params, longest_answer(method));
    if (!answer) return answer;
    see(member(*answer, "items"));
    const auto next = answer->find("continue");
    if (next == answer->end()) return answer;
    params["continue"] = *next;
  }
}

void Session::tell_age(const nlohmann::json& answer) const {
  const auto since = text(answer, "as_of");
  const auto kept_in = text(answer, "kept_in");
  const auto store = kept_in.empty() ? "etcd" : kept_in;
  if (flag(answer, "unheard"))
    io.err << fmt::format(
        "weft: {} has told this node nothing since its agent was started at {}: the other nodes are not known to it "
        "yet, traffic goes on as it was\n",
        store, since);
  else if (!since.empty())
    io.err << fmt::format("weft: as of {}: {} has not answered this node since; what changed at others is not known\n",
                          since, store);
}

int Session::report(const api::ApiError& error) const {
  if (error.details.is_object() && error.details.contains("problems")) print_problems(error.details["problems"]);
  io.err << "weft: " << error.error.message << '\n';
  if (!error.error.hint.empty()) io.err << "  " << error.error.hint << '\n';
  return error.error.code == ErrorCode::unavailable && !was_answered(error) ? exit_unavailable : exit_failed;
}

int Session::report_words(const api::ApiError& error) const {
  const int code = report(error);
  return error.error.code == ErrorCode::invalid ? exit_usage : code;
}

void Session::print_problems(const nlohmann::json& problems, std::string_view prefix) const {
  if (!problems.is_array()) return;
  for (const auto& problem : problems) {
    std::string place = text(problem, "file");
    if (const auto line = number(problem, "line"); line != 0) place += fmt::format(":{}", line);
    if (const auto column = number(problem, "column"); column != 0) place += fmt::format(":{}", column);
    if (!place.empty()) place += ": ";
    const auto path = text(problem, "path");
    io.err << place << prefix << path << (path.empty() ? "" : ": ") << text(problem, "message") << '\n';
  }
}

int Session::usage_error(std::string_view message) const {
  return usage_error({ErrorCode::invalid, std::string(message), {}});
}

int Session::usage_error(const Error& error) const {
  (void)report(error);
  return exit_usage;
}

}  // namespace weft::cli
