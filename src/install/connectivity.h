// `weft connectivity test`: pods of its own that ask each other, Services, names and what is outside, on a cluster.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "install/cluster.h"
#include "install/connectivity_plan.h"
#include "install/rollout.h"

namespace weft::install {

struct TestOptions {
  std::string outside;
  std::string image;                  // empty: the agents'
  bool keep = false;                  // what it made stays
  std::chrono::seconds timeout{120};  // for pods to run
};

struct CheckResult {
  enum class State { good, failed, skipped };
  State state = State::good;
  std::string name;
  std::string from;
  std::string to;        // "10.0.0.7:8080"
  std::string expected;  // "an answer"
  std::string saw;       // or why it was skipped
  std::string hint;
};

// Each result as it comes. An error: it could not be tried. What it made is gone when this returns, also after an
// interrupt.
Result<std::vector<CheckResult>> test_connectivity(Cluster& cluster, const TestOptions& options,
                                                   const Progress& progress,
                                                   const std::function<void(const CheckResult&)>& tell);

}  // namespace weft::install
