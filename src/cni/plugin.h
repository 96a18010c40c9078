// The plugin's logic between its input and its output.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "cni/agent_connection.h"
#include "cni/invocation.h"

namespace weft::cni {

struct Output {
  std::string text;  // for stdout; may be empty
  int exit_code = 0;
  // To be called when `text` has been written: tells the agent that the runtime has the result.
  // Empty when there is nothing to tell. If writing fails it must not be called.
  std::function<void()> acknowledge;
};

using Connect = std::function<std::unique_ptr<Agent>(const Invocation&)>;

// Never throws, whatever the input.
Output run(const Environment& environment, std::string_view standard_input, const Connect& connect);

}  // namespace weft::cni
