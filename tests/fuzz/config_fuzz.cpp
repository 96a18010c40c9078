// The agent's and the operator's configuration: no text crashes the parser; what it accepts is within its bounds and is
// understood the same way again; what it refuses says where.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "config/agent/config.h"
#include "config/operator/config.h"

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto of_operator = weft::op::parse_config("fuzz.yaml", text);
  if (of_operator)
    require(!of_operator->etcd_endpoints.empty() && of_operator->name.find('/') == std::string::npos,
            "an operator has an etcd and a name that is one part of a key");
  else
    require(of_operator.error().message.find("fuzz.yaml") != std::string::npos, "a refusal names the file");
  const auto config = weft::agent::parse_config("fuzz.yaml", text);
  if (!config) {
    require(config.error().message.find("fuzz.yaml") != std::string::npos, "a refusal names the file");
    return 0;
  }
  require(config->nat_port_min >= 1024 && config->nat_port_min <= config->nat_port_max,
          "translation ports are a range");
  require(config->mtu <= 65535 && config->flow_history >= 16, "numbers are within their bounds");
  require(config->instance.find('/') == std::string::npos && !config->instance.starts_with('.'),
          "the instance stays in its directory");
  require(config->pod_cidrs.size() <= 2 && config->service_cidrs.size() <= 2, "one range of a family");
  for (const auto& pod : config->pod_cidrs)
    for (const auto& service : config->service_cidrs)
      require(!pod.contains(service) && !service.contains(pod), "pods and services are apart");
  const auto again = weft::agent::parse_config("fuzz.yaml", text);
  require(again && again->instance == config->instance && again->pod_cidrs == config->pod_cidrs, "the same text again");
  return 0;
}
