// What a source outside this node says that its objects are, on the way in: stored, told to the compilers, published.
// What does not fit, or cannot be stored now, is tried again, and is a fault meanwhile. On the agent's thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "agent/faults.h"
#include "agent/publisher.h"

namespace weft::agent {

class Intake {
 public:
  struct Handlers {
    // Brings the kernel to what was stored. An `io` error: written later.
    std::function<Result<void>(Publisher::Changed changed)> publish;
    // Why what was brought is not what this node does; empty: it does.
    std::function<void(const std::string& text)> fault;
  };
  Intake(Publisher& publisher, Handlers handlers) : publisher_(&publisher), handlers_(std::move(handlers)) {}

  // False: it is not stored, and has to be brought again.
  bool take(const Publisher::Brought& brought);
  // Once a second while nothing has to be brought again: publishes what could not be.
  void check();
  // Why what was brought is not in force, or a part of it has no room; empty: all is.
  [[nodiscard]] const std::string& fault() const { return fault_; }
  [[nodiscard]] bool owes() const { return publish_owed_; }

 private:
  void publish(Publisher::Changed changed);
  void tell_left_out();
  void set_fault(const std::string& text);

  Publisher* publisher_;
  Handlers handlers_;
  std::string fault_;
  bool publish_owed_ = false;
  int checks_ = 0;
};

struct Misunderstood {
  std::string namespace_;  // of what it is about; empty: it has none
  std::string why;
};

// How the subjects of such faults begin: they are about objects, and not about the node.
inline constexpr std::string_view misunderstood_group = "misunderstood";

// A fault each, a few of each namespace by name, of what is there and not understood: by what it is ("Service
// shop/web"). `where` it is: "in etcd". `remedy`: what to do about one of them.
std::map<std::string, Fault> misunderstood_faults(const std::map<std::string, Misunderstood>& misunderstood,
                                                  std::string_view where, std::string_view remedy);

// The same of NetworkPolicies that are not understood and therefore allow nothing.
std::map<std::string, Fault> closed_faults(const std::map<std::string, Misunderstood>& closed, std::string_view where,
                                           std::string_view remedy);

}  // namespace weft::agent
