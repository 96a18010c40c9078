#include "sources/cluster/operators.h"

#include <utility>

namespace weft::cluster {

// --- OperatorSeat --------------------------------------------------------------------------------

OperatorSeat::OperatorSeat(Context context, OperatorKey self, const OperatorRecord& record,
                           etcd::SessionOptions session, Handlers handlers)
    : self_(std::move(self)),
      key_(context.keys.build(self_)),
      handlers_(std::move(handlers)),
      session_(context.client, context.scheduler, context.random, session,
               {.established =
                    [this](etcd::LeaseId lease) {
                      membership_ =
                          Membership{.epoch = ++epoch_,
                                     .lease = lease,
                                     .holds = {.key = key_, .target = etcd::Compare::Target::lease, .number = lease}};
                      if (handlers_.changed) handlers_.changed();
                    },
                .lost =
                    [this](const etcd::Failure& why) {
                      membership_.reset();
                      if (handlers_.changed) handlers_.changed();
                      if (handlers_.trouble) handlers_.trouble(why.to_error());
                    },
                .trouble =
                    [this](const etcd::Failure& why) {
                      if (handlers_.trouble) handlers_.trouble(why.to_error());
                    }}) {
  session_.bind(key_, encode(record));
}

Candidate OperatorSeat::candidate() {
  return {[this] { return membership_; }, encode(Incarnation{self_.name, self_.run})};
}

void OperatorSeat::update(const OperatorRecord& record) { session_.bind(key_, encode(record)); }

void OperatorSeat::close(etcd::Done<void> done) {
  session_.close(std::move(done));
  membership_.reset();
  if (handlers_.changed) handlers_.changed();
}

// --- OperatorTable -------------------------------------------------------------------------------

OperatorTable::OperatorTable(Context context, Handlers handlers)
    : context_(std::move(context)),
      handlers_(std::move(handlers)),
      mirror_(context_.client, context_.scheduler, context_.random, context_.mirror(context_.keys.operators()),
              {.changed = [this](const etcd::Change& change) { mirror_changed(change); },
               .state =
                   [this] {
                     if (handlers_.changed) handlers_.changed();
                   }}) {}

void OperatorTable::mirror_changed(const etcd::Change& change) {
  const auto trouble = [this](const Error& error) {
    if (handlers_.trouble) handlers_.trouble(error);
  };
  for (const auto& kv : change.erased)
    if (const auto key = context_.keys.parse_as<OperatorKey>(kv.key)) all_.erase(*key);
  for (const auto& kv : change.set) {
    const auto key = context_.keys.parse_as<OperatorKey>(kv.key);
    if (!key) {
      trouble(key.error());
      continue;
    }
    auto record = decode_operator(kv.key, kv.value);
    if (!record) trouble(record.error());
    all_.insert_or_assign(*key, record ? std::move(*record) : OperatorRecord());
  }
  if (handlers_.changed) handlers_.changed();
}

}  // namespace weft::cluster
