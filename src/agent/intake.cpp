#include "agent/intake.h"

#include <fmt/format.h>

#include <vector>

#include "agent/fold.h"

namespace weft::agent {
namespace {

constexpr int publish_pause = 10;  // seconds between tries to publish what did not fit: all is compiled anew

}  // namespace

bool Intake::take(const Publisher::Brought& brought) {
  const auto changed = publisher_->bring(brought);
  if (!changed) {
    set_fault(changed.error().text());
    return false;
  }
  if (*changed == Publisher::Changed::nothing && !publish_owed_)
    tell_left_out();
  else
    publish(publish_owed_ ? Publisher::Changed::all : *changed);
  return true;
}

void Intake::publish(Publisher::Changed changed) {
  const auto published = handlers_.publish(changed);
  publish_owed_ = !published && published.error().code != ErrorCode::io;
  publish_owed_ ? set_fault(published.error().text()) : tell_left_out();
}

void Intake::tell_left_out() {
  const auto left_out = publisher_->services().left_out();
  set_fault(left_out.empty() ? std::string() : left_out.front().error.text());
}

void Intake::set_fault(const std::string& text) {
  fault_ = text;
  handlers_.fault(text);
}

void Intake::check() {
  if (!publish_owed_)
    tell_left_out();
  else if (++checks_ % publish_pause == 0)
    publish(Publisher::Changed::all);
}

namespace {

std::map<std::string, Fault> faults_of(const std::map<std::string, Misunderstood>& objects, const std::string& group,
                                       std::string_view where, std::string_view so, std::string_view remedy) {
  std::vector<std::string_view> namespaces;
  std::vector<const std::pair<const std::string, Misunderstood>*> all;
  for (const auto& entry : objects) {
    namespaces.push_back(entry.second.namespace_);
    all.push_back(&entry);
  }
  std::map<std::string, Fault> faults;
  const auto folded = fold(namespaces);
  for (const auto place : folded.named) {
    const auto& [what, one] = *all[place];
    faults[fmt::format("{} {}", group, what)] = {
        fmt::format("{} {} is not understood: {}; {}", what, where, one.why, so), std::string(remedy)};
  }
  for (std::size_t i = 0; i < folded.rest.size(); ++i)
    faults[fmt::format("{}, more {}", group, i)] = {
        fmt::format("{} {} are not understood; {}", folded.rest[i], where, so), std::string(remedy)};
  return faults;
}

}  // namespace

std::map<std::string, Fault> misunderstood_faults(const std::map<std::string, Misunderstood>& misunderstood,
                                                  std::string_view where, std::string_view remedy) {
  return faults_of(misunderstood, std::string(misunderstood_group), where,
                   "where this node had it before, that stays in force, else it has no effect here", remedy);
}

std::map<std::string, Fault> closed_faults(const std::map<std::string, Misunderstood>& closed, std::string_view where,
                                           std::string_view remedy) {
  return faults_of(closed, std::string(misunderstood_group) + ", closed", where,
                   "until it is, it isolates the pods that it selects and allows them nothing", remedy);
}

}  // namespace weft::agent
