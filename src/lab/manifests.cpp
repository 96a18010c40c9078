#include "lab/manifests.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <variant>

#include "api/answer.h"
#include "api/client.h"
#include "lab/agents.h"
#include "model/expand.h"
#include "model/parse.h"
#include "sys/system.h"

namespace weft::lab {
namespace {

using nlohmann::json;

bool is_manifest(const std::filesystem::path& path) {
  const auto extension = path.extension();
  return extension == ".yaml" || extension == ".yml" || extension == ".json";
}

Result<std::vector<std::string>> files_in(const std::string& directory) {
  std::vector<std::string> files;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error))
    if (is_manifest(entry->path()) && entry->is_regular_file()) files.push_back(entry->path().string());
  if (error) return fail(errno_error("read directory " + directory, error.value()));
  if (files.empty())
    return fail(ErrorCode::not_found, fmt::format("{}: no *.yaml, *.yml or *.json file in this directory", directory));
  std::ranges::sort(files);
  return files;
}

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// A problem as docs/api.md has it: its own `text`, or put together.
std::string line_of(const json& problem) {
  if (!problem.is_object()) return problem.dump();
  if (auto text = text_of(problem, "text"); !text.empty()) return text;
  return fmt::format("{}:{}: {}: {}", text_of(problem, "file"), problem.value("line", 0), text_of(problem, "path"),
                     text_of(problem, "message"));
}

std::vector<std::string> lines_of(const json& object, const char* key) {
  std::vector<std::string> lines;
  if (!object.is_object()) return lines;
  if (const auto found = object.find(key); found != object.end() && found->is_array())
    for (const auto& problem : *found) lines.push_back(line_of(problem));
  return lines;
}

Error with_problems(const api::ApiError& error) {
  const auto problems = lines_of(error.details, "problems");
  if (problems.empty()) return error.error;
  return {error.error.code, fmt::format("{}", fmt::join(problems, "\n")), error.error.hint};
}

json documents_of(const std::vector<ManifestFile>& files) {
  json documents = json::array();
  for (const auto& [name, text] : files) documents.push_back({{"file", name}, {"text", text}});
  return documents;
}

// A pod or a template of pods that names a node the lab does not have.
std::optional<std::string> node_problem(const Layout& layout, const model::Document& document) {
  const json object = json::parse(document.json, nullptr, false);
  for (const auto* path : {"/spec/nodeName", "/spec/template/spec/nodeName"}) {
    const json::json_pointer pointer(path);
    if (!object.is_object() || !object.contains(pointer) || !object[pointer].is_string()) continue;
    const auto node = layout.need_node(object[pointer].get<std::string>());
    if (node) continue;
    model::Problem problem = document.place;
    problem.path = path[6] == 'n' ? "spec.nodeName" : "spec.template.spec.nodeName";
    problem.message = fmt::format("{}; {}", node.error().message, node.error().hint);
    return problem.to_string();
  }
  return std::nullopt;
}

Result<ApplySummary> apply_at(const std::string& socket, const std::vector<ManifestFile>& files) {
  WEFT_TRY(auto client, api::Client::connect(socket));
  const auto answer = client.call("apply", {{"documents", documents_of(files)}, {"all_or_nothing", true}});
  if (!answer) return fail(with_problems(answer.error()));
  ApplySummary summary;
  if (const auto applied = answer->find("applied"); applied != answer->end() && applied->is_array())
    for (const auto& object : *applied) {
      const auto action = text_of(object, "action");
      ++(action == "created" ? summary.created : action == "configured" ? summary.configured : summary.unchanged);
    }
  summary.warnings = lines_of(*answer, "warnings");
  return summary;
}

Result<std::vector<std::string>> delete_at(const std::string& socket, const std::vector<ManifestFile>& files) {
  WEFT_TRY(auto client, api::Client::connect(socket));
  const auto answer = client.call("delete", {{"documents", documents_of(files)}});
  if (!answer) return fail(with_problems(answer.error()));
  std::vector<std::string> deleted;
  if (const auto list = answer->find("deleted"); list != answer->end() && list->is_array())
    for (const auto& object : *list) {
      const auto namespace_ = text_of(object, "namespace");
      deleted.push_back(fmt::format("{} {}{}{}", text_of(object, "kind"), namespace_, namespace_.empty() ? "" : "/",
                                    text_of(object, "name")));
    }
  return deleted;
}

}  // namespace

Result<std::vector<ManifestFile>> read_manifests(const std::vector<std::string>& paths) {
  std::vector<ManifestFile> files;
  for (const auto& path : paths) {
    if (path == "-") {
      files.push_back({"<stdin>", {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()}});
      continue;
    }
    std::vector<std::string> names = {path};
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) {
      WEFT_TRY(names, files_in(path));
    }
    for (const auto& name : names) {
      WEFT_TRY(auto text, sys::read_file(name));
      files.push_back({name, std::move(text)});
    }
  }
  return files;
}

Result<void> check_manifests(const Layout& layout, const std::vector<ManifestFile>& files) {
  std::vector<std::string> problems;
  for (const auto& [name, text] : files) {
    const auto outcome = model::parse_manifests(name, text);
    for (const auto& problem : outcome.problems) problems.push_back(problem.to_string());
    if (layout.nodes().size() == 1) continue;
    for (const auto& document : outcome.documents)
      if (const auto problem = node_problem(layout, document)) problems.push_back(*problem);
  }
  if (problems.empty()) return {};
  return fail(ErrorCode::invalid, fmt::format("{}", fmt::join(problems, "\n")), "nothing was changed");
}

std::set<std::string> pods_in(const std::vector<ManifestFile>& files) {
  std::set<std::string> pods;
  const auto add = [&pods](const model::Pod& pod) { pods.insert(pod.meta.namespace_ + "/" + pod.meta.name); };
  for (const auto& [name, text] : files)
    for (const auto& document : model::parse_manifests(name, text).documents) {
      if (const auto* pod = std::get_if<model::Pod>(&document.object)) add(*pod);
      if (const auto* deployment = std::get_if<model::Deployment>(&document.object))
        for (const auto& pod : model::expand(*deployment)) add(pod);
    }
  return pods;
}

std::string ApplySummary::to_string() const {
  return fmt::format("{} objects applied: {} created, {} configured, {} unchanged", created + configured + unchanged,
                     created, configured, unchanged);
}

Result<ApplySummary> apply_manifests(const Layout& layout, const std::vector<ManifestFile>& files) {
  return change_all(layout, [&files](const std::string& socket) { return apply_at(socket, files); });
}

Result<std::vector<std::string>> delete_manifests(const Layout& layout, const std::vector<ManifestFile>& files) {
  return change_all(layout, [&files](const std::string& socket) { return delete_at(socket, files); });
}

}  // namespace weft::lab
