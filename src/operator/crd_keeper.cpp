#include "operator/crd_keeper.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>
#include <utility>

#include "operator/json_parts.h"
#include "sys/system.h"

namespace weft::op {
namespace {

using kubernetes::Reason;
using nlohmann::json;

constexpr auto kind = "CustomResourceDefinition";
constexpr unsigned deepest = 64;

json scalar_json(const YAML::Node& node) {
  const auto& text = node.Scalar();
  // Quoted.
  if (node.Tag() == "!") return text;
  if (text.empty() || text == "~" || text == "null") return nullptr;
  if (text == "true") return true;
  if (text == "false") return false;
  std::int64_t whole = 0;
  const auto* end = text.data() + text.size();
  if (const auto read = std::from_chars(text.data(), end, whole); read.ec == std::errc() && read.ptr == end)
    return whole;
  double number = 0;
  if (const auto read = std::from_chars(text.data(), end, number);
      read.ec == std::errc() && read.ptr == end && text.find_first_of("0123456789") != std::string::npos)
    return number;
  return text;
}

json node_json(const YAML::Node& node, unsigned depth) {
  if (depth > deepest) return nullptr;
  if (node.IsSequence()) {
    auto list = json::array();
    for (const auto& item : node) list.push_back(node_json(item, depth + 1));
    return list;
  }
  if (node.IsMap()) {
    auto object = json::object();
    for (const auto& entry : node) object[entry.first.Scalar()] = node_json(entry.second, depth + 1);
    return object;
  }
  return node.IsScalar() ? scalar_json(node) : json();
}

std::vector<unsigned long> numbers_of(std::string_view text) {
  std::vector<unsigned long> numbers;
  if (text.starts_with('v')) text.remove_prefix(1);
  while (!text.empty()) {
    unsigned long number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    if (read.ec == std::errc::invalid_argument) break;
    // Later than any of ours, however far.
    numbers.push_back(read.ec == std::errc() ? number : std::numeric_limits<unsigned long>::max());
    text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()));
    if (!text.starts_with('.')) break;
    text.remove_prefix(1);
  }
  return numbers;
}

}  // namespace

Result<json> json_from_yaml(const std::string& file, std::string_view text) {
  try {
    return node_json(YAML::Load(std::string(text)), 0);
  } catch (const YAML::Exception& exception) {
    return fail(ErrorCode::invalid, fmt::format("{}:{}:{}: this is not YAML: {}", file, exception.mark.line + 1,
                                                exception.mark.column + 1, exception.msg));
  }
}

bool older(std::string_view a, std::string_view b) { return numbers_of(a) < numbers_of(b); }

Result<std::vector<Crd>> load_crds(const std::string& directory, const std::string& version) {
  std::vector<std::string> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error))
    if (entry.path().extension() == ".yaml") files.push_back(entry.path().string());
  if (error || files.empty())
    return fail(ErrorCode::not_found,
                fmt::format("crds: {}: {}", directory, error ? error.message() : "there is no .yaml file in it"),
                "name the directory with Weft's CustomResourceDefinitions, deploy/kubernetes/crds");
  std::ranges::sort(files);
  std::vector<Crd> crds;
  for (const auto& file : files) {
    WEFT_TRY(const auto content, sys::read_file(file));
    WEFT_TRY(auto object, json_from_yaml(file, content));
    const auto metadata = part(object, "metadata");
    auto name = text(metadata, "name");
    if (text(object, "kind") != kind || name.empty())
      return fail(ErrorCode::invalid, fmt::format("crds: {}: expected one CustomResourceDefinition", file));
    auto annotations = part(metadata, "annotations");
    annotations[version_annotation] = version;
    object["metadata"]["annotations"] = std::move(annotations);
    crds.push_back({std::move(name), std::move(object)});
  }
  return crds;
}

CrdKeeper::CrdKeeper(Parts parts, Handlers handlers)
    : parts_(std::move(parts)), handlers_(std::move(handlers)), backoff_(parts_.backoff, parts_.random) {}

std::string CrdKeeper::path_of(const Crd& crd) const {
  return "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + crd.name;
}

void CrdKeeper::duty_changed() {
  again_.cancel();
  writer_.reset();
  if (!handlers_.acts() || parts_.crds.empty()) return;
  writer_ =
      std::make_unique<kubernetes::Writer>(parts_.http, kubernetes::WriterOptions{.field_manager = "weft-operator"});
  look(0);
}

void CrdKeeper::look(std::size_t index) {
  if (index == 0) refused_ = false;
  if (index == parts_.crds.size()) {
    if (refused_) {
      again_ = parts_.scheduler.after(backoff_.next(), [this] { look(0); });
      return;
    }
    done_ = true;
    backoff_.reset();
    again_ = parts_.scheduler.after(parts_.pace, [this] { look(0); });
    return;
  }
  writer_->get(path_of(parts_.crds[index]),
               [this, index](const kubernetes::Outcome<std::string>& object) { looked(index, object); });
}

void CrdKeeper::looked(std::size_t index, const kubernetes::Outcome<std::string>& object) {
  const auto& name = parts_.crds[index].name;
  if (!object) {
    if (object.error().reason == Reason::not_found) return apply(index, "it was not there");
    return failed(index, object.error());
  }
  const auto there =
      text(part(part(json::parse(*object, nullptr, false), "metadata"), "annotations"), version_annotation);
  if (there.empty()) return apply(index, "nobody says of which version it was");
  if (older(there, parts_.version)) return apply(index, "it was of version " + there);
  if (older(parts_.version, there) && std::exchange(left_[name], there) != there)
    spdlog::info("CustomResourceDefinition {} is of the later version {}: it stays", name, there);
  look(index + 1);
}

void CrdKeeper::apply(std::size_t index, const std::string& why) {
  const auto& crd = parts_.crds[index];
  writer_->apply(path_of(crd), crd.object.dump(-1, ' ', false, json::error_handler_t::replace), true,
                 [this, index, why](const kubernetes::Outcome<std::string>& object) {
                   if (!object) return failed(index, object.error());
                   spdlog::info("CustomResourceDefinition {} is applied: {}", parts_.crds[index].name, why);
                   look(index + 1);
                 });
}

// What is the matter with one need not be with the others.
void CrdKeeper::failed(std::size_t index, const kubernetes::Failure& why) {
  handlers_.trouble(why);
  if (!why.transient()) {
    refused_ = true;
    return look(index + 1);
  }
  again_ = parts_.scheduler.after(std::max(backoff_.next(), why.retry_after), [this] { look(0); });
}

}  // namespace weft::op
