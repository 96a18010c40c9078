// What selectors, blocks and port names mean for one peer; shared by the compiler and `explain`, so
// that they cannot disagree.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control/policy/policy.h"
#include "model/objects.h"

namespace weft::control::policy_internal {

// The labels of a namespace; of one without an object just kubernetes.io/metadata.name.
LabelMap namespace_labels(const PolicyInput& input, const std::string& namespace_);

// Some address (block, a whole CIDR) lies inside the block and outside its exceptions.
bool block_holds(const model::IpBlock& block, const Cidr& cidr);

// The numbers a pod gives a port's name, without repeats; empty when it has no such port.
std::vector<std::uint16_t> resolve_named_port(const std::vector<model::ContainerPort>& ports, const std::string& name,
                                              Protocol protocol);

// The single address as a CIDR.
Cidr host_cidr(const IpAddress& address);

// The name in a rule's port, nullptr for a number or none.
const std::string* port_name(const model::PolicyPort& port);

}  // namespace weft::control::policy_internal
