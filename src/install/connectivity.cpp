#include "install/connectivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "chart/chart.h"
#include "install/install.h"

namespace weft::install {

using kubernetes::Reason;
using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr milliseconds look_again{300};
constexpr const char* managed_by = "weft-connectivity-test";

const std::string space_path = fmt::format("/api/v1/namespaces/{}", test_namespace);
const std::string pods_path = space_path + "/pods";

std::unexpected<Error> interrupted() { return fail(ErrorCode::exhausted, "interrupted"); }

bool takes_pods(const json& node) {
  const bool ready = std::ranges::any_of(list_at(node, "/status/conditions"), [](const json& one) {
    return text_at(one, "/type") == "Ready" && text_at(one, "/status") == "True";
  });
  const auto system = text_at(node, "/metadata/labels/kubernetes.io~1os");
  const auto& spec = node.contains("spec") ? node["spec"] : json::object();
  return ready && (system.empty() || system == "linux") && !spec.value("unschedulable", false);
}

std::vector<std::string> values_at(const json& object, const char* list, const char* member) {
  std::vector<std::string> values;
  for (const auto& item : list_at(object, list)) {
    auto value = member == nullptr ? item.get<std::string>() : text_at(item, member);
    if (!value.empty() && value != "None") values.push_back(std::move(value));
  }
  return values;
}

TestNode test_node(const json& node) {
  TestNode result{.name = text_at(node, "/metadata/name"), .addresses = {}};
  for (const auto& address : list_at(node, "/status/addresses"))
    if (text_at(address, "/type") == "InternalIP") result.addresses.push_back(text_at(address, "/address"));
  return result;
}

class Test {
 public:
  Test(Cluster& cluster, const TestOptions& options, const Progress& progress,
       const std::function<void(const CheckResult&)>& tell)
      : cluster_(cluster), options_(options), progress_(progress), tell_(tell) {}

  Result<std::vector<CheckResult>> run() {
    WEFT_CHECK(look_around());
    WEFT_CHECK(remove_namespace(true));
    auto done = try_all();
    const bool stopped = cluster_.interrupted();
    if (!options_.keep || stopped) {
      cluster_.resume();
      auto gone = remove_namespace(false);
      if (done && !gone) return fail(gone.error());
    }
    if (stopped) return fail(ErrorCode::exhausted, "interrupted; what the test made is deleted");
    if (!done) return fail(done.error());
    return std::move(results_);
  }

 private:
  Result<void> look_around() {
    const auto nodes = cluster_.list("/api/v1/nodes");
    if (!nodes) return fail(explain(nodes.error(), "nodes could not be listed"));
    std::vector<TestNode> good;
    for (const auto& node : *nodes)
      if (takes_pods(node)) good.push_back(test_node(node));
    if (good.empty())
      return fail(ErrorCode::not_found, fmt::format("none of {} nodes is ready for pods", nodes->size()),
                  "weft status --kubernetes says why");
    around_.here = good[0];
    if (good.size() > 1) around_.there = good[1];
    around_.image = options_.image.empty() ? image_of_agents() : options_.image;
    around_.outside = options_.outside;
    const auto dns = cluster_.get("/api/v1/namespaces/kube-system/services/kube-dns");
    around_.dns = dns.has_value();
    if (const auto api = cluster_.get("/api/v1/namespaces/default/services/kubernetes"))
      served_.api = values_at(*api, "/spec/clusterIPs", nullptr);
    return {};
  }

  std::string image_of_agents() {
    const auto set = cluster_.get(fmt::format("/apis/apps/v1/namespaces/{}/daemonsets/weft", chart::weft_namespace));
    const auto image = set ? text_at(*set, "/spec/template/spec/containers/0/image") : std::string();
    if (set) around_.pull_policy = text_at(*set, "/spec/template/spec/containers/0/imagePullPolicy");
    if (around_.pull_policy.empty()) around_.pull_policy = "IfNotPresent";
    return image.empty() ? chart::image_of(chart::default_values()) : image;
  }

  // `before`: of a test that did not come to its end.
  Result<void> remove_namespace(bool before) {
    const auto there = cluster_.get(space_path);
    if (!there && there.error().reason == Reason::not_found) return {};
    if (!there) return fail(explain(there.error(), "the test's namespace could not be read"));
    if (text_at(*there, "/metadata/labels/app.kubernetes.io~1managed-by") != managed_by)
      return fail(ErrorCode::exists,
                  fmt::format("there is a namespace {} which this test has not made", test_namespace),
                  "delete it, or rename it");
    if (before) progress_(fmt::format("an earlier test left {}, which is deleted first", test_namespace));
    if (const auto gone = cluster_.erase(space_path); !gone)
      return fail(explain(gone.error(), "the test's namespace could not be deleted"));
    const auto until = steady_clock::now() + options_.timeout;
    while (true) {
      const auto still = cluster_.get(space_path);
      if (!still && still.error().reason == Reason::not_found) return {};
      if (steady_clock::now() >= until)
        return fail(ErrorCode::exhausted,
                    fmt::format("the namespace {} is still there after {} s", test_namespace, options_.timeout.count()),
                    "kubectl get namespace " + std::string(test_namespace) + " -o yaml says what holds it");
      if (!cluster_.pause(look_again)) return interrupted();
    }
  }

  Result<void> try_all() {
    progress_(fmt::format("on {}{}{}, with the image {}", around_.here.name, around_.there.name.empty() ? "" : " and ",
                          around_.there.name, around_.image));
    for (const auto& object : test_objects(around_)) WEFT_CHECK(create(object));
    WEFT_CHECK(wait_for_servers());
    std::vector<Skipped> skipped;
    const auto clients = test_clients(around_, served_, skipped);
    for (const auto& client : clients) WEFT_CHECK(create(client_pod(around_, client)));
    WEFT_CHECK(wait_for_clients(clients));
    for (const auto& [name, why] : skipped) add({.state = CheckResult::State::skipped, .name = name, .saw = why});
    return {};
  }

  // A namespace's account, which its pods need, comes a moment after it.
  Result<void> create(const json& object) {
    const auto until = steady_clock::now() + std::chrono::seconds(20);
    while (true) {
      const auto made = cluster_.create(collection_of(object), object);
      if (made || made.error().reason == Reason::exists) return {};
      const bool early = made.error().message.find("service account") != std::string::npos ||
                         made.error().message.find("serviceaccount") != std::string::npos;
      if (!early || steady_clock::now() >= until)
        return fail(explain(made.error(), chart::name_of(object) + " could not be made"));
      if (!cluster_.pause(look_again)) return interrupted();
    }
  }

  Result<std::map<std::string, json>> pods() {
    const auto all = cluster_.list(pods_path);
    if (!all) return fail(explain(all.error(), "the test's pods could not be listed"));
    std::map<std::string, json> by_name;
    for (const auto& pod : *all) by_name[text_at(pod, "/metadata/name")] = pod;
    return by_name;
  }

  Result<void> wait_for_servers() {
    const auto until = steady_clock::now() + options_.timeout;
    while (true) {
      WEFT_TRY(const auto all, pods());
      std::string missing;
      for (const auto& [name, pod] : all)
        if (text_at(pod, "/status/phase") != "Running" || values_at(pod, "/status/podIPs", "/ip").empty())
          missing += fmt::format("\n  {} on node {}: {}", name, text_at(pod, "/spec/nodeName"), reason_of(pod));
      if (missing.empty()) {
        const auto ips = [&](const char* name) {
          return all.contains(name) ? values_at(all.at(name), "/status/podIPs", "/ip") : std::vector<std::string>();
        };
        served_.here = ips("server-here");
        served_.there = ips("server-there");
        served_.guarded = ips("guarded");
        break;
      }
      if (steady_clock::now() >= until)
        return fail(
            ErrorCode::exhausted,
            fmt::format("pods of the test do not run after {} s:{}", options_.timeout.count(), missing),
            "a pod that cannot be attached says so in its events: kubectl describe pod; --keep leaves the test's pods");
      if (!cluster_.pause(look_again)) return interrupted();
    }
    const auto service = cluster_.get(space_path + "/services/server");
    if (!service) return fail(explain(service.error(), "the test's Service could not be read"));
    served_.service = values_at(*service, "/spec/clusterIPs", nullptr);
    served_.node_port = static_cast<std::uint16_t>(number_at(*service, "/spec/ports/0/nodePort"));
    return {};
  }

  std::string reason_of(const json& pod) {
    auto why = why_not_ready(pod);
    if (why.empty()) {
      const auto name = text_at(pod, "/metadata/name");
      for (const auto& event : cluster_.list(space_path + "/events").value_or(std::vector<json>()))
        if (text_at(event, "/involvedObject/name") == name && text_at(event, "/type") == "Warning")
          why = fmt::format("{}: {}", text_at(event, "/reason"), text_at(event, "/message"));
    }
    const auto phase = text_at(pod, "/status/phase");
    return why.empty() ? (phase.empty() ? "no kubelet has taken it" : "it is " + phase) : why;
  }

  Result<void> wait_for_clients(const std::vector<Client>& clients) {
    const auto until = steady_clock::now() + options_.timeout;
    std::map<std::string, const Client*> waited;
    for (const auto& client : clients) waited[client.name] = &client;
    while (!waited.empty()) {
      const bool last = steady_clock::now() >= until;
      WEFT_TRY(const auto all, pods());
      for (const auto& client : clients) {
        const auto pod = all.find(client.name);
        if (!waited.contains(client.name) || pod == all.end()) continue;
        const auto phase = text_at(pod->second, "/status/phase");
        if (phase != "Succeeded" && phase != "Failed" && !last) continue;
        take(client, pod->second, phase == "Succeeded");
        waited.erase(client.name);
      }
      if (last) break;
      if (!waited.empty() && !cluster_.pause(look_again)) return interrupted();
    }
    return {};
  }

  void take(const Client& client, const json& pod, bool ended) {
    const auto message = text_at(pod, "/status/containerStatuses/0/state/terminated/message");
    const auto results = results_from(message);
    const bool told = ended && results && results->size() == client.checks.size();
    for (std::size_t i = 0; i < client.checks.size(); ++i) {
      const auto& check = client.checks[i];
      const auto& probe = check.probe;
      CheckResult result{.state = CheckResult::State::failed,
                         .name = probe.name,
                         .from = check.from,
                         .to = probe.port == 0 ? probe.to : fmt::format("{} port {}", probe.to, probe.port),
                         .expected = probe.answers ? "an answer" : "no answer",
                         .saw = {},
                         .hint = check.hint};
      if (told) {
        result.saw = (*results)[i].saw;
        if ((*results)[i].good) result.state = CheckResult::State::good;
      } else {
        result.saw = fmt::format("the pod {} that asks has told nothing: {}", client.name, reason_of(pod));
      }
      if (result.state == CheckResult::State::good) result.hint.clear();
      add(std::move(result));
    }
  }

  void add(CheckResult result) {
    tell_(result);
    results_.push_back(std::move(result));
  }

  Cluster& cluster_;
  const TestOptions& options_;
  const Progress& progress_;
  const std::function<void(const CheckResult&)>& tell_;
  Surroundings around_;
  Served served_;
  std::vector<CheckResult> results_;
};

}  // namespace

Result<std::vector<CheckResult>> test_connectivity(Cluster& cluster, const TestOptions& options,
                                                   const Progress& progress,
                                                   const std::function<void(const CheckResult&)>& tell) {
  return Test(cluster, options, progress, tell).run();
}

}  // namespace weft::install
