// API: which nodes enforce which version of a policy. This node tells what it enforces; what all others tell is read
// when somebody asks, and kept nowhere.
#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/agent.h"
#include "api/params.h"
#include "sources/cluster/values.h"

namespace weft::agent {
namespace {

using cluster::EnforcementView;
using etcd::Keys;
using nlohmann::json;

constexpr std::int64_t page = 50;
// Nobody waits longer for an answer of `weft`.
constexpr auto patience = std::chrono::seconds(8);

std::string_view word_of(EnforcementView::Verdict verdict) {
  switch (verdict) {
    case EnforcementView::Verdict::enforced:
      return "enforced";
    case EnforcementView::Verdict::no_pods:
      return "no pods";
    case EnforcementView::Verdict::waiting:
      return "waiting";
    case EnforcementView::Verdict::failed:
      return "failed";
    case EnforcementView::Verdict::away:
      break;
  }
  return "away";
}

// What all nodes tell, read page by page.
class Reading : public std::enable_shared_from_this<Reading> {
 public:
  using Done = std::function<void(Result<EnforcementView> view)>;
  Reading(etcd::Client& client, cluster::Keyspace keys, EnforcementView::Time now, Done done)
      : client_(client), keys_(std::move(keys)), now_(now), done_(std::move(done)) {}

  void begin() {
    next(
        Keys::prefix(keys_.alive()), [](Reading& it, const etcd::KeyValue& kv) { it.take_alive(kv); },
        [](Reading& it) {
          it.next(
              Keys::prefix(it.keys_.enforcement()),
              [](Reading& self, const etcd::KeyValue& kv) { self.take_enforcement(kv); },
              [](Reading& self) { self.done_(std::move(self.view_)); });
        });
  }

 private:
  using Take = void (*)(Reading& it, const etcd::KeyValue& kv);
  using Then = void (*)(Reading& it);

  void next(Keys keys, Take each, Then then) {
    client_.range({.keys = keys, .limit = page}, {.timeout = patience},
                  [self = shared_from_this(), keys, each, then](const etcd::Outcome<etcd::RangeResult>& outcome) {
                    if (!outcome) return self->done_(fail(outcome.error().to_error()));
                    for (const auto& kv : outcome->kvs) each(*self, kv);
                    if (!outcome->more || outcome->kvs.empty()) return then(*self);
                    auto rest = keys;
                    rest.key = outcome->kvs.back().key + '\0';
                    self->next(std::move(rest), each, then);
                  });
  }
  // What makes no sense is nobody's word.
  void take_alive(const etcd::KeyValue& kv) {
    const auto key = keys_.parse_as<cluster::AliveKey>(kv.key);
    const auto run = cluster::decode_incarnation(kv.key, kv.value);
    if (key && run) view_.set_alive(key->node, run->boot_id, now_);
  }
  void take_enforcement(const etcd::KeyValue& kv) {
    const auto key = keys_.parse_as<cluster::EnforcementKey>(kv.key);
    const auto told = cluster::decode_enforcement(kv.key, kv.value);
    if (key && told) view_.set(key->node, *told, now_);
  }

  etcd::Client& client_;
  cluster::Keyspace keys_;
  EnforcementView::Time now_;
  Done done_;
  EnforcementView view_{std::chrono::milliseconds(-1)};
};

}  // namespace

std::uint64_t Agent::policies_seen() const {
  if (kubernetes_) return kubernetes_->objects().policies_seen();
  return cluster_objects_ ? cluster_objects_->policies_seen() : 0;
}

std::uint64_t Agent::revision_of(const model::ObjectKey& policy) const {
  const store::StoredKey key{model::Kind::network_policy, policy};
  if (!kubernetes_) return cluster_objects_ ? cluster_objects_->revision_of(key) : 0;
  const auto version = kubernetes_->objects().version_of(key);
  std::uint64_t number = 0;
  std::from_chars(version.data(), version.data() + version.size(), number);
  return number;
}

std::map<model::ObjectKey, std::string> Agent::misread_policies() const {
  std::map<model::ObjectKey, std::string> policies;
  if (!kubernetes_) return policies;
  for (const auto& [key, why] : kubernetes_->objects().misunderstood())
    if (key.kind == model::Kind::network_policy)
      policies.emplace(key.key, fmt::format("this version of Weft cannot read it: {}; {}", why,
                                            kubernetes_->objects().closes(key)
                                                ? "it isolates the pods that it selects and allows them nothing"
                                                : "what was there before stays in force"));
  return policies;
}

void Agent::tell_enforcement() {
  if (!taken_over_) return;
  // In a cluster nothing is told before it is known what there is: what an earlier run told holds.
  if (cluster_ && policies_seen() == 0) return;
  EnforcementReport::State state{.compiles = publisher_->compiles(),
                                 .written = datapath_->tables().retry(),
                                 .seen = policies_seen(),
                                 .misread = misread_policies()};
  for (const auto* about : {"publish", "cluster objects"})
    if (const auto fault = faults_.texts().find(about); fault != faults_.texts().end() && state.trouble.empty())
      state.trouble = fault->second;
  if (!state.written && state.trouble.empty()) state.trouble = datapath_->tables().status().last_error;
  if (!enforcement_report_.is_due(state)) return;
  enforcement_ = enforcement_report_.make(*objects_, compiled(), std::move(state));
  if (cluster_) cluster_->tell(enforcement_);
}

json Agent::policy_status_json(const EnforcementView& view, const model::ObjectKey& wanted) const {
  const auto now = etcd::Scheduler::Time::clock::now();
  auto items = json::array();
  for (const auto& [key, policy] : objects_->policies()) {
    if (!wanted.namespace_.empty() && key.namespace_ != wanted.namespace_) continue;
    if (!wanted.name.empty() && key.name != wanted.name) continue;
    const auto version = policy_version(policy);
    const auto judged = view.judge(
        {.name = {key.namespace_, key.name}, .uid = policy.meta.uid, .version = version, .revision = revision_of(key)},
        now);
    auto behind = json::array();
    for (const auto& one : judged.behind)
      behind.push_back({{"node", one.node},
                        {"version", one.version.empty() ? "" : one.version.to_string()},
                        {"reason", one.reason}});
    items.push_back({{"namespace", key.namespace_},
                     {"name", key.name},
                     {"version", version.to_string()},
                     {"state", word_of(judged.verdict)},
                     {"selected", judged.selected},
                     {"enforcing", judged.enforcing},
                     {"behind", std::move(behind)}});
  }
  return items;
}

void Agent::policy_status(const json& params, const api::Responder& responder) {
  const auto space = api::optional_text(params, "namespace");
  const auto name = api::optional_text(params, "name");
  if (!space || !name) return responder.answer(weft::fail(space ? name.error() : space.error()));
  const model::ObjectKey wanted{*space, *name};
  const auto answer = [this, wanted, responder](const EnforcementView& view) {
    auto items = policy_status_json(view, wanted);
    if (items.empty() && !wanted.name.empty())
      return responder.answer(weft::fail(ErrorCode::not_found,
                                         fmt::format("there is no NetworkPolicy {}", wanted.to_string()),
                                         "weft policy list shows those that there are"));
    responder.answer(json{{"items", std::move(items)}});
  };
  tell_enforcement();
  if (!cluster_) {
    EnforcementView view;
    view.set_alive(config_.node, std::string(), {});
    view.set(config_.node, enforcement_, {});
    return answer(view);
  }
  const auto reading =
      std::make_shared<Reading>(cluster_->client(), cluster::Keyspace::make(config_.cluster).value(),
                                cluster_->scheduler().now(), [answer, responder](Result<EnforcementView> view) {
                                  if (!view)
                                    return responder.answer(weft::fail(view.error().in("asking what nodes enforce")));
                                  answer(*view);
                                });
  reading->begin();
}

}  // namespace weft::agent
