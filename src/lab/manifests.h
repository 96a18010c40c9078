// Manifest files to and from a lab's agent.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "lab/layout.h"

namespace weft::lab {

struct ManifestFile {
  std::string name;
  std::string text;
};

// Files as given, "-" for standard input, and of directories their *.yaml, *.yml and *.json in
// alphabetical order. A directory without any is an error.
Result<std::vector<ManifestFile>> read_manifests(const std::vector<std::string>& paths);

// Parses without any agent, so that nothing is built for manifests that are wrong. The error's
// message has one line for each problem. A pod that names a node is one when the lab has several and that is none.
Result<void> check_manifests(const Layout& layout, const std::vector<ManifestFile>& files);

// The pods that these files make, "ns/pod".
std::set<std::string> pods_in(const std::vector<ManifestFile>& files);

struct ApplySummary {
  int created = 0;
  int configured = 0;
  int unchanged = 0;
  std::vector<std::string> warnings;  // one line each
  [[nodiscard]] std::string to_string() const;
};

// All or nothing. An `invalid` error has one line for each problem.
Result<ApplySummary> apply_manifests(const Layout& layout, const std::vector<ManifestFile>& files);
// The objects deleted, "Kind namespace/name".
Result<std::vector<std::string>> delete_manifests(const Layout& layout, const std::vector<ManifestFile>& files);

}  // namespace weft::lab
