#include "sources/cluster/member.h"

#include <fmt/format.h>

#include <utility>

namespace weft::cluster {

Result<void> validate(const MemberOptions& options) {
  WEFT_TRY(const auto keys, Keyspace::make(options.cluster));
  WEFT_CHECK(check_name("node", options.self.name));
  WEFT_CHECK(check_pools(options.pools));
  if (options.self.boot_id.empty()) return fail(ErrorCode::invalid, "the node's boot id is missing");
  if (options.self.boot_id == options.self.predecessor)
    return fail(ErrorCode::invalid, "the node's boot id is its predecessor's");
  if (options.delay < 2 * options.lease)
    return fail(ErrorCode::invalid, fmt::format("delay: {} s is less than twice the lease's {} s",
                                                options.delay.count(), options.lease.count()));
  if (options.identities.first < WEFT_IDENTITY_FIRST || options.identities.last > WEFT_IDENTITY_LAST ||
      options.identities.first > options.identities.last)
    return fail(ErrorCode::invalid, fmt::format("identities: {} to {} is not inside {} to {}", options.identities.first,
                                                options.identities.last, +WEFT_IDENTITY_FIRST, +WEFT_IDENTITY_LAST));
  return {};
}

Member::Member(etcd::Client& client, etcd::Scheduler& scheduler, etcd::Random random, MemberOptions options,
               MemberHandlers handlers)
    : stands_in_(options.stands_in),
      context_{.client = client,
               .scheduler = scheduler,
               .random = std::move(random),
               .keys = Keyspace::make(options.cluster).value(),
               .backoff = options.backoff,
               .delay = options.delay,
               .lease = options.lease},
      registry_(context_, std::move(options.self), {.ttl = options.lease, .backoff = options.backoff},
                {.changed =
                     [this, told = std::move(handlers.nodes)](const NodeDifference& difference) {
                       if (told) told(difference);
                       endpoints_.nodes_changed(difference);
                       endpoint_publisher_.nodes_changed();
                     },
                 .joined =
                     [this, told = std::move(handlers.joined)] {
                       membership_changed();
                       if (told) told();
                     },
                 .left =
                     [this, told = std::move(handlers.left)](const etcd::Failure& why) {
                       membership_changed();
                       if (told) told(why);
                     },
                 .refused = std::move(handlers.refused),
                 .trouble = handlers.trouble}),
      blocks_(context_, registry_, std::move(options.pools), options.remembered,
              {.owners = std::move(handlers.block_owners),
               .changed = std::move(handlers.blocks),
               .lost = std::move(handlers.blocks_lost),
               .trouble = handlers.trouble}),
      identities_(context_, registry_, options.identities,
                  {.changed = std::move(handlers.identities),
                   .renumbered = std::move(handlers.renumbered),
                   .trouble = handlers.trouble}),
      endpoint_publisher_(context_, registry_, handlers.trouble),
      enforcement_publisher_(context_, registry_, handlers.trouble),
      endpoints_(context_, registry_,
                 {.changed = std::move(handlers.endpoints),
                  .seen =
                      [this](const EndpointsKey& key, etcd::Revision revision, etcd::Revision at) {
                        if (key.node == registry_.self().name) endpoint_publisher_.seen(key.slice, revision, at);
                      },
                  .trouble = handlers.trouble}),
      role_(context_, registry_.candidate(), std::string(collector_role), options.patience,
            {.changed = [this] { collector_.role_changed(); }, .trouble = handlers.trouble}),
      collector_(context_, role_, options.round, handlers.trouble),
      operators_(context_, {.changed = [this] { operators_changed(); }, .trouble = handlers.trouble}),
      announcers_(context_, registry_, {.changed = std::move(handlers.announcers), .trouble = handlers.trouble}) {
  operators_changed();
}

// While it is not known whether there is one, there may be.
void Member::operators_changed() { role_.want(stands_in_ && operators_.synced() && operators_.all().empty()); }

void Member::membership_changed() {
  blocks_.membership_changed();
  identities_.membership_changed();
  endpoint_publisher_.membership_changed();
  enforcement_publisher_.membership_changed();
  role_.membership_changed();
  announcers_.membership_changed();
}

}  // namespace weft::cluster
