#include "cni/plugin.h"

#include <exception>
#include <memory>
#include <utility>

#include "cni/format.h"
#include "cni/loopback.h"

namespace weft::cni {
namespace {

Output failure(const CniError& error) { return {format_error(error), 1, {}}; }

Json attachment_params(const Invocation& invocation) {
  return {{"container_id", invocation.container_id}, {"ifname", invocation.ifname}};
}

// The parameters of cni.add and cni.check.
Json full_params(const Invocation& invocation) {
  Json params = attachment_params(invocation);
  params["netns"] = invocation.netns;
  params["args"] = invocation.args;
  params["config"] = invocation.config;
  return params;
}

struct Request {
  const char* method;
  Json params;
};

Request request_for(const Invocation& invocation) {
  switch (invocation.command) {
    case Command::add:
      return {"cni.add", full_params(invocation)};
    case Command::check:
      return {"cni.check", full_params(invocation)};
    case Command::del: {
      Json params = attachment_params(invocation);
      params["netns"] = invocation.netns;
      return {"cni.del", std::move(params)};
    }
    case Command::gc: {
      Json valid = Json::array();
      for (const auto& [container_id, ifname] : invocation.valid_attachments)
        valid.push_back({{"container_id", container_id}, {"ifname", ifname}});
      return {"cni.gc", {{"network", invocation.network}, {"valid", std::move(valid)}}};
    }
    case Command::status:
    case Command::version:
      break;
  }
  return {"cni.status", {{"config", invocation.config}}};
}

Output run_checked(const Environment& environment, std::string_view standard_input, const Connect& connect) {
  auto invocation = parse_invocation(environment, standard_input);
  if (!invocation) return failure(invocation.error());
  if (invocation->command == Command::version) return {format_versions(invocation->config), 0, {}};
  if (is_loopback(*invocation)) return run_loopback(*invocation);
  std::shared_ptr<Agent> agent = connect(*invocation);
  const auto [method, params] = request_for(*invocation);
  const auto answer = agent->call(method, params);
  if (!answer) return failure(from_agent_error(answer.error(), invocation->command, invocation->version));
  if (invocation->command != Command::add) return {};
  const auto previous = invocation->config.find("prevResult");
  const Json result =
      format_result(invocation->version, previous == invocation->config.end() ? Json() : *previous, *answer);
  // std::function wants a copyable closure, hence the shared ownership of the connection.
  return {result.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n", 0,
          [agent = std::move(agent), acknowledged = attachment_params(*invocation)] {
            agent->notify("cni.ack", acknowledged);
          }};
}

}  // namespace

Output run(const Environment& environment, std::string_view standard_input, const Connect& connect) {
  try {
    return run_checked(environment, standard_input, connect);
  } catch (const std::exception& error) {
    return failure({ErrorNumber::internal, std::string("weft-cni failed: ") + error.what(), {}, newest_version});
  }
}

}  // namespace weft::cni
