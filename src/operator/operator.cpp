#include "operator/operator.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <random>
#include <set>
#include <utility>

#include "base/utc_text.h"
#include "sources/cluster/access.h"
#include "sources/crd_store/store.h"
#include "sources/etcd/grpc_client.h"
#include "sources/kubernetes/open_access.h"

namespace weft::op {
namespace {

// How often what it tells of itself is looked at; written only when it is another.
constexpr auto tell_pace = std::chrono::seconds(1);
// Longer than the pauses between tries.
constexpr auto trouble_lasts = std::chrono::seconds(30);

std::string now_text() { return utc_text(std::chrono::system_clock::now()); }

// Two operators may have one name, and one that was killed is there until its lease ends.
std::string new_run() {
  std::random_device device;
  return fmt::format("{:08x}", device());
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string();
}

kubernetes::EventText told(const ObjectEvent& event) {
  return {.about = {.api_version = event.api_version,
                    .kind = event.kind,
                    .namespace_name = event.key.namespace_,
                    .name = event.key.name,
                    .uid = event.uid},
          .reason = event.reason,
          .action = event.kind == "Service" ? "GiveAddress" : "AcceptPool",
          .note = event.note,
          .warning = event.warning};
}

}  // namespace

// --- Duties --------------------------------------------------------------------------------------

Duties::Duties(const cluster::Context& context, Options options)
    : context_(context),
      options_(std::move(options)),
      told_(options_.record),
      seat_(context_, options_.self, told_, {.ttl = options_.lease, .backoff = context_.backoff},
            {.changed = [this] { seat_changed(); }, .trouble = [this](const Error& error) { trouble(error); }}),
      role_(context_, seat_.candidate(), std::string(cluster::collector_role), options_.patience,
            {.changed = [this] { role_changed(); }, .trouble = [this](const Error& error) { trouble(error); }}),
      collector_(
          context_, role_, cluster::collector_interval(context_.delay), [this](const Error& error) { trouble(error); },
          [this](const std::string& node) {
            spdlog::info(
                "node {} was removed: silent for longer than reclaim_seconds ({} s); what it had is free "
                "for others",
                node, context_.delay.count());
          }),
      nodes_(context_.client, context_.scheduler, context_.random,
             context_.mirror_of_nodes(context_.keys.nodes(), [](const etcd::KeyValue&) { return true; }),
             {.changed = [this](const etcd::Change& change) { nodes_changed(change); }, .state = {}}) {
  if (options_.objects)
    waiting_.emplace(context_, options_.self.name,
                     WaitingServices::Handlers{.acts = [this] { return acts(); },
                                               .trouble = [this](const Error& error) { trouble(error); }});
  tick();
}

void Duties::seat_changed() {
  spdlog::info(seat_.membership() ? "joined the cluster's operators"
                                  : "away from the others: whatever was done here waits");
  role_.membership_changed();
}

void Duties::role_changed() {
  spdlog::info(acts() ? "acts for the cluster" : "stands by");
  collector_.role_changed();
  if (waiting_) waiting_->serve();
  tell();
}

void Duties::nodes_changed(const etcd::Change& change) {
  for (const auto& kv : change.erased) taken_.erase(kv.key);
  for (const auto& kv : change.set) {
    auto record = cluster::decode_node(kv.key, kv.value);
    if (!record) {
      trouble(record.error());
      continue;
    }
    auto& all = taken_[kv.key] = std::move(record->taken);
    all.insert(all.end(), record->underlay.begin(), record->underlay.end());
  }
  std::set<IpAddress> addresses;
  for (const auto& [node, some] : taken_) addresses.insert(some.begin(), some.end());
  const std::vector<IpAddress> all(addresses.begin(), addresses.end());
  if (waiting_) waiting_->keep_out(all);
  if (options_.taken) options_.taken(all);
}

void Duties::trouble(const Error& error) {
  troubled_ = context_.scheduler.now();
  if (told_.problem == error.message) return;
  told_.problem = error.message;
  spdlog::warn("{}", error.text());
}

void Duties::tell() {
  auto now = told_;
  now.collected = collector_.collected();
  if (waiting_) {
    now.served = waiting_->served();
    now.waiting = waiting_->waiting();
  }
  if (options_.more) options_.more(now);
  if (now.collected.rounds != std::exchange(seen_rounds_, now.collected.rounds)) {
    now.last_round = now_text();
    // A whole round went well.
    now.problem.clear();
  }
  // Who stands by does no rounds; what is wrong is said again at each try.
  if (!acts() && context_.scheduler.now() - troubled_ > trouble_lasts) now.problem.clear();
  told_ = now;
  seat_.update(now);
}

void Duties::tick() {
  tick_ = context_.scheduler.after(tell_pace, [this] {
    if (waiting_) waiting_->serve();
    tell();
    tick();
  });
}

void Duties::close(etcd::Done<void> done) {
  tick_.cancel();
  seat_.close(std::move(done));
}

// --- Operator ------------------------------------------------------------------------------------

Operator::Operator(asio::io_context& loop, Config config) : config_(std::move(config)), scheduler_(loop) {}

Operator::~Operator() = default;

Result<std::unique_ptr<Operator>> Operator::start(asio::io_context& loop, const Config& config) {
  std::unique_ptr<Operator> made(new Operator(loop, config));
  const auto run = new_run();
  WEFT_TRY(const auto store, made->open_store(loop));
  if (config.on_kubernetes()) WEFT_CHECK(made->open_kubernetes(loop, run, store));
  if (store) made->open_duties(*store, run);
  if (!config.health_address.empty()) {
    WEFT_TRY(made->health_,
             HealthServer::listen(loop, config.health_address, [it = made.get()] { return it->not_ready(); }));
  }
  return made;
}

Result<void> Operator::open_kubernetes(asio::io_context& loop, const std::string& run,
                                       const std::optional<cluster::Context>& store) {
  auto access = kubernetes::open_access(config_);
  if (!access) return fail(access.error().in("objects: kubernetes"));
  const auto server = access->servers.front();
  kubernetes::ElectionOptions election;
  election.namespace_name = kubernetes::namespace_of(config_, *access);
  election.name = "weft-operator";
  election.identity = config_.name + "_" + run;
  std::vector<Crd> crds;
  if (!config_.crds.empty()) {
    WEFT_TRY(crds, load_crds(config_.crds, WEFT_VERSION));
  }
  WEFT_TRY(http_, kubernetes::make_http(loop, std::move(*access), {.user_agent = "weft-operator/" WEFT_VERSION}));
  events_ = std::make_unique<kubernetes::EventSender>(
      *http_, scheduler_, etcd::system_random(),
      kubernetes::EventSenderOptions{.controller = "weft.io/operator", .instance = election.identity});
  kubernetes_ = std::make_unique<KubernetesDuties>(
      KubernetesDuties::Parts{.http = *http_,
                              .scheduler = scheduler_,
                              .random = etcd::system_random(),
                              .server = server,
                              .election = std::move(election),
                              .store = store,
                              .crds = std::move(crds),
                              .version = WEFT_VERSION},
      KubernetesDuties::Handlers{.event = [this](const ObjectEvent& event) { events_->tell(told(event)); },
                                 .duty = [this] { end_sessions(kubernetes_ && kubernetes_->acts()); }});
  return {};
}

Result<std::optional<cluster::Context>> Operator::open_store(asio::io_context& loop) {
  if (config_.store == Config::Store::embedded) return std::optional<cluster::Context>();
  WEFT_TRY(const auto keys, cluster::Keyspace::make(config_.cluster));
  const auto random = etcd::system_random();
  if (config_.store == Config::Store::kubernetes) {
    WEFT_TRY(client_, open_kubernetes_store(loop));
  } else {
    WEFT_TRY(const auto to, cluster::etcd_options(config_));
    WEFT_TRY(client_, etcd::make_client(scheduler_, to, random));
  }
  return std::optional(cluster::Context{.client = *client_,
                                        .scheduler = scheduler_,
                                        .random = random,
                                        .keys = keys,
                                        .delay = std::chrono::seconds(config_.reclaim_seconds)});
}

Result<std::unique_ptr<etcd::Client>> Operator::open_kubernetes_store(asio::io_context& loop) {
  auto access = kubernetes::open_access(config_);
  if (!access) return fail(access.error().in("store: kubernetes"));
  crd::StoreOptions options;
  options.cluster = config_.cluster;
  options.namespace_name = namespace_ = kubernetes::namespace_of(config_, *access);
  options.holder = config_.name;
  options.trouble = [](const Error& error) { spdlog::warn("{}", error.text()); };
  // A connection of its own: what objects take their time for does not keep this operator's session waiting.
  WEFT_TRY(store_http_, kubernetes::make_http(loop, std::move(*access), {.user_agent = "weft-operator/" WEFT_VERSION}));
  return crd::make_kubernetes_store(scheduler_, *store_http_, std::move(options), etcd::system_random());
}

// Nobody's session ends by itself: nodes that are gone count as there until whoever acts has ended theirs.
void Operator::end_sessions(bool acts) {
  reaper_.reset();
  if (!acts || config_.store != Config::Store::kubernetes) return;
  crd::ReaperOptions options;
  options.cluster = config_.cluster;
  options.namespace_name = namespace_;
  auto reaper = crd::SessionReaper::make(
      *store_http_, scheduler_, etcd::system_random(), std::move(options),
      {.ended = [](const std::string& holder) { spdlog::info("the session of {} is over: it counts as away", holder); },
       .trouble = [](const Error& error) { spdlog::warn("{}", error.text()); }});
  if (reaper)
    reaper_ = std::move(*reaper);
  else
    spdlog::error("{}", reaper.error().text());
}

void Operator::open_duties(const cluster::Context& store, const std::string& run) {
  Duties::Options options;
  options.self = {config_.name, run};
  options.record.host = host_name();
  options.record.version = WEFT_VERSION;
  options.record.started = now_text();
  options.lease = std::chrono::seconds(config_.lease_seconds);
  options.objects = config_.objects == Config::ObjectSource::applied;
  if (kubernetes_) {
    options.taken = [this](const std::vector<IpAddress>& addresses) { kubernetes_->keep_out(addresses); };
    options.more = [this](cluster::OperatorRecord& record) {
      record.served = kubernetes_->balancers().served();
      record.waiting = kubernetes_->balancers().waiting();
    };
  }
  duties_ = std::make_unique<Duties>(store, std::move(options));
}

std::string Operator::not_ready() const {
  if (kubernetes_)
    if (const auto why = kubernetes_->silence(); !why.empty()) return "the Kubernetes API server: " + why;
  if (duties_ && !duties_->joined()) return "the store has not been heard of, or not for a while";
  return {};
}

void Operator::stop(std::function<void()> done) {
  // The last of them tells it.
  const std::shared_ptr<void> last(nullptr, [done = std::move(done)](std::nullptr_t) { done(); });
  if (kubernetes_) kubernetes_->close([last] {});
  if (duties_) duties_->close([last](const etcd::Outcome<void>&) {});
}

}  // namespace weft::op
