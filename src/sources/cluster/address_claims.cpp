#include "sources/cluster/address_claims.h"

#include <utility>

namespace weft::cluster {

using etcd::Compare;

AddressClaims::AddressClaims(Context context, NodeRegistry& registry, AddressClaimHandlers handlers)
    : context_(std::move(context)),
      registry_(&registry),
      handlers_(std::move(handlers)),
      prefix_(context_.keys.roles() + std::string(claim_role_prefix)),
      turns_(context_.scheduler, context_.backoff, context_.random, [this] { return step(); }),
      mirror_(context_.client, context_.scheduler, context_.random,
              context_.mirror_of_leased(prefix_,
                                        [self = registry.self().name](const etcd::KeyValue& kv) {
                                          const auto holder = decode_incarnation(kv.key, kv.value);
                                          return holder && holder->node != self;
                                        }),
              {.changed = [this](const etcd::Change&) { mirror_changed(); }, .state = [this] { turns_.wake(); }}) {}

void AddressClaims::want(std::set<IpAddress> addresses) {
  if (wanted_ == addresses) return;
  wanted_ = std::move(addresses);
  turns_.wake();
}

bool AddressClaims::step() {
  const auto& membership = registry_->membership();
  if (!wanted_ || !membership || !mirror_.synced() || mirror_.revision() < changed_at_) return false;
  for (const auto& [key, kv] : mirror_.view()) {
    const auto address = claimed_address(std::string_view(key).substr(context_.keys.roles().size()));
    const auto holder = decode_incarnation(key, kv.value);
    if (!address || !holder || holder->node != registry_->self().name) continue;
    const auto unchanged = Compare::unchanged_since(key, kv.mod_revision);
    if (!wanted_->contains(*address))
      return change(
          {.compare = {unchanged}, .then = {etcd::EraseRequest{.keys = etcd::Keys::one(key)}}, .otherwise = {}});
    // An earlier run's ends with that one's lease.
    if (kv.lease != membership->lease) return write(key, unchanged);
  }
  for (const auto& address : *wanted_) {
    auto key = context_.keys.build(RoleKey{claim_role(address)});
    if (!mirror_.view().contains(key)) return write(key, Compare::absent(key));
  }
  return false;
}

bool AddressClaims::write(const std::string& key, Compare unless) {
  const auto& membership = *registry_->membership();
  return change({.compare = {membership.holds, std::move(unless)},
                 .then = {etcd::PutRequest{
                     .key = key, .value = encode(registry_->self().incarnation()), .lease = membership.lease}},
                 .otherwise = {}});
}

bool AddressClaims::change(etcd::Txn txn) {
  context_.client.txn(std::move(txn), {}, turns_.guarded([this](const etcd::Outcome<etcd::TxnResult>& outcome) {
    if (!outcome) {
      turns_.retry(outcome.error());
      if (handlers_.trouble) handlers_.trouble(outcome.error().to_error());
      return;
    }
    // Refused or not, the mirror tells what is so.
    if (!outcome->succeeded) return turns_.retry();
    changed_at_ = outcome->revision;
    turns_.next();
  }));
  return true;
}

void AddressClaims::mirror_changed() {
  std::map<IpAddress, std::string> now;
  for (const auto& [key, kv] : mirror_.view()) {
    const auto address = claimed_address(std::string_view(key).substr(context_.keys.roles().size()));
    const auto holder = decode_incarnation(key, kv.value);
    if (!address || !holder) {
      const auto why = address ? holder.error() : address.error().in("key " + etcd::printable(key));
      if (handlers_.trouble) handlers_.trouble(why);
      continue;
    }
    now.emplace(*address, holder->node);
  }
  turns_.wake();
  if (now == holders_) return;
  holders_ = std::move(now);
  if (handlers_.changed) handlers_.changed();
}

}  // namespace weft::cluster
