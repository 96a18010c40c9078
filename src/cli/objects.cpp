// apply, get, delete, store push.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "api/answer.h"
#include "cli/commands.h"
#include "cli/documents.h"
#include "cli/json_access.h"
#include "cli/lost_answer.h"
#include "cli/object_columns.h"
#include "cli/output.h"
#include "model/objects.h"

namespace weft::cli {
namespace {

using nlohmann::json;

std::string reference_of_object(const json& object) {
  return reference_of({{"kind", text(object, "kind")},
                       {"namespace", text(object, "metadata/namespace")},
                       {"name", text(object, "metadata/name")}});
}

json to_params(const std::vector<DocumentText>& documents) {
  json list = json::array();
  for (const auto& document : documents) list.push_back({{"file", document.file}, {"text", document.text}});
  return {{"documents", std::move(list)}};
}

// Several kinds make several tables, each under its own header.
void print_object_tables(const Session& session, const json& items, const std::string& output) {
  std::vector<std::pair<std::string, json>> groups;
  for (const auto& item : items) {
    const auto kind = text(item, "kind");
    auto group = std::ranges::find(groups, kind, &std::pair<std::string, json>::first);
    if (group == groups.end()) group = groups.insert(groups.end(), {kind, json::array()});
    group->second.push_back(item);
  }
  bool first = true;
  for (const auto& [kind, members] : groups) {
    if (!first) session.io.out << '\n';
    first = false;
    if (groups.size() > 1) session.io.out << kind << '\n';
    print_items(session, members, output, {object_columns(kind, members), {}, {}});
  }
}

// "pod/web-0" and "shop/web-0" are taken apart; what is left is what the API wants. An error is
// wrong usage: it comes from the words alone.
Result<void> split_names(ObjectOptions& options) {
  if (options.name.empty()) {
    const auto slash = options.kind.find('/');
    if (slash != std::string::npos) {
      options.name = options.kind.substr(slash + 1);
      options.kind.resize(slash);
    }
  }
  const auto slash = options.name.find('/');
  if (slash != std::string::npos) {
    const auto namespace_ = options.name.substr(0, slash);
    if (!options.namespace_.empty() && options.namespace_ != namespace_)
      return fail(ErrorCode::invalid,
                  fmt::format("{}: names another namespace than -n {}", options.name, options.namespace_));
    options.namespace_ = namespace_;
    options.name.erase(0, slash + 1);
  }
  return {};
}

api::Answer get_items(const Session& session, const ObjectOptions& options) {
  json params{{"kind", options.kind}};
  if (!options.namespace_.empty() && !options.all_namespaces) params["namespace"] = options.namespace_;
  if (!options.name.empty()) params["name"] = options.name;
  json items = json::array();
  auto answer = session.call_pages("get", params, [&](const json& page) {
    if (page.is_array()) items.insert(items.end(), page.begin(), page.end());
  });
  if (!answer) return answer;
  return items;
}

int print_deleted(const Session& session, const json& result, const std::string& output) {
  if (output == "json") {
    print_json(session, result);
    return exit_ok;
  }
  for (const auto& entry : member(result, "deleted"))
    session.io.out << reference_of(entry) << (output == "name" ? "" : " deleted") << '\n';
  return exit_ok;
}

// Programs get an object also when nothing was done: what was (nothing), the problems, the error.
int report_failed(const Session& session, const std::string& output, const char* done, const api::ApiError& error) {
  if (output == "json") {
    const auto list = [&](const char* name) {
      const auto& given = member(error.details, name);
      return given.is_array() ? given : json::array();
    };
    print_json(
        session,
        {{done, json::array()},
         {"problems", list("problems")},
         {"warnings", list("warnings")},
         {"error",
          {{"code", to_string(error.error.code)}, {"message", error.error.message}, {"hint", error.error.hint}}}});
    session.io.out.flush();
  }
  session.print_problems(member(error.details, "warnings"), "warning: ");
  return session.report(error);
}

// Without a namespace the name must be of one object only.
std::optional<api::ApiError> find_namespace(const Session& session, ObjectOptions& options) {
  auto items = get_items(session, options);
  if (!items) return items.error();
  if (items->empty())
    return Error{ErrorCode::not_found, fmt::format("there is no {} \"{}\"", lower(options.kind), options.name),
                 fmt::format("see \"weft get {}\"", lower(options.kind))};
  if (items->size() > 1) {
    std::string names;
    for (const auto& item : *items) names += (names.empty() ? "" : ", ") + reference_of_object(item);
    return Error{ErrorCode::invalid,
                 fmt::format("{} \"{}\" is in several namespaces: {}", lower(options.kind), options.name, names),
                 "name the namespace with -n"};
  }
  options.namespace_ = text(items->front(), "metadata/namespace");
  return {};
}

}  // namespace

int run_apply(const Session& session, const ApplyOptions& options) {
  auto documents = read_documents(options.files, options.recursive, session.io.in);
  if (!documents) return report_failed(session, options.output, "applied", documents.error());
  auto params = to_params(*documents);
  params["all_or_nothing"] = options.all_or_nothing;
  params["dry_run"] = options.dry_run;
  auto answer = session.call("apply", params);
  if (!answer && is_lost(answer.error()) && !options.dry_run)
    return report_lost(session, {.documents = params["documents"], .named = {}, .output = options.output},
                       answer.error());
  if (!answer) return report_failed(session, options.output, "applied", answer.error());
  if (options.output == "json") {
    print_json(session, *answer);
  } else {
    for (const auto& entry : member(*answer, "applied")) {
      session.io.out << reference_of(entry);
      if (options.output != "name")
        session.io.out << ' ' << text(entry, "action") << (options.dry_run ? " (dry run)" : "");
      session.io.out << '\n';
    }
  }
  session.io.out.flush();
  session.print_problems(member(*answer, "warnings"), "warning: ");
  session.print_problems(member(*answer, "problems"));
  return member(*answer, "problems").empty() ? exit_ok : exit_failed;
}

int run_get(const Session& session, ObjectOptions options) {
  if (auto split = split_names(options); !split) return session.usage_error(split.error());
  if (options.kind != "all")
    if (auto kind = model::parse_kind(options.kind); !kind) return session.usage_error(kind.error());
  auto items = get_items(session, options);
  if (!items) return session.report(items.error());
  if (items->empty() && !options.name.empty())
    return session.report(Error{ErrorCode::not_found,
                                fmt::format("there is no {} \"{}\"{}", lower(options.kind), options.name,
                                            options.namespace_.empty() ? "" : " in namespace " + options.namespace_),
                                {}});
  const auto& output = options.output;
  if (output == "json" || output == "yaml") {
    const json value = !options.name.empty() && items->size() == 1
                           ? items->front()
                           : json{{"apiVersion", "v1"}, {"kind", "List"}, {"items", *items}};
    output == "json" ? print_json(session, value) : print_yaml(session, value);
  } else if (output == "name") {
    for (const auto& item : *items) session.io.out << reference_of_object(item) << '\n';
  } else {
    if (items->empty()) session.io.err << "nothing found\n";
    print_object_tables(session, *items, output);
  }
  return exit_ok;
}

int run_delete(const Session& session, ObjectOptions options) {
  json params;
  if (!options.files.empty()) {
    if (!options.kind.empty()) return session.usage_error("delete: either -f FILE or KIND NAME, not both");
    auto documents = read_documents(options.files, options.recursive, session.io.in);
    if (!documents) return report_failed(session, options.output, "deleted", documents.error());
    params = to_params(*documents);
  } else {
    if (auto split = split_names(options); !split) return session.usage_error(split.error());
    if (options.kind.empty() || options.name.empty())
      return session.usage_error("delete: name what to delete: -f FILE, or KIND NAME");
    if (auto kind = model::parse_kind(options.kind); !kind) return session.usage_error(kind.error());
    if (options.namespace_.empty())
      if (const auto error = find_namespace(session, options))
        return report_failed(session, options.output, "deleted", *error);
    params = {{"kind", options.kind}, {"name", options.name}};
    if (!options.namespace_.empty()) params["namespace"] = options.namespace_;
  }
  json named;
  if (const auto kind = model::parse_kind(options.kind); options.files.empty() && kind) {
    named = params;
    named["kind"] = model::to_string(*kind);
  }
  auto answer = session.call("delete", params);
  if (!answer && is_lost(answer.error()))
    return report_lost(
        session, {.removes = true, .documents = member(params, "documents"), .named = named, .output = options.output},
        answer.error());
  if (!answer) return report_failed(session, options.output, "deleted", answer.error());
  return print_deleted(session, *answer, options.output);
}

int run_store_push(const Session& session, const PushOptions& options) {
  auto answer = session.call("store.push", {{"none", options.none}});
  if (!answer) return session.report(answer.error());
  if (options.output == "json")
    print_json(session, *answer);
  else
    session.io.out << fmt::format("the cluster has {} objects\n", cell(*answer, "objects"));
  return exit_ok;
}

}  // namespace weft::cli
