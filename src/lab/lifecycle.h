// Labs come up and go down.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "lab/machine.h"
#include "lab/manifests.h"

namespace weft::lab {

// Held while a lab is built or taken down; a second caller waits. It is a lock of the lab's run
// directory, which `down` removes, so it leaves nothing either.
class LabLock {
 public:
  static Result<LabLock> take(const Layout& layout, const Progress& progress);

 private:
  explicit LabLock(Fd directory) : directory_(std::move(directory)) {}
  Fd directory_;
};

struct UpOptions {
  std::string name{default_lab};
  std::vector<std::string> files;  // paths for read_manifests; none: an empty lab
  std::chrono::milliseconds timeout{60'000};
  SettingsRequest settings;  // of `up`
};

// Repeatable: what is there stays, what is missing is made. Ends when every pod is attached and
// answers; `unavailable` with a list of what is missing after the timeout. When a new lab's
// manifests are refused it is taken down again.
Result<void> up(const Machine& machine, const UpOptions& options, const Progress& progress);

// For a lab that is up: as `up` without the building.
Result<void> apply(const Machine& machine, const UpOptions& options, const Progress& progress);
// Returns when the deleted pods' namespaces are gone.
Result<void> remove(const Machine& machine, const UpOptions& options, const Progress& progress);

// Takes everything away whose name is the lab's: processes, pins, namespaces, directories. Works on
// what a crash left. False when there was nothing.
Result<bool> down(const Machine& machine, const std::string& name, const Progress& progress);

}  // namespace weft::lab
