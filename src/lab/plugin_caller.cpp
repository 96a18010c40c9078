#include "lab/plugin_caller.h"

#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "supervise/process.h"

namespace weft::lab {
namespace {

using nlohmann::json;

// Longer than the plugin's own timeout, so that its error is heard.
constexpr std::chrono::seconds plugin_timeout{20};

json configuration(const std::string& socket) {
  return {{"cniVersion", "1.1.0"}, {"name", "weft-lab"}, {"type", "weft-cni"}, {"socket", socket}};
}

Error error_of(const char* command, const supervise::Finished& finished) {
  const json answer = json::parse(finished.output, nullptr, false);
  const auto text = [&answer](const char* key) {
    return answer.is_object() && answer.contains(key) && answer[key].is_string() ? answer[key].get<std::string>()
                                                                                 : std::string();
  };
  const int code = answer.is_object() ? answer.value("code", 0) : 0;
  if (code == 0)
    return {ErrorCode::internal, fmt::format("weft-cni {} ended with exit code {}", command, finished.exit_code), {}};
  const ErrorCode kind = code == 11 ? ErrorCode::unavailable : code == 100 ? ErrorCode::exists : ErrorCode::internal;
  return {kind, fmt::format("weft-cni {}: error {}: {}", command, code, text("msg")), text("details")};
}

// Of a CNI result: "ips": [{"address": "10.244.0.2/24"}, ...].
std::vector<IpAddress> addresses_in(const std::string& output) {
  std::vector<IpAddress> addresses;
  const json result = json::parse(output, nullptr, false);
  if (!result.is_object() || !result.contains("ips") || !result["ips"].is_array()) return addresses;
  for (const auto& ip : result["ips"]) {
    const auto text = ip.is_object() ? ip.value("address", "") : std::string();
    if (const auto address = IpAddress::parse(text.substr(0, text.find('/')))) addresses.push_back(*address);
  }
  return addresses;
}

}  // namespace

PluginCaller::PluginCaller(std::string binary, std::string agent_socket)
    : binary_(std::move(binary)), socket_(std::move(agent_socket)) {}

Result<std::string> PluginCaller::call(const char* command, const Attachment& attachment,
                                       const std::string& config) const {
  supervise::SpawnRequest request;
  request.arguments = {binary_};
  request.inherit_environment = false;
  request.die_with_parent = true;
  request.environment = {{"CNI_COMMAND", command}, {"CNI_PATH", "/opt/cni/bin"}};
  if (!attachment.container_id.empty()) {
    request.environment["CNI_CONTAINERID"] = attachment.container_id;
    request.environment["CNI_NETNS"] = attachment.netns;
    request.environment["CNI_IFNAME"] = interface_name;
    request.environment["CNI_ARGS"] =
        fmt::format("IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={}",
                    attachment.namespace_, attachment.pod, attachment.container_id);
  }
  WEFT_TRY(supervise::Finished finished, supervise::run(std::move(request), config, plugin_timeout));
  if (finished.exit_code == 0) return std::move(finished.output);
  return fail(error_of(command, finished));
}

Result<std::vector<IpAddress>> PluginCaller::add(const Attachment& attachment) const {
  WEFT_TRY(const auto output, call("ADD", attachment, configuration(socket_).dump()));
  return addresses_in(output);
}

Result<void> PluginCaller::del(const Attachment& attachment) const {
  WEFT_CHECK(call("DEL", attachment, configuration(socket_).dump()));
  return {};
}

Result<void> PluginCaller::collect_garbage(const std::vector<std::string>& valid_container_ids) const {
  json config = configuration(socket_);
  json& valid = config["cni.dev/valid-attachments"] = json::array();
  for (const auto& id : valid_container_ids) valid.push_back({{"containerID", id}, {"ifname", interface_name}});
  WEFT_CHECK(call("GC", {}, config.dump()));
  return {};
}

}  // namespace weft::lab
