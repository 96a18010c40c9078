// What a connectivity test makes on a cluster, and what it asks of it. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "install/probe.h"

namespace weft::install {

inline constexpr const char* test_namespace = "weft-connectivity-test";

struct TestNode {
  std::string name;
  std::vector<std::string> addresses;  // InternalIP
};

struct Surroundings {
  TestNode here;
  TestNode there;  // without a name: there is one node only
  std::string image;
  std::string pull_policy = "IfNotPresent";
  std::string outside;  // ADDRESS[:PORT], empty: none
  bool dns = true;      // the cluster has one
};

// Namespace, Services, NetworkPolicies and pods that serve, in the order they are to be made in.
std::vector<nlohmann::json> test_objects(const Surroundings& around);

// What these have become: pods by their names, as the server has them.
struct Served {
  std::vector<std::string> here;     // addresses of the server on the one node
  std::vector<std::string> there;    // and on the other
  std::vector<std::string> guarded;  // of the pod that a policy guards
  std::vector<std::string> service;  // ClusterIPs
  std::uint16_t node_port = 0;
  std::vector<std::string> api;  // ClusterIPs of the Service kubernetes
};

struct Check {
  Probe probe;
  std::string from;  // "pod on n1"
  std::string hint;  // what to do when it is not so
};
// A pod that asks, and what it asks.
struct Client {
  std::string name;
  bool host_network = false;
  std::vector<Check> checks;
};
struct Skipped {
  std::string name;
  std::string why;
};
std::vector<Client> test_clients(const Surroundings& around, const Served& served, std::vector<Skipped>& skipped);
nlohmann::json client_pod(const Surroundings& around, const Client& client);

}  // namespace weft::install
