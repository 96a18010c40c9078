#include "machine.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "agent/address_pools.h"
#include "model/parse.h"

namespace weft::script {
namespace {

constexpr control::IpamTime now{std::chrono::seconds(1'700'000'000)};

store::StoredKey key_of(const model::Object& object) {
  return {model::kind_of(object), model::metadata_of(object).key()};
}

store::EndpointKey container_of(const model::ObjectKey& pod) { return {pod.to_string(), "eth0"}; }

}  // namespace

Machine::Machine(agent::Config config, const std::map<std::string, std::uint32_t>& map_sizes)
    : config_(std::move(config)), maps_(map_sizes) {
  static int count = 0;
  directory_ = std::filesystem::temp_directory_path() / fmt::format("weft-script-{}-{}", ::getpid(), ++count);
  std::filesystem::remove_all(directory_);
  std::filesystem::create_directories(directory_);
  node_.addresses = {*IpAddress::parse("192.168.1.10")};
  node_.uplinks[2] = {"eth0", 1500, *IpAddress::parse("192.168.1.10"), {}};
  node_.netns_cookie = 1;
  if (auto started = start(); !started) fmt::print(stderr, "{}\n", started.error().message);
}

Machine::~Machine() { std::filesystem::remove_all(directory_); }

Result<void> Machine::start() {
  WEFT_TRY(auto store, store::Store::open(directory_ / "weft.db"));
  store_.emplace(std::move(store));
  std::vector<std::string> problems;
  WEFT_TRY(auto objects, agent::Objects::load(*store_, problems));
  objects_.emplace(std::move(objects));
  if (!problems.empty()) return fail(ErrorCode::internal, problems.front());
  std::vector<control::Allocation> allocations;
  WEFT_TRY(const auto rows, store_->allocations());
  for (const auto& row : rows) allocations.push_back({row.address, row.owner});
  control::PoolOptions pool;
  pool.cidrs = config_.pod_cidrs;
  ipam_.emplace(pool, std::move(allocations), std::vector<control::Quarantined>{});
  take_pools();
  WEFT_TRY(const auto records, store_->endpoints());
  records_.clear();
  for (const auto& record : records) records_.emplace(record.key, record);
  WEFT_TRY(tables_, maps_.open());
  std::uint32_t highest = 0;
  for (const auto& [key, entry] : maps_.policy()) highest = std::max(highest, key.policy_class);
  WEFT_TRY(publisher_, agent::Publisher::open({config_, *store_, *objects_, *tables_}, highest, problems));
  if (!problems.empty()) return fail(ErrorCode::internal, problems.front());
  objects_->on_change([this](const agent::ObjectChange& change) {
    publisher_->object_changed(change);
    take_pools();
  });
  publisher_->set_pool_users([this](const std::string& name) { return pool_users(name); });
  publisher_->set_node(node_);
  publisher_->set_may_announce([](const weft_l2_key&) { return true; });  // nobody else is on the link
  publisher_->set_records(records_);
  return publish();
}

void Machine::take_pools() {
  std::vector<control::FurtherPool> further;
  for (const auto& pool : agent::address_pools(config_, *objects_)) {
    if (pool.name == model::default_address_pool) continue;
    auto& known = further.emplace_back();
    known.name = pool.name;
    for (const auto& range : pool.ranges) known.cidrs.push_back(range.cidr);
  }
  ipam_->set_further(std::move(further));
}

std::string Machine::pool_users(const std::string& pool) const {
  for (const auto& use : ipam_->uses())
    if (use.pool == pool && use.allocated != 0)
      return fmt::format("{} addresses of {}", use.allocated, use.cidr.to_string());
  return {};
}

Result<void> Machine::publish() {
  WEFT_CHECK(publisher_->publish());
  return publisher_->store_numbers(true);
}

Result<std::vector<std::string>> Machine::apply(const std::string& file, const std::string& yaml) {
  auto outcome = model::parse_manifests(file, yaml);
  if (!outcome.problems.empty()) return fail(ErrorCode::invalid, outcome.problems.front().to_string());
  const auto before = publisher_->held(outcome.documents);
  if (const auto refused = publisher_->admit(outcome.documents); !refused.empty()) {
    publisher_->give_back(before);
    return fail(refused.front().error);
  }
  WEFT_TRY(const auto applied, publisher_->apply(outcome.documents, before));
  WEFT_CHECK(publisher_->store_numbers(true));
  if (applied.owed) return fail(*applied.owed);
  const auto& actions = applied.actions;
  std::vector<std::string> done;
  for (std::size_t i = 0; i < actions.size(); ++i) {
    const auto key = key_of(outcome.documents[i].object);
    const auto* word = actions[i] == agent::Objects::Action::created      ? "created"
                       : actions[i] == agent::Objects::Action::configured ? "configured"
                                                                          : "unchanged";
    done.push_back(fmt::format("{} {} {}", model::to_string(key.kind), key.key.to_string(), word));
  }
  return done;
}

Result<void> Machine::remove(const store::StoredKey& key) {
  WEFT_TRY(const bool known, objects_->contains(key));
  if (!known) return fail(ErrorCode::not_found, "no such object");
  WEFT_TRY(const auto owed, publisher_->remove({key}));
  if (owed) return fail(*owed);
  return publisher_->store_numbers(true);
}

Result<std::vector<IpAddress>> Machine::attach(const model::ObjectKey& pod) {
  store::EndpointRecord record;
  record.key = container_of(pod);
  record.namespace_ = pod.namespace_;
  record.pod = pod.name;
  record.state = store::EndpointState::ready;
  record.endpoint_id = 2;
  for (const auto& [key, other] : records_) record.endpoint_id = std::max(record.endpoint_id, other.endpoint_id + 1);
  record.ifindex = 100 + record.endpoint_id;
  record.netns_cookie = 1000 + record.endpoint_id;
  record.mac = MacAddress{{2, 0, 0, 0, 0, static_cast<std::uint8_t>(record.endpoint_id)}};
  record.labels["container:name"] = pod.name;
  agent::AttachRequest request;
  request.namespace_ = pod.namespace_;
  request.pod = pod.name;
  WEFT_TRY(const auto choice, agent::choose_addresses(request, agent::address_pools(config_, *objects_), *objects_));
  WEFT_TRY(record.addresses, ipam_->give(record.key.owner(), choice.request, now));
  std::vector<store::AllocationRow> rows;
  for (const auto& address : record.addresses) rows.push_back({address, record.key.owner()});
  WEFT_CHECK(store_->put_endpoint(record, rows));
  records_[record.key] = record;
  WEFT_CHECK(publish());
  return record.addresses;
}

Result<void> Machine::detach(const model::ObjectKey& pod) {
  const auto key = container_of(pod);
  if (records_.erase(key) == 0) return fail(ErrorCode::not_found, "not attached");
  (void)ipam_->release(key.owner(), now);
  WEFT_CHECK(store_->delete_endpoint(key));
  return publish();
}

Result<void> Machine::restart() {
  publisher_.reset();
  tables_.reset();
  ipam_.reset();
  objects_.reset();
  store_.reset();
  return start();
}

Result<void> Machine::converge() {
  for (int attempt = 0; attempt < 10'000; ++attempt) {
    if (tables_->retry()) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return fail(ErrorCode::io, tables_->status().last_error);
}

std::vector<IpAddress> Machine::addresses(const model::ObjectKey& pod) const {
  const auto found = records_.find(container_of(pod));
  return found == records_.end() ? std::vector<IpAddress>{} : found->second.addresses;
}

}  // namespace weft::script
