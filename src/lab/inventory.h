// The pods and services of a lab as its agents know them, and what users' words for them mean.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "lab/layout.h"
#include "lab/pod_plan.h"

namespace weft::lab {

struct ServiceBackend {
  IpAddress address;
  std::uint16_t port = 0;
  std::string pod;  // "ns/pod"; empty when it is none
};

// One port of one service at one of its addresses.
struct ServicePort {
  std::string key;  // "ns/name"
  IpAddress address;
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  std::vector<ServiceBackend> backends;  // the ready ones
};

struct Inventory {
  std::vector<PodPlan> pods;  // sorted by namespace and name
  std::vector<ServicePort> services;

  [[nodiscard]] const PodPlan* pod(std::string_view key) const;
  [[nodiscard]] const PodPlan* pod_at(const IpAddress& address) const;
  // "ns/pod", "ns/workload" (all its pods), "pod" (of namespace default); not_found with near names.
  [[nodiscard]] Result<std::vector<const PodPlan*>> find_pods(std::string_view text) const;
  [[nodiscard]] std::vector<const ServicePort*> service_ports(std::string_view key) const;
};

// From the agents that answer (lab/agents.h), each pod with its node. An Inventory has the addresses of all pods whose
// nodes' agents answer; of load_pods those on other nodes may have none.
Result<std::vector<PodPlan>> load_pods(const Layout& layout);
Result<Inventory> load_inventory(const Layout& layout);

// Which of `pods` their own node's agent, where it answers, does not tell addresses of: its view of the shared objects
// may be behind the view of another one that was asked first. "ns/pod" each.
std::vector<std::string> pods_without_addresses(const Layout& layout, std::vector<PodPlan> pods);

}  // namespace weft::lab
