// Which flows a reader wants (docs/api.md, observe): the entries of one key OR, the keys AND.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "flow/flow.h"

namespace weft::flow {

// Which end of a flow a condition looks at.
enum class End : std::uint8_t { either, source, destination };

class FlowFilter {
 public:
  FlowFilter() = default;  // every flow
  // The `filters` object of a request; null is every flow. Errors name the key and what it expects.
  static Result<FlowFilter> parse(const nlohmann::json& filters);

  [[nodiscard]] bool matches(const Flow& flow) const;

 private:
  struct Pod {  // "shop/web-0", "web-0", a workload's name, "shop/" for a whole namespace
    std::string namespace_;
    std::string name;
  };
  struct Label {  // "app=web", "k8s:app=web", "app"
    std::string key;
    std::string value;
    bool any_value = false;
  };
  using LabelSet = std::vector<Label>;  // "app=web,tier=front": all of them
  struct Port {
    std::uint16_t port = 0;
    Protocol protocol = Protocol::any;
  };
  template <class Value>
  struct Condition {
    End end = End::either;
    std::vector<Value> any_of;
  };

  Result<void> add(const std::string& key, const std::vector<std::string>& entries);
  Result<bool> add_ends(const std::string& key, const std::vector<std::string>& entries);

  static bool matches(const Pod& pod, const Party* party);
  static bool matches(const LabelSet& labels, const Side& side);
  [[nodiscard]] bool matches_packet(const Flow& flow) const;
  [[nodiscard]] bool matches_outcome(const Flow& flow) const;

  std::vector<Condition<Pod>> pods_;
  std::vector<Condition<std::string>> namespaces_;
  std::vector<Condition<LabelSet>> labels_;
  std::vector<Condition<std::uint32_t>> identities_;
  std::vector<Cidr> addresses_;
  std::vector<Port> ports_;
  std::vector<Protocol> protocols_;
  std::vector<std::string> verdicts_;  // upper case
  std::vector<std::string> types_;
  std::vector<std::uint8_t> drop_reasons_;
  std::vector<Pod> services_;
};

}  // namespace weft::flow
