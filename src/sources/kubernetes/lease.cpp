#include "sources/kubernetes/lease.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "sources/kubernetes/micro_time.h"

namespace weft::kubernetes {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

// A text of `spec`; empty where it is missing or something else.
std::string text(const json& spec, const char* key) {
  const auto found = spec.find(key);
  return found != spec.end() && found->is_string() ? found->get<std::string>() : std::string();
}
std::int64_t number(const json& spec, const char* key) {
  const auto found = spec.find(key);
  return found != spec.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

json object_in(const json& outer, const char* key) {
  const auto found = outer.find(key);
  return found != outer.end() && found->is_object() ? *found : json::object();
}

}  // namespace

Election::Election(Http& http, etcd::Scheduler& scheduler, etcd::Random random, ElectionOptions options,
                   ElectionHandlers handlers)
    : writer_(http, {.timeout = std::max(options.renew_within / 2, milliseconds(500))}),
      scheduler_(&scheduler),
      random_(std::move(random)),
      options_(std::move(options)),
      handlers_(std::move(handlers)) {
  look();
}

std::string Election::path() const {
  return fmt::format("/apis/coordination.k8s.io/v1/namespaces/{}/leases", options_.namespace_name);
}

void Election::try_after(milliseconds wait) {
  // Up to a fifth more, so that candidates do not keep step.
  const auto jitter = static_cast<double>(wait.count()) * 0.2 * etcd::fraction(random_);
  next_ = scheduler_->after(wait + milliseconds(static_cast<std::int64_t>(jitter)), [this] {
    // Who leads knows the Lease, and writes at once; a conflict tells when that is not so.
    if (leads_ && !stale_)
      hold();
    else
      look();
  });
}

void Election::failed_try(const Failure& why) {
  const std::weak_ptr<bool> alive = alive_;
  if (handlers_.trouble) handlers_.trouble(why);
  if (!alive.expired() && !released_) try_after(std::max(options_.retry, why.retry_after));
}

void Election::look() {
  busy_ = true;
  writer_.get(path() + "/" + options_.name, [this](const Outcome<std::string>& lease) { looked(lease); });
}

void Election::looked(const Outcome<std::string>& lease) {
  busy_ = false;
  if (lease)
    see(*lease);
  else if (lease.error().reason == Reason::not_found)
    seen_ = {};
  if (released_) return give_up();
  if (!lease && lease.error().reason != Reason::not_found) return failed_try(lease.error());
  stale_ = false;
  const std::weak_ptr<bool> alive = alive_;
  const bool free = seen_.holder.empty() || seen_.holder == options_.identity;
  if (!free && leads_) lose(fmt::format("the lease is {}'s", seen_.holder));
  if (alive.expired()) return;
  const auto over = seen_.since + seen_.duration;
  const auto now = scheduler_->now();
  if (free || now >= over) return hold();
  // Not before it is over, as it stands; and soon enough to see that it was given up.
  const auto left = std::chrono::ceil<milliseconds>(over - now);
  try_after(std::min(options_.retry, std::max(left, milliseconds(1))));
}

void Election::see(const std::string& text_of_it) {
  const auto lease = json::parse(text_of_it, nullptr, false);
  if (!lease.is_object()) return;
  const auto spec = object_in(lease, "spec");
  const auto version = text(object_in(lease, "metadata"), "resourceVersion");
  if (seen_.json.empty() || version != seen_.resource_version) seen_.since = scheduler_->now();
  seen_.json = text_of_it;
  seen_.resource_version = version;
  seen_.holder = text(spec, "holderIdentity");
  // One that does not say is given what we would ask for.
  const auto most = std::max(options_.most_trusted, options_.duration);
  const auto seconds = std::min<std::int64_t>(number(spec, "leaseDurationSeconds"), 3600);
  seen_.duration = seconds > 0 ? std::min<milliseconds>(std::chrono::seconds(seconds), most) : options_.duration;
  seen_.transitions = number(spec, "leaseTransitions");
  seen_.acquired = text(spec, "acquireTime");
}

// The Lease as it is known, with another holder: what others have written into it stays.
std::string Election::lease_text(const std::string& holder) const {
  json lease = seen_.json.empty() ? json::object() : json::parse(seen_.json, nullptr, false);
  if (!lease.is_object()) lease = json::object();
  lease["apiVersion"] = "coordination.k8s.io/v1";
  lease["kind"] = "Lease";
  // Whatever else stood in their place.
  auto& metadata = lease["metadata"] = object_in(lease, "metadata");
  metadata["name"] = options_.name;
  metadata["namespace"] = options_.namespace_name;
  auto& spec = lease["spec"] = object_in(lease, "spec");
  const std::string now = micro_time(options_.wall_clock());
  const bool again = seen_.holder == holder;
  spec["holderIdentity"] = holder;
  // Who gives it up leaves the shortest: those who do not know an empty holder wait no longer than that.
  spec["leaseDurationSeconds"] =
      holder.empty() ? 1 : std::chrono::ceil<std::chrono::seconds>(options_.duration).count();
  spec["renewTime"] = now;
  spec["acquireTime"] = (again || holder.empty()) && !seen_.acquired.empty() ? seen_.acquired : now;
  const bool another = !again && !holder.empty() && !seen_.json.empty();
  spec["leaseTransitions"] = seen_.transitions + (another ? 1 : 0);
  return lease.dump(-1, ' ', false, json::error_handler_t::replace);
}

void Election::write(const std::string& lease, Written done) {
  if (seen_.json.empty())
    writer_.create(path(), lease, std::move(done));
  else
    writer_.update(path() + "/" + options_.name, lease, std::move(done));
}

void Election::hold() {
  busy_ = true;
  write(lease_text(options_.identity),
        [this, sent = scheduler_->now()](const Outcome<std::string>& lease) { held(lease, sent); });
}

void Election::held(const Outcome<std::string>& lease, etcd::Scheduler::Time sent) {
  busy_ = false;
  if (lease) see(*lease);
  if (released_) return give_up();
  if (!lease) {
    const auto reason = lease.error().reason;
    // Ours may have been written all the same: then what we know of it is not what it is.
    stale_ = true;
    // Another was quicker, or erased it: what it is now decides.
    if (reason == Reason::conflict || reason == Reason::exists || reason == Reason::not_found)
      return try_after(leads_ ? milliseconds(0) : options_.retry);
    return failed_try(lease.error());
  }
  const auto left = std::chrono::floor<milliseconds>(sent + options_.renew_within - scheduler_->now());
  // It may be ours no more by the time we hear of it: a process that slept.
  if (left.count() <= 0) return try_after(options_.retry);
  end_ = scheduler_->after(left, [this] {
    lose(fmt::format("the lease could not be renewed within {} ms", options_.renew_within.count()));
  });
  try_after(options_.retry);
  if (!std::exchange(leads_, true) && handlers_.elected) handlers_.elected();
}

void Election::lose(const std::string& why) {
  end_.cancel();
  if (std::exchange(leads_, false) && handlers_.lost) handlers_.lost(why);
}

void Election::release(std::function<void()> done) {
  released_ = true;
  leads_ = false;
  release_done_ = std::move(done);
  next_.cancel();
  end_.cancel();
  // What is under way may yet make it ours.
  if (!busy_) give_up();
}

void Election::give_up() {
  const auto told = [alive = std::weak_ptr(alive_), done = std::exchange(release_done_, nullptr)] {
    if (!alive.expired() && done) done();
  };
  if (seen_.holder != options_.identity) return scheduler_->post(told);
  write(lease_text(""), [told](const Outcome<std::string>&) { told(); });
}

}  // namespace weft::kubernetes
