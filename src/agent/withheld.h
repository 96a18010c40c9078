// Addresses that Services name, by externalIPs or by their status, and are not served at: they are pods', other
// Services', nodes', the API server's or a router's. control::ServiceCompiler leaves them out; this says which, and
// why.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "agent/publisher.h"

namespace weft::agent {

struct WithheldAddress {
  IpAddress address;
  std::string why;         // "is node a's"
  bool of_status = false;  // a load balancer's; otherwise the Service asks for it
};
using WithheldAddresses = std::map<model::ObjectKey, std::vector<WithheldAddress>>;

// By the Service.
WithheldAddresses withheld_addresses(const Publisher& publisher);
// Of one.
std::vector<WithheldAddress> withheld_addresses(const Publisher& publisher, const model::ObjectKey& service);
// "192.0.2.2 of shop/web is node a's".
std::string withheld_text(const model::ObjectKey& service, const WithheldAddress& one);

}  // namespace weft::agent
