// The files of deploy/kubernetes as they were when this was built (cmake/EmbedFiles.cmake).
#pragma once

#include <string_view>
#include <vector>

namespace weft::chart {

struct EmbeddedFile {
  std::string_view name;  // "chart/weft/templates/agent.yaml"
  std::string_view text;
};

// In the order of their names.
const std::vector<EmbeddedFile>& embedded_files();

}  // namespace weft::chart
