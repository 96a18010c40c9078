// API: apply and delete. Documents are read off the loop when they are long; all else, from the first look at the
// tables to the answer, is one turn of it.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "agent/agent.h"
#include "agent/object_names.h"
#include "agent/refusals.h"
#include "agent/target_ports.h"
#include "api/params.h"
#include "sources/etcd/grpc_client.h"

namespace weft::agent {
namespace {

using nlohmann::json;

// Read in a few milliseconds: not worth waiting for those that are longer.
constexpr std::size_t short_text = 16 * 1024;
// Reading a large document takes many times its size.
constexpr std::size_t large_text = 128 * 1024;

json problem_json(const model::Problem& problem) {
  return {{"file", problem.file}, {"line", problem.line},       {"column", problem.column},
          {"path", problem.path}, {"message", problem.message}, {"text", problem.to_string()}};
}

json problems_json(const std::vector<model::Problem>& problems) {
  auto list = json::array();
  for (const auto& problem : problems) list.push_back(problem_json(problem));
  return list;
}

std::string_view action_word(Objects::Action action) {
  switch (action) {
    case Objects::Action::created:
      return "created";
    case Objects::Action::configured:
      return "configured";
    case Objects::Action::unchanged:
      break;
  }
  return "unchanged";
}

void add_applied(json& result, const std::vector<model::Document>& documents,
                 const std::vector<Objects::Action>& actions) {
  for (std::size_t i = 0; i < actions.size(); ++i) {
    auto entry = identity_json(key_of(documents[i].object));
    entry["action"] = action_word(actions[i]);
    result["applied"].push_back(std::move(entry));
  }
}

// All documents of a request; params.documents is [{file, text}].
Result<model::ParseOutcome> parse_documents(const json& params) {
  model::ParseOutcome all;
  if (!params.contains("documents") || !params["documents"].is_array())
    return weft::fail(ErrorCode::invalid, "documents: expected a list of {file, text}");
  for (const auto& document : params["documents"]) {
    WEFT_TRY(const auto file, api::required_text(document, "file"));
    WEFT_TRY(const auto text, api::optional_text(document, "text"));
    auto outcome = model::parse_manifests(file, text);
    std::ranges::move(outcome.documents, std::back_inserter(all.documents));
    std::ranges::move(outcome.problems, std::back_inserter(all.problems));
    std::ranges::move(outcome.warnings, std::back_inserter(all.warnings));
  }
  return all;
}

std::size_t text_bytes(const json& params) {
  std::size_t size = 0;
  if (params.contains("documents") && params["documents"].is_array())
    for (const auto& document : params["documents"])
      if (document.is_object() && document.contains("text") && document["text"].is_string())
        size += document["text"].get_ref<const std::string&>().size();
  return size;
}

// The same object twice in one request: the last one counts, as if applied one after the other.
void keep_last(std::vector<model::Document>& documents) {
  std::map<store::StoredKey, std::size_t> last;
  for (std::size_t i = 0; i < documents.size(); ++i) last[key_of(documents[i].object)] = i;
  std::vector<model::Document> kept;
  for (std::size_t i = 0; i < documents.size(); ++i)
    if (last[key_of(documents[i].object)] == i) kept.push_back(std::move(documents[i]));
  documents = std::move(kept);
}

api::ApiError refusal(const std::vector<model::Problem>& problems, const std::vector<model::Problem>& warnings) {
  return {{ErrorCode::invalid,
           fmt::format("{} problem{} found, nothing was applied", problems.size(), problems.size() == 1 ? "" : "s"),
           "correct the documents, or apply the good ones with --no-all-or-nothing"},
          {{"problems", problems_json(problems)}, {"warnings", problems_json(warnings)}}};
}

// Documents by which something is to be deleted: an error when one of them is bad.
api::Answer refused_documents(const model::ParseOutcome& outcome) {
  if (outcome.problems.empty()) return json();
  return weft::fail(
      api::ApiError({ErrorCode::invalid, "nothing was deleted", {}}, {{"problems", problems_json(outcome.problems)}}));
}

// All of a request that needs no look at what the agent holds.
Result<model::ParseOutcome> read(const json& params) {
  try {
    WEFT_TRY(auto outcome, parse_documents(params));
    keep_last(outcome.documents);
    for (auto& document : outcome.documents) Objects::prepare(document);
    return outcome;
  } catch (const std::exception& error) {
    return weft::fail(ErrorCode::internal, fmt::format("reading the documents: {}", error.what()));
  }
}

}  // namespace

void Agent::register_objects() {
  server_->handle_async("apply", [this](json params, const api::Responder& responder) {
    with_documents(std::move(params), responder,
                   [this](const json& rest, model::ParseOutcome outcome, const api::Responder& to) {
                     if (kubernetes_) return to.answer(weft::fail(not_here()));
                     if (cluster_objects_) return apply_in_cluster(rest, std::move(outcome), to);
                     to.answer_by([&] { return apply_objects(rest, std::move(outcome)); });
                   });
  });
  server_->handle_async("delete", [this](json params, const api::Responder& responder) {
    const auto delete_keys = [this](const api::Answer& refused, std::vector<store::StoredKey> keys,
                                    const api::Responder& to) {
      if (!refused) return to.answer(refused);
      if (kubernetes_) return to.answer(weft::fail(not_here()));
      if (cluster_objects_) return delete_in_cluster(keys, to);
      to.answer_by([&] { return delete_objects(keys); });
    };
    if (!params.contains("documents")) {
      const auto keys = named_keys(params);
      return delete_keys(keys ? api::Answer(json()) : api::Answer(weft::fail(keys.error())),
                         keys.value_or(std::vector<store::StoredKey>()), responder);
    }
    with_documents(std::move(params), responder,
                   [delete_keys](const json&, const model::ParseOutcome& outcome, const api::Responder& to) {
                     std::vector<store::StoredKey> keys;
                     for (const auto& document : outcome.documents) keys.push_back(key_of(document.object));
                     delete_keys(refused_documents(outcome), std::move(keys), to);
                   });
  });
  server_->handle("get", [this](const json& params) { return get_objects(params); });
  server_->handle_stream("watch",
                         [this](const json& params, const api::Stream& stream) { watch_objects(params, stream); });
}

void Agent::with_documents(json params, const api::Responder& responder, Apply apply) {
  const auto size = text_bytes(params);
  const auto pass_on = [](const api::Responder& to, const Apply& run, const json& rest,
                          Result<model::ParseOutcome> outcome) {
    if (!outcome) return to.answer(weft::fail(outcome.error()));
    run(rest, std::move(*outcome), to);
  };
  if (size < short_text) return pass_on(responder, apply, params, read(params));
  background_->run([=, this, params = std::move(params), responder = responder,
                    apply = std::move(apply)]() mutable -> Background::Done {
    auto outcome = read(params);
    params.erase("documents");
    return [=, this, params = std::move(params), responder = std::move(responder), apply = std::move(apply),
            outcome = std::move(outcome)]() mutable {
      pass_on(responder, apply, params, std::move(outcome));
      if (size >= large_text) trim_owed_ = true;  // the thread's part of the heap is not yet free
    };
  });
}

// What only the whole node can refuse: addresses and ports. Refused documents leave `documents`.
std::vector<model::Problem> Agent::admit(std::vector<model::Document>& documents) {
  return take_refused(documents, publisher_->admit(documents));
}

api::Answer Agent::apply_objects(const json& params, model::ParseOutcome outcome) {
  WEFT_TRY(const auto all_or_nothing, api::optional_bool(params, "all_or_nothing", true));
  WEFT_TRY(const auto dry_run, api::optional_bool(params, "dry_run", false));
  const auto before = publisher_->held(outcome.documents);
  std::ranges::move(admit(outcome.documents), std::back_inserter(outcome.problems));
  json result{{"applied", json::array()},
              {"problems", problems_json(outcome.problems)},
              {"warnings", problems_json(outcome.warnings)}};
  if (!outcome.problems.empty() && all_or_nothing) {
    publisher_->give_back(before);
    return weft::fail(refusal(outcome.problems, outcome.warnings));
  }
  if (dry_run) {
    publisher_->give_back(before);
    WEFT_TRY(const auto actions, objects_->plan(outcome.documents));
    add_applied(result, outcome.documents, actions);
    return result;
  }
  return commit(outcome.documents, before, std::move(result));
}

// Stores and publishes what was admitted; when it is refused, everything is as it was, the Services'
// addresses and ports as in `before`.
api::Answer Agent::commit(const std::vector<model::Document>& documents, const Publisher::Held& before, json result) {
  publisher_->set_records(attachment_->records());
  WEFT_TRY(const auto applied, publisher_->apply(documents, before));
  tell_services_fault();
  enrichment_stale_ = true;
  serve_outside();
  duties_->refresh();
  refresh_bgp();
  tend_egress();
  if (applied.owed) spdlog::warn("{}", applied.owed->message);  // told by the status while it lasts
  WEFT_CHECK(publisher_->store_numbers(true));
  WEFT_CHECK(store_->flush());  // enforced first, on the disk before the user is told
  warn_of_targets(documents, result["warnings"]);
  add_applied(result, documents, applied.actions);
  return result;
}

// Names of container ports that no pod has; the pods of the same request are known by now.
void Agent::warn_of_targets(const std::vector<model::Document>& documents, json& warnings) const {
  for (const auto& document : documents) {
    const auto* service = std::get_if<model::Service>(&document.object);
    if (service == nullptr || !services().slices_of(service->meta.key()).empty()) continue;
    for (const auto& missing : missing_targets(*service, objects_->pods()))
      warnings.push_back(
          problem_json(document.refused(fmt::format("spec.ports[{}].targetPort: {}", missing.port, missing.text))));
  }
}

Result<std::vector<store::StoredKey>> Agent::named_keys(const json& params) {
  WEFT_TRY(const auto word, api::required_text(params, "kind"));
  WEFT_TRY(const auto kind, model::parse_kind(word));
  WEFT_TRY(const auto name, api::required_text(params, "name"));
  WEFT_TRY(const auto space, api::optional_text(params, "namespace", "default"));
  return std::vector<store::StoredKey>{{kind,
                                        {!model::has_namespace(kind) ? ""
                                         : space.empty()             ? "default"
                                                                     : space,
                                         name}}};
}

// Those of them that are there, and what goes with a namespace.
Result<Agent::Doomed> Agent::doomed(const std::vector<store::StoredKey>& keys) const {
  Doomed result;
  result.deleted = json::array();
  std::vector<store::StoredKey> present;
  for (const auto& key : keys) {
    WEFT_TRY(const bool known, objects_->contains(key));
    if (known) {
      present.push_back(key);
      result.deleted.push_back(identity_json(key));
    } else if (key.kind == model::Kind::pod && objects_->pod(key.key) != nullptr) {
      return weft::fail(
          ErrorCode::invalid,
          fmt::format("pod {} belongs to Deployment {}", key.key.to_string(), objects_->pod(key.key)->workload),
          "delete the Deployment, or apply it with fewer replicas");
    }
  }
  if (present.empty())
    return weft::fail(ErrorCode::not_found, keys.size() == 1 ? fmt::format("no {} {}", model::to_string(keys[0].kind),
                                                                           keys[0].key.to_string())
                                                             : "none of the objects exists");
  // Deleting a namespace takes what is in it, as Kubernetes does.
  result.keys.insert(present.begin(), present.end());
  for (const auto& key : present)
    if (key.kind == model::Kind::namespace_)
      for (const auto kind : all_kinds) {
        if (!model::has_namespace(kind)) continue;
        WEFT_TRY(const auto others, objects_->keys(kind, key.key.name));
        for (const auto& other : others)
          if (result.keys.insert(other).second) result.deleted.push_back(identity_json(other));
      }
  return result;
}

api::Answer Agent::delete_objects(const std::vector<store::StoredKey>& keys) {
  WEFT_TRY(auto gone, doomed(keys));
  publisher_->set_records(attachment_->records());
  WEFT_TRY(const auto owed, publisher_->remove({gone.keys.begin(), gone.keys.end()}));
  tell_services_fault();
  enrichment_stale_ = true;
  duties_->refresh();
  refresh_bgp();
  tend_egress();
  if (owed) spdlog::warn("{}", owed->message);
  WEFT_CHECK(publisher_->store_numbers(true));
  WEFT_CHECK(store_->flush());
  return json{{"deleted", std::move(gone.deleted)}};
}

// --- Store: etcd ---------------------------------------------------------------------------------

void Agent::open_cluster_objects() {
  cluster_objects_ = std::make_unique<ClusterObjects>(
      ClusterObjects::Parts{.context = {.client = cluster_->client(),
                                        .scheduler = cluster_->scheduler(),
                                        .random = etcd::system_random(),
                                        .keys = cluster::Keyspace::make(config_.cluster).value()},
                            .node = config_.node,
                            .etcd = fmt::format("{}", fmt::join(config_.etcd_endpoints, ", ")),
                            .objects = *objects_,
                            .publisher = *publisher_},
      ClusterObjects::Handlers{
          .intake = intake_handlers("what the cluster has"),
          .serves = [this] { return cluster_->member().role().holds().has_value(); },
          .note = [this](const std::string& text) { note(text); },
          .misunderstood =
              [this](const std::map<std::string, Fault>& faults) { faults_.replace("misunderstood", faults); }});
}

Intake::Handlers Agent::intake_handlers(std::string what) {
  return {.publish = [this](Publisher::Changed changed) { return publish_brought(changed); },
          .fault =
              [this, what = std::move(what)](const std::string& text) {
                text.empty() ? faults_.clear("cluster objects") : faults_.set("cluster objects", what + ": " + text);
              }};
}

Result<void> Agent::publish_brought(Publisher::Changed changed) {
  if (!taken_over_) return {};  // which publishes all
  publisher_->set_records(attachment_->records());
  auto published = publisher_->publish_brought(changed);
  tell_services_fault();
  enrichment_stale_ = true;
  serve_outside();
  duties_->refresh();
  refresh_bgp();
  if (published) tell_endpoints();
  if (published) tend_egress();
  if (auto stored = publisher_->store_numbers(false); !stored) note(stored.error().message);
  return published;
}

void Agent::apply_in_cluster(const json& params, model::ParseOutcome outcome, const api::Responder& responder) {
  const auto all_or_nothing = api::optional_bool(params, "all_or_nothing", true);
  const auto dry_run = api::optional_bool(params, "dry_run", false);
  if (!all_or_nothing || !dry_run)
    return responder.answer(weft::fail(all_or_nothing ? dry_run.error() : all_or_nothing.error()));
  if (*dry_run) return responder.answer_by([&] { return apply_objects(params, std::move(outcome)); });
  cluster_objects_->apply(
      std::move(outcome.documents), std::move(outcome.problems), *all_or_nothing,
      [this, responder, warnings = std::move(outcome.warnings)](const Result<ClusterObjects::Applied>& applied) {
        responder.answer_by([&]() -> api::Answer {
          if (!applied) return weft::fail(applied.error());
          if (applied->refused) return weft::fail(refusal(applied->problems, warnings));
          json result{{"applied", json::array()},
                      {"problems", problems_json(applied->problems)},
                      {"warnings", problems_json(warnings)}};
          warn_of_targets(applied->documents, result["warnings"]);
          add_applied(result, applied->documents, applied->actions);
          return result;
        });
      });
}

void Agent::delete_in_cluster(const std::vector<store::StoredKey>& keys, const api::Responder& responder) {
  auto gone = doomed(keys);
  if (!gone) return responder.answer(weft::fail(gone.error()));
  cluster_objects_->remove({gone->keys.begin(), gone->keys.end()},
                           [responder, deleted = std::move(gone->deleted)](const Result<void>& removed) {
                             if (!removed) return responder.answer(weft::fail(removed.error()));
                             responder.answer(json{{"deleted", deleted}});
                           });
}

void Agent::push_store(const json& params, const api::Responder& responder) {
  const auto none = api::optional_bool(params, "none", false);
  if (!none) return responder.answer(weft::fail(none.error()));
  cluster_objects_->push(*none, [responder](const Result<std::size_t>& pushed) {
    if (!pushed) return responder.answer(weft::fail(pushed.error()));
    responder.answer(json{{"objects", *pushed}});
  });
}

}  // namespace weft::agent
