#include "install/cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <csignal>
#include <functional>
#include <optional>
#include <utility>

#include "sources/kubernetes/http.h"
#include "sources/kubernetes/writer.h"

namespace weft::install {

using kubernetes::Failure;
using kubernetes::Reason;
using nlohmann::json;
using std::chrono::milliseconds;

namespace {

constexpr int most_tries = 5;
// Who looks at a terminal wants to know by then why nothing happens.
constexpr milliseconds a_moment{1500};
// Of all tries of a request that nobody answers.
constexpr std::chrono::seconds patience{20};
constexpr const char* page = "limit=500";

struct Kind {
  std::string_view api_version;
  std::string_view kind;
  std::string_view plural;
};
constexpr std::array kinds{
    Kind{"v1", "Namespace", "namespaces"},
    Kind{"v1", "ServiceAccount", "serviceaccounts"},
    Kind{"v1", "ConfigMap", "configmaps"},
    Kind{"v1", "Pod", "pods"},
    Kind{"v1", "Service", "services"},
    Kind{"apps/v1", "DaemonSet", "daemonsets"},
    Kind{"apps/v1", "Deployment", "deployments"},
    Kind{"policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"},
    Kind{"networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"},
    Kind{"rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles"},
    Kind{"rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings"},
    Kind{"rbac.authorization.k8s.io/v1", "Role", "roles"},
    Kind{"rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"},
    Kind{"admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies"},
    Kind{"admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"},
    Kind{"apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions"},
};

const json* find(const json& object, const char* pointer) {
  const json::json_pointer place(pointer);
  return object.is_structured() && object.contains(place) ? &object.at(place) : nullptr;
}

}  // namespace

struct Cluster::State {
  asio::io_context loop{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{loop.get_executor()};
  asio::signal_set signals{loop, SIGINT, SIGTERM};
  std::string name;
  bool interrupted = false;
  std::function<void(const std::string&)> tell_silence;
  bool silence_told = false;
  std::unique_ptr<kubernetes::Http> http;
  std::optional<kubernetes::Writer> writer;

  void begin() {
    writer.emplace(*http, kubernetes::WriterOptions{.field_manager = "weft-install", .timeout = patience});
  }

  template <class Start>
  Outcome<json> once(const Start& start) {
    std::optional<Outcome<std::string>> answer;
    start(*writer, [&](Outcome<std::string> outcome) { answer.emplace(std::move(outcome)); });
    // Its handler names only this.
    asio::steady_timer silence(loop, a_moment);
    silence.async_wait([this](const std::error_code& error) {
      if (error || silence_told || !tell_silence) return;
      silence_told = true;
      tell_silence(fmt::format("waiting for an answer of {}, for {} s at most", name, patience.count()));
    });
    while (!answer && !interrupted) loop.run_one();
    if (answer && *answer) silence_told = false;
    if (!answer) {
      writer.reset();  // nothing is called for it any more
      begin();
      return kubernetes::failed(Reason::unavailable, "interrupted");
    }
    if (!*answer) return std::unexpected(answer->error());
    auto parsed = json::parse(**answer, nullptr, false);
    if (parsed.is_discarded()) return kubernetes::failed(Reason::internal, "the answer of " + name + " is no JSON");
    return parsed;
  }

  // Again after a while where that is no harm.
  template <class Start>
  Outcome<json> ask(const Start& start, bool repeatable, Cluster& cluster) {
    milliseconds wait(500);
    const auto until = std::chrono::steady_clock::now() + patience;
    for (int tried = 1;; ++tried) {
      if (interrupted) return kubernetes::failed(Reason::unavailable, "interrupted");
      auto answer = once(start);
      if (answer || tried == most_tries || !answer.error().transient() || (answer.error().unsure && !repeatable))
        return answer;
      // Nobody listens there: that is not a matter of moments, but for a server that starts anew.
      if (answer.error().reason == Reason::unavailable && tried >= 3) return answer;
      if (std::chrono::steady_clock::now() + wait >= until) return answer;
      cluster.pause(std::max(wait, answer.error().retry_after));
      wait *= 2;
    }
  }
};

Cluster::Cluster(std::unique_ptr<State> state) : state_(std::move(state)) {}
Cluster::~Cluster() = default;

Result<std::unique_ptr<Cluster>> Cluster::connect(kubernetes::Access access) {
  auto state = std::make_unique<State>();
  state->name = fmt::format("{}, {}", access.servers.empty() ? "" : access.servers.front(), access.origin);
  WEFT_TRY(state->http, kubernetes::make_http(state->loop, std::move(access), {.user_agent = "weft-cli"}));
  state->begin();
  state->signals.async_wait([raw = state.get()](const std::error_code& error, int) {
    if (error) return;
    raw->interrupted = true;
    raw->signals.clear();  // the next one ends the program
  });
  return std::unique_ptr<Cluster>(new Cluster(std::move(state)));
}

std::string Cluster::name() const { return state_->name; }
bool Cluster::interrupted() const { return state_->interrupted; }
void Cluster::resume() { state_->interrupted = false; }
void Cluster::interrupt() { state_->interrupted = true; }

bool Cluster::pause(milliseconds time) {
  asio::steady_timer timer(state_->loop, time);
  bool over = false;
  timer.async_wait([&](const std::error_code& error) { over = !error || over; });
  while (!over && !state_->interrupted) state_->loop.run_one();
  if (over) return true;
  timer.cancel();
  state_->loop.poll();  // its handler names what lies on this stack
  return false;
}

Outcome<json> Cluster::get(const std::string& path) {
  return state_->ask([&](auto& writer, auto done) { writer.get(path, std::move(done)); }, true, *this);
}

Outcome<std::vector<json>> Cluster::list(const std::string& collection, const std::string& query) {
  std::vector<json> items;
  std::string more;
  do {
    auto target = fmt::format("{}?{}{}{}", collection, page, query.empty() ? "" : "&", query);
    if (!more.empty()) target += "&continue=" + kubernetes::escape(more);
    auto answer = get(target);
    if (!answer) return std::unexpected(std::move(answer.error()));
    for (auto& item : (*answer)["items"]) items.push_back(std::move(item));
    more = text_at(*answer, "/metadata/continue");
  } while (!more.empty());
  return items;
}

Outcome<json> Cluster::create(const std::string& collection, const json& object) {
  return state_->ask([&](auto& writer, auto done) { writer.create(collection, object.dump(), std::move(done)); }, false,
                     *this);
}

Outcome<json> Cluster::apply(const json& object, bool force) {
  const auto path = path_of(object);
  return state_->ask([&](auto& writer, auto done) { writer.apply(path, object.dump(), force, std::move(done)); }, true,
                     *this);
}

Outcome<json> Cluster::merge_patch(const std::string& path, const json& patch) {
  return state_->ask([&](auto& writer, auto done) { writer.merge_patch(path, patch.dump(), std::move(done)); }, true,
                     *this);
}

void Cluster::when_silent(std::function<void(const std::string&)> tell) { state_->tell_silence = std::move(tell); }

Outcome<bool> Cluster::erase(const std::string& path, bool at_once) {
  // Without a policy some resources (Jobs) leave behind what belongs to them.
  const auto target = path + "?propagationPolicy=Background" + (at_once ? "&gracePeriodSeconds=0" : "");
  const auto answer =
      state_->ask([&](auto& writer, auto done) { writer.erase(target, {}, std::move(done)); }, true, *this);
  if (answer) return true;
  if (answer.error().reason == Reason::not_found) return false;
  return std::unexpected(answer.error());
}

std::string collection_of(const json& object) {
  const auto version = object.value("apiVersion", "");
  const auto kind = object.value("kind", "");
  const auto found =
      std::ranges::find_if(kinds, [&](const Kind& one) { return one.api_version == version && one.kind == kind; });
  const auto plural = found == kinds.end() ? std::string_view("unknown") : found->plural;
  const auto space = text_at(object, "/metadata/namespace");
  return fmt::format("/{}/{}/{}{}{}{}", version.find('/') == std::string::npos ? "api" : "apis", version,
                     space.empty() ? "" : "namespaces/", space, space.empty() ? "" : "/", plural);
}

std::string path_of(const json& object) { return collection_of(object) + "/" + text_at(object, "/metadata/name"); }

std::string text_at(const json& object, const char* pointer) {
  const auto* found = find(object, pointer);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string();
}

std::int64_t number_at(const json& object, const char* pointer) {
  const auto* found = find(object, pointer);
  return found != nullptr && found->is_number() ? found->get<std::int64_t>() : 0;
}

const json& list_at(const json& object, const char* pointer) {
  static const json none = json::array();
  const auto* found = find(object, pointer);
  return found != nullptr && found->is_array() ? *found : none;
}

const json* condition(const json& object, std::string_view type) {
  const auto& all = list_at(object, "/status/conditions");
  const auto found = std::ranges::find_if(all, [&](const json& one) { return text_at(one, "/type") == type; });
  return found == all.end() ? nullptr : &*found;
}

bool is_true(const json& object, std::string_view type) {
  const auto* one = condition(object, type);
  return one != nullptr && text_at(*one, "/status") == "True";
}

}  // namespace weft::install
