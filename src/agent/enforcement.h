// What this node tells of the policies it enforces: what was compiled and what the kernel has, beside what the objects
// ask for. Of policies that select no pod here nothing is told. On the agent's thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "agent/compile.h"
#include "agent/objects.h"
#include "sources/cluster/enforcement.h"

namespace weft::agent {

class EnforcementReport {
 public:
  struct State {
    std::uint64_t compiles = 0;  // so far, whatever became of them
    // All that was compiled last is in the kernel.
    bool written = false;
    // Why what the objects ask for is not compiled, or not written; empty: nobody knows.
    std::string trouble;
    std::uint64_t seen = 0;  // Enforcement::seen
    // Policies that cannot be read, why. They may isolate, or be what they were before.
    std::map<model::ObjectKey, std::string> misread;
    bool operator==(const State&) const = default;
  };

  // Whether make() would tell something else than the last time: to be asked each second.
  [[nodiscard]] bool is_due(const State& state) const { return state != last_; }
  cluster::Enforcement make(const Objects& objects, const Compiled& compiled, State state);

 private:
  struct Digest {
    std::uint64_t revision = 0;
    std::string text;
  };
  struct Written {
    std::string uid;
    cluster::PolicyVersion version;
    bool operator==(const Written&) const = default;
  };
  [[nodiscard]] cluster::PolicyVersion version_of(const model::NetworkPolicy& policy, std::uint64_t revision);

  State last_;
  std::map<model::ObjectKey, Digest> digests_;
  std::map<model::ObjectKey, Written> written_;  // as of the last time that all was
};

cluster::PolicyVersion policy_version(const model::NetworkPolicy& policy);

}  // namespace weft::agent
