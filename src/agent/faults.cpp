#include "agent/faults.h"

#include <spdlog/spdlog.h>

#include <vector>

namespace weft::agent {

void Faults::set(const std::string& about, const std::string& text) {
  auto& kept = texts_[about];
  if (kept == text) return;
  kept = text;
  spdlog::warn("{}", text);
}

void Faults::clear(const std::string& about) {
  const auto found = texts_.find(about);
  if (found == texts_.end()) return;
  spdlog::info("over: {}", found->second);
  texts_.erase(found);
}

void Faults::replace(const std::string& group, const std::map<std::string, std::string>& texts) {
  std::vector<std::string> over;
  for (const auto& [about, text] : texts_)
    if (about.starts_with(group) && !texts.contains(about)) over.push_back(about);
  for (const auto& about : over) clear(about);
  for (const auto& [about, text] : texts) set(about, text);
}

}  // namespace weft::agent
