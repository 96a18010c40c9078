// What is Weft's in a cluster, as requests name it.
#pragma once

#include <string>
#include <string_view>

namespace weft::install {

// "/api/v1/namespaces/weft-system/pods", of "api/v1" and "pods".
std::string in_namespace(std::string_view group, std::string_view rest);
// The query for what is of a component: "agent", "operator", "cleanup".
std::string of_component(std::string_view component);

}  // namespace weft::install
