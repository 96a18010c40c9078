// What is wrong with the node now, by what it is about: it degrades the node's health until it is gone. Logs each
// fault when it begins and when it ends. One owner thread.
#pragma once

#include <map>
#include <string>

namespace weft::agent {

class Faults {
 public:
  void set(const std::string& about, const std::string& text);
  void clear(const std::string& about);
  [[nodiscard]] bool has(const std::string& about) const { return texts_.contains(about); }
  // Replaces all faults whose subject begins with `group`.
  void replace(const std::string& group, const std::map<std::string, std::string>& texts);
  [[nodiscard]] const std::map<std::string, std::string>& texts() const { return texts_; }

 private:
  std::map<std::string, std::string> texts_;
};

}  // namespace weft::agent
