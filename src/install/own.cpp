#include "install/own.h"

#include <fmt/format.h>

#include "chart/chart.h"

namespace weft::install {

std::string in_namespace(std::string_view group, std::string_view rest) {
  return fmt::format("/{}/namespaces/{}/{}", group, chart::weft_namespace, rest);
}

std::string of_component(std::string_view component) {
  return fmt::format("labelSelector=app.kubernetes.io%2Fname%3Dweft,app.kubernetes.io%2Fcomponent%3D{}", component);
}

}  // namespace weft::install
