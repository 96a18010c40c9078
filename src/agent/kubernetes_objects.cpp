#include "agent/kubernetes_objects.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/memory.h"
#include "agent/object_names.h"

namespace weft::agent {
namespace {

using kubernetes::Reason;

// The kubelet asks for a pod that it has heard of itself a moment ago.
constexpr auto patience = std::chrono::seconds(5);

// What kube-proxy leaves alone, too: another program's Services, and endpoints that nobody balances.
constexpr auto not_ours = "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless";

// The text of one object on its way from the reflector, which keeps what decoding made, to what is owed.
struct Carried {
  mutable std::unique_ptr<model::ApiObject> object;
  bool absent = false;  // as far as this node is concerned
  PodStatus pod;        // of a pod
  std::string closed;   // of a policy that cannot be read, why
};

std::string_view text_at(const simdjson::dom::element& object, const char* key) {
  std::string_view text;
  return object[key].get(text) == simdjson::SUCCESS ? text : std::string_view();
}

PodStatus pod_status(const kubernetes::Object& object) {
  PodStatus pod{.uid = std::string(object.meta.uid), .running = false, .host_network = false, .addresses = {}};
  simdjson::dom::element part;
  bool host = false;
  if (object.root["spec"]["hostNetwork"].get(host) == simdjson::SUCCESS) pod.host_network = host;
  const bool going = object.root["metadata"]["deletionTimestamp"].get(part) == simdjson::SUCCESS;
  if (object.root["status"].get(part) != simdjson::SUCCESS) return pod;
  pod.running = !going && text_at(part, "phase") == "Running";
  simdjson::dom::array addresses;
  if (part["podIPs"].get(addresses) != simdjson::SUCCESS) return pod;
  for (const auto& address : addresses)
    if (const auto parsed = IpAddress::parse(text_at(address, "ip"))) pod.addresses.push_back(*parsed);
  return pod;
}

store::StoredKey stored_key(model::Kind kind, std::string_view key) {
  const auto slash = key.find('/');
  if (slash == std::string_view::npos) return {kind, {"", std::string(key)}};
  return {kind, {std::string(key.substr(0, slash)), std::string(key.substr(slash + 1))}};
}

// Nothing is admitted here that could be refused: such addresses are passed over.
std::string without_external_ips(std::string_view text) {
  auto service = nlohmann::json::parse(text, nullptr, false);
  if (service.is_object() && service.contains("spec") && service["spec"].is_object())
    service["spec"].erase("externalIPs");
  return service.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// With the ranges that the operator has brought into what nodes claim blocks of; empty: it has none there.
std::string as_agreed(std::string_view text) {
  auto pool = nlohmann::json::parse(text, nullptr, false);
  static const nlohmann::json::json_pointer agreed("/status/cidrs");
  if (!pool.is_object() || !pool.contains(agreed) || !pool.at(agreed).is_array() || pool.at(agreed).empty()) return {};
  pool["spec"]["cidrs"] = pool.at(agreed);
  return pool.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// As the API server gave it out. Addresses of a load balancer are in its status, and served from there.
control::ServiceAssignment assignment_of(const model::Service& service) {
  control::ServiceAssignment held;
  held.cluster_ips = service.cluster_ips;
  for (const auto& port : service.ports)
    if (port.node_port != 0) held.node_ports[{port.port, port.protocol}] = port.node_port;
  held.health_check_port = service.health_check_node_port;
  return held;
}

}  // namespace

KubernetesObjects::KubernetesObjects(Parts parts, Handlers handlers)
    : parts_(std::move(parts)), handlers_(std::move(handlers)), intake_(parts_.publisher, handlers_.intake) {
  using model::Kind;
  follow(Kind::namespace_, "/api/v1/namespaces", "", "");
  follow(Kind::pod, "/api/v1/pods", "spec.nodeName=" + parts_.node, "");
  follow(Kind::service, "/api/v1/services", "", not_ours);
  follow(Kind::endpoint_slice, "/apis/discovery.k8s.io/v1/endpointslices", "", not_ours);
  follow(Kind::network_policy, "/apis/networking.k8s.io/v1/networkpolicies", "", "");
  for (const auto& [kind, plural] :
       {std::pair(Kind::load_balancer_pool, "loadbalancerpools"), std::pair(Kind::l2_announcement, "l2announcements"),
        std::pair(Kind::bgp_peering, "bgppeerings"), std::pair(Kind::egress_gateway, "egressgateways"),
        std::pair(Kind::pod_address_pool, "podaddresspools")}) {
    follow(kind, fmt::format("/apis/weft.io/v1alpha1/{}", plural), "", "");
    resources_.back().own = true;
  }
}

void KubernetesObjects::follow(model::Kind kind, std::string path, std::string fields, std::string labels) {
  kubernetes::ReflectorOptions options;
  options.path = std::move(path);
  options.field_selector = std::move(fields);
  options.label_selector = std::move(labels);
  options.backoff = parts_.backoff;
  options.decode = [this, kind](const kubernetes::Object& object) { return decode(kind, object); };
  resources_.push_back({.kind = kind,
                        .reflector = std::make_unique<kubernetes::Reflector>(
                            parts_.http, parts_.scheduler, parts_.random, std::move(options),
                            kubernetes::ReflectorHandlers{
                                .changed = [this, kind](const kubernetes::Change& change) { take(kind, change); },
                                .state = [this] { settle_soon(); }})});
}

Result<kubernetes::Decoded> KubernetesObjects::decode(model::Kind kind, const kubernetes::Object& object) const {
  auto carried = std::make_shared<Carried>();
  std::string changed;
  if (kind == model::Kind::service && !parts_.external_ips && object.json.find("\"externalIPs\"") != std::string::npos)
    changed = without_external_ips(object.json);
  if (kind == model::Kind::pod_address_pool && parts_.shared_pools) {
    changed = as_agreed(object.json);
    carried->absent = changed.empty();
    if (carried->absent) return carried;
  }
  auto read = model::object_from_api(kind, parts_.server, changed.empty() ? object.json : changed);
  if (!read && kind == model::Kind::network_policy) {
    // What it would deny is denied.
    carried->closed = read.error().message;
    if (auto closed = model::closed_policy_from_api(parts_.server, object.json)) read = std::move(closed);
  }
  if (!read) return fail(read.error());
  carried->object = std::make_unique<model::ApiObject>(std::move(*read));
  if (kind == model::Kind::pod) carried->pod = pod_status(object);
  return carried;
}

void KubernetesObjects::take(model::Kind kind, const kubernetes::Change& change) {
  for (const auto& each : change.set) {
    const auto& carried = kubernetes::as<Carried>(each.now->value);
    auto object = std::move(carried.object);
    const auto key = stored_key(kind, each.key);
    if (carried.absent) owed_.insert_or_assign(key, std::nullopt);
    // One that could not be decoded again is told with what it was: it stays as it is.
    if (!object) continue;
    if (kind == model::Kind::endpoint_slice) take_slice(object->object);
    if (object->misspelt.empty())
      misspelt_.erase(key);
    else
      misspelt_.insert_or_assign(key, std::move(object->misspelt));
    owed_.insert_or_assign(key, std::move(*object));
    take_beside(key, *each.now);
  }
  for (const auto& each : change.erased) {
    const auto key = stored_key(kind, each.key);
    owed_.insert_or_assign(key, std::nullopt);
    forget_beside(key);
  }
  settle_soon();
}

void KubernetesObjects::take_beside(const store::StoredKey& key, const kubernetes::Entry& now) {
  const auto& carried = kubernetes::as<Carried>(now.value);
  if (key.kind == model::Kind::pod) pods_.insert_or_assign(key.key, carried.pod);
  if (key.kind != model::Kind::network_policy) return;
  if (carried.closed.empty())
    closed_.erase(key);
  else
    closed_.insert_or_assign(key, carried.closed);
}

void KubernetesObjects::take_slice(const model::Object& object) {
  const auto* slice = std::get_if<model::EndpointSlice>(&object);
  if (slice != nullptr && api_servers_.take(*slice) && handlers_.api_servers)
    handlers_.api_servers(api_servers_.addresses());
}

void KubernetesObjects::forget_beside(const store::StoredKey& key) {
  if (key.kind == model::Kind::endpoint_slice) api_servers_.forget(key.key);
  if (key.kind == model::Kind::pod) pods_.erase(key.key);
  closed_.erase(key);
  misspelt_.erase(key);
}

const kubernetes::Entry* KubernetesObjects::entry_of(const store::StoredKey& key) const {
  const auto resource = std::ranges::find(resources_, key.kind, &Resource::kind);
  if (resource == resources_.end()) return nullptr;
  const auto found = resource->reflector->view().find(key.key.to_string());
  return found == resource->reflector->view().end() ? nullptr : &found->second;
}

std::string KubernetesObjects::uid_of(const store::StoredKey& key) const {
  const auto* entry = entry_of(key);
  return entry == nullptr ? std::string() : entry->uid;
}

std::string KubernetesObjects::version_of(const store::StoredKey& key) const {
  const auto* entry = entry_of(key);
  return entry == nullptr ? std::string() : entry->resource_version;
}

// What several watches bring at once is taken in together.
void KubernetesObjects::settle_soon() {
  settle_ = parts_.scheduler.after(std::chrono::milliseconds(0), [this] { settle(); });
}

bool KubernetesObjects::Resource::absent() const {
  const auto& problem = reflector->problem();
  return own && problem && problem->reason == Reason::not_found;
}

bool KubernetesObjects::Resource::has(const std::string& key) const {
  const auto entry = reflector->view().find(key);
  return entry != reflector->view().end() && !kubernetes::as<Carried>(entry->second.value).absent;
}

bool KubernetesObjects::complete() const {
  return std::ranges::all_of(
      resources_, [](const Resource& resource) { return resource.reflector->synced() || resource.absent(); });
}

// What an earlier run had, and the server no longer has. Of a resource that is not served nothing is known.
void KubernetesObjects::add_what_is_gone(Publisher::Brought& brought) const {
  for (const auto kind : all_kinds) {
    const auto resource = std::ranges::find(resources_, kind, &Resource::kind);
    if (resource != resources_.end() && !resource->reflector->synced()) continue;
    const auto keys = parts_.objects.keys(kind);
    if (!keys) continue;
    for (const auto& key : *keys)
      if (resource == resources_.end() || !resource->has(key.key.to_string())) brought.gone.push_back(key);
  }
}

// Whatever the view has was owed, and is taken in now. Versions count upwards (KEP-5504).
void KubernetesObjects::note_policies() {
  const auto is_policy = [](const auto& owed) { return owed.first.kind == model::Kind::network_policy; };
  if (policies_seen_ != 0 && std::ranges::none_of(owed_, is_policy)) return;
  const auto resource = std::ranges::find(resources_, model::Kind::network_policy, &Resource::kind);
  const auto& version = resource->reflector->resource_version();
  std::uint64_t number = 0;
  std::from_chars(version.data(), version.data() + version.size(), number);
  policies_seen_ = number;
}

void KubernetesObjects::settle() {
  tell_misunderstood();
  if (!complete()) return;
  if (owed_.empty() && taken_) return check_waiting();
  Publisher::Brought brought;
  for (const auto& [key, object] : owed_) {
    if (object)
      brought.objects.push_back({object->object, object->json});
    else
      brought.gone.push_back(key);
    if (key.kind == model::Kind::service)
      brought.assignments.emplace(
          key.key, object ? assignment_of(std::get<model::Service>(object->object)) : control::ServiceAssignment());
  }
  if (!taken_) {
    add_what_is_gone(brought);
    for (const auto& [service, held] : parts_.publisher.services().assignments())
      brought.assignments.try_emplace(service, control::ServiceAssignment());
  }
  if (!intake_.take(brought)) return;
  note_policies();
  took_many_ = took_many_ || brought.objects.size() >= many_items;
  taken_ = true;
  owed_.clear();
  check_waiting();
}

void KubernetesObjects::check() {
  if (complete() && (!taken_ || !owed_.empty()))
    settle();
  else
    intake_.check();
}

bool KubernetesObjects::known() const { return taken_ || parts_.objects.any().value_or(false); }

std::string KubernetesObjects::silence() const {
  for (const auto& resource : resources_) {
    const auto& reflector = *resource.reflector;
    const auto& problem = reflector.problem();
    if (reflector.live() || resource.absent()) continue;
    if (problem) return problem->message;
    if (!reflector.synced()) return "no answer yet";
  }
  return {};
}

bool KubernetesObjects::has(const model::ObjectKey& key, const std::string& uid) const {
  const auto* pod = taken_ ? parts_.objects.pod(key) : nullptr;
  if (pod == nullptr || !parts_.objects.namespaces().contains(key.namespace_)) return false;
  if (uid.empty() || pod->meta.uid == uid) return true;
  // A static pod: the kubelet's own uid, which the object that stands for it has there.
  const auto hash = pod->meta.annotations.find("kubernetes.io/config.hash");
  return hash != pod->meta.annotations.end() && hash->second == uid;
}

std::optional<Error> KubernetesObjects::unheard() const {
  if (known()) return std::nullopt;
  const auto why = silence();
  return Error{ErrorCode::unavailable,
               fmt::format("this node has not heard yet which objects the API server {} has: {}", parts_.server,
                           why.empty() ? "its lists are not complete" : why),
               "it is tried again by itself; weft status tells whether it answers"};
}

void KubernetesObjects::catch_up(const model::ObjectKey& pod, const std::string& uid, std::function<void()> done,
                                 std::chrono::milliseconds most) {
  const auto entry = waiting_.insert(waiting_.end(), {.pod = pod, .uid = uid, .done = std::move(done), .patience = {}});
  const bool at_once = has(pod, uid) || (known() && !silence().empty());
  const auto wait = at_once ? std::chrono::milliseconds(0) : std::min<std::chrono::milliseconds>(patience, most);
  entry->patience = parts_.scheduler.after(wait, [this, entry] {
    const auto ready = std::move(entry->done);
    waiting_.erase(entry);
    ready();
  });
}

void KubernetesObjects::check_waiting() {
  std::vector<std::function<void()>> ready;
  for (auto entry = waiting_.begin(); entry != waiting_.end();) {
    if (!has(entry->pod, entry->uid)) {
      ++entry;
      continue;
    }
    ready.push_back(std::move(entry->done));
    entry = waiting_.erase(entry);
  }
  for (const auto& done : ready) done();
}

void KubernetesObjects::tell_misunderstood() {
  auto now = closed_;
  for (const auto& resource : resources_)
    for (const auto& [key, why] : resource.reflector->troubles()) now.emplace(stored_key(resource.kind, key), why);
  if (now == misunderstood_) return;
  misunderstood_ = std::move(now);
  constexpr auto remedy =
      "a later version of Weft may understand it: update this one, or change the object (kubectl edit)";
  std::map<std::string, Misunderstood> kept;
  std::map<std::string, Misunderstood> closed;
  for (const auto& [key, why] : misunderstood_)
    (closed_.contains(key) ? closed : kept).emplace(name_of(key), Misunderstood{key.key.namespace_, why});
  auto faults = misunderstood_faults(kept, "of " + parts_.server, remedy);
  faults.merge(closed_faults(closed, "of " + parts_.server, remedy));
  handlers_.misunderstood(faults);
}

nlohmann::json KubernetesObjects::status_json() const {
  auto resources = nlohmann::json::array();
  std::size_t objects = 0;
  for (const auto& [kind, own, reflector] : resources_) {
    objects += reflector->view().size();
    resources.push_back({{"kind", model::to_string(kind)},
                         {"objects", reflector->view().size()},
                         {"resourceVersion", reflector->resource_version()},
                         {"live", reflector->live()},
                         {"problem", reflector->problem() && !reflector->live() ? reflector->problem()->message : ""}});
  }
  return {{"server", parts_.server}, {"taken", taken_},         {"objects", objects},
          {"problem", silence()},    {"owed", intake_.fault()}, {"resources", std::move(resources)}};
}

}  // namespace weft::agent
