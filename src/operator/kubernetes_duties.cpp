#include "operator/kubernetes_duties.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

namespace weft::op {
namespace {

using kubernetes::Decoded;
using nlohmann::json;

constexpr auto check_pace = std::chrono::seconds(1);
constexpr auto said_for = std::chrono::minutes(1);

// The addresses in a Node's status.
Result<Decoded> read_node(const kubernetes::Object& object) {
  auto addresses = std::make_shared<std::vector<IpAddress>>();
  const auto node = json::parse(object.json, nullptr, false);
  static const json::json_pointer where("/status/addresses");
  if (node.is_object() && node.contains(where) && node.at(where).is_array())
    for (const auto& one : node.at(where)) {
      const auto text = one.is_object() && one.contains("address") && one["address"].is_string()
                            ? one["address"].get<std::string>()
                            : std::string();
      if (const auto address = IpAddress::parse(text)) addresses->push_back(*address);
    }
  return Decoded(std::move(addresses));
}

// What the server refuses for want of a right is said with what to do.
Error told(const kubernetes::Failure& why) {
  auto error = why.to_error();
  if (why.reason == kubernetes::Reason::denied)
    error.hint = "give it the right: docs/kubernetes.md lists what the operator needs, deploy/kubernetes has it";
  return error;
}

}  // namespace

KubernetesDuties::KubernetesDuties(Parts parts, Handlers handlers)
    : parts_(std::move(parts)),
      handlers_(std::move(handlers)),
      balancers_({.http = parts_.http,
                  .scheduler = parts_.scheduler,
                  .random = parts_.random,
                  .server = parts_.server,
                  .backoff = parts_.backoff},
                 {.acts = [this] { return acts_ && nodes_.synced(); },
                  .event = handlers_.event,
                  .trouble = [this](const kubernetes::Failure& why) { trouble(why); },
                  .pools = [this] { pools_.clashes_changed(); }}),
      pools_({.http = parts_.http,
              .scheduler = parts_.scheduler,
              .random = parts_.random,
              .server = parts_.server,
              .store = parts_.store,
              .backoff = parts_.backoff,
              .retry = 10 * parts_.backoff.base},
             {.acts = [this] { return acts_; },
              .clash = [this](const cluster::Pool& pool) { return clash_of(pool); },
              .cidrs = [this](std::vector<Cidr> cidrs) { balancers_.set_pod_cidrs(std::move(cidrs)); },
              .event = handlers_.event,
              .trouble = [this](const kubernetes::Failure& why) { trouble(why); },
              .store_trouble = [this](const Error& why) { trouble(why); }}),
      crds_({.http = parts_.http,
             .scheduler = parts_.scheduler,
             .random = parts_.random,
             .crds = parts_.crds,
             .version = parts_.version},
            {.acts = [this] { return acts_; }, .trouble = [this](const kubernetes::Failure& why) { trouble(why); }}),
      policies_(parts_.store
                    ? std::make_unique<PolicyStatuses>(
                          PolicyStatuses::Parts{.http = parts_.http,
                                                .scheduler = parts_.scheduler,
                                                .random = parts_.random,
                                                .store = *parts_.store,
                                                .backoff = parts_.backoff},
                          PolicyStatuses::Handlers{.acts = [this] { return acts_; },
                                                   .trouble = [this](const kubernetes::Failure& why) { trouble(why); },
                                                   .store_trouble = [this](const Error& why) { trouble(why); }})
                    : nullptr),
      nodes_(parts_.http, parts_.scheduler, parts_.random,
             {.path = "/api/v1/nodes",
              .field_selector = {},
              .label_selector = {},
              .decode = read_node,
              .backoff = parts_.backoff},
             {.changed = [this](const kubernetes::Change&) { nodes_changed(); },
              .state = [this] { balancers_.duty_changed(); }}),
      election_(std::make_unique<kubernetes::Election>(
          parts_.http, parts_.scheduler, parts_.random, parts_.election,
          kubernetes::ElectionHandlers{.elected = [this] { set_acts(true); },
                                       .lost =
                                           [this](const std::string& why) {
                                             spdlog::warn("stands by: {}", why);
                                             set_acts(false);
                                           },
                                       .trouble = [this](const kubernetes::Failure& why) { trouble(why); }})) {
  tick();
}

void KubernetesDuties::set_acts(bool acts) {
  if (std::exchange(acts_, acts) == acts) return;
  if (acts) spdlog::info("acts for the cluster: it has the Lease {}", parts_.election.name);
  // First: what the others follow may not be installed yet.
  crds_.duty_changed();
  balancers_.duty_changed();
  pools_.duty_changed();
  if (policies_) policies_->duty_changed();
  if (handlers_.duty) handlers_.duty();
}

void KubernetesDuties::keep_out(std::vector<IpAddress> addresses) {
  told_ = std::move(addresses);
  nodes_changed();
}

void KubernetesDuties::nodes_changed() {
  std::set<IpAddress> all(told_.begin(), told_.end());
  for (const auto& [name, entry] : nodes_.view()) {
    const auto& addresses = kubernetes::as<std::vector<IpAddress>>(entry.value);
    all.insert(addresses.begin(), addresses.end());
  }
  balancers_.keep_out({all.begin(), all.end()});
}

std::string KubernetesDuties::silence() const {
  if (auto why = balancers_.silence(); !why.empty()) return why;
  if (nodes_.synced()) return {};
  return nodes_.problem() ? nodes_.problem()->message : "no answer yet";
}

// Each once in a while: all is tried again and again.
void KubernetesDuties::trouble(const kubernetes::Failure& why) { trouble(told(why)); }

void KubernetesDuties::trouble(const Error& why) {
  const auto now = parts_.scheduler.now();
  std::erase_if(troubled_, [&](const auto& one) { return now - one.second > said_for; });
  if (troubled_.emplace(why.message, now).second) spdlog::warn("{}", why.text());
}

std::string KubernetesDuties::clash_of(const cluster::Pool& pool) const {
  for (const auto& range : pool.ranges)
    if (const auto name = balancers_.pool_with(range.cidr); !name.empty())
      return fmt::format("{} has addresses of LoadBalancerPool {}", range.cidr.to_string(), name);
  return {};
}

void KubernetesDuties::tick() {
  tick_ = parts_.scheduler.after(check_pace, [this] {
    balancers_.check();
    pools_.check();
    if (policies_) policies_->check();
    tick();
  });
}

void KubernetesDuties::close(std::function<void()> done) {
  tick_.cancel();
  set_acts(false);
  election_->release(std::move(done));
}

}  // namespace weft::op
