// What is wrong with the node now, by what it is about: it degrades the node's health until it is gone. Logs each
// fault when it begins and when it ends. One owner thread.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace weft::agent {

struct Fault {
  std::string text;
  std::string remedy;  // what to do; empty: `text` says it, or usual_remedy() of what it is about
  bool operator==(const Fault&) const = default;
};

class Faults {
 public:
  void set(const std::string& about, const std::string& text, const std::string& remedy = {});
  void clear(const std::string& about);
  [[nodiscard]] bool has(const std::string& about) const { return texts_.contains(about); }
  // Replaces all faults whose subject begins with `group`.
  void replace(const std::string& group, const std::map<std::string, std::string>& texts);
  void replace(const std::string& group, const std::map<std::string, Fault>& faults);
  [[nodiscard]] const std::map<std::string, std::string>& texts() const { return texts_; }
  [[nodiscard]] std::string remedy(const std::string& about) const;

 private:
  std::map<std::string, std::string> texts_;
  std::map<std::string, std::string> remedies_;  // of those that came with one
};

// Of a fault whose text does not say what to do. By the subjects that are used in this room.
std::string_view usual_remedy(std::string_view about);

}  // namespace weft::agent
