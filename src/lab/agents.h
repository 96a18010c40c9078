// Which of a lab's agents to speak to. Nodes that share what they know all answer for the lab; nodes by
// themselves each answer for what they were told.
#pragma once

#include <string>
#include <utility>

#include "base/result.h"
#include "lab/condition.h"
#include "lab/layout.h"

namespace weft::lab {

// `ask(socket)` of the first node's agent; where nodes share what they know, of the first one that reaches etcd, and of
// the next one's while an agent is away (`unavailable`). The first error when all are.
template <class Ask>
auto ask_any(const Layout& layout, Ask ask) {
  if (!layout.settings().shares_objects()) return ask(layout.node().socket());
  const auto nodes = by_reach(layout);
  auto first = ask(nodes.front()->socket());
  if (first || first.error().code != ErrorCode::unavailable) return first;
  for (std::size_t i = 1; i < nodes.size(); ++i) {
    auto answer = ask(nodes[i]->socket());
    if (answer || answer.error().code != ErrorCode::unavailable) return answer;
  }
  return first;
}

// For changes: of one where they share objects, else of every node's. The first node's answer, or an error.
template <class Ask>
auto change_all(const Layout& layout, Ask ask) {
  if (layout.settings().shares_objects()) return ask_any(layout, std::move(ask));
  auto first = ask(layout.node().socket());
  for (std::size_t i = 1; first && i < layout.nodes().size(); ++i)
    if (auto answer = ask(layout.nodes()[i].socket()); !answer) return answer;
  return first;
}

}  // namespace weft::lab
