// The Client that talks to a real cluster.
//
// One thread of its own waits for the network and posts to the scheduler; gRPC adds a few. Everything
// else is the owner's thread. The destructor cancels what is in progress and returns when gRPC has
// let go of it.
#pragma once

#include <memory>

#include "base/result.h"
#include "sources/etcd/client.h"
#include "sources/etcd/options.h"
#include "sources/etcd/scheduler.h"

namespace weft::etcd {

// `invalid` naming the field of the options that is wrong. Does not connect before the first request.
// `scheduler` must outlive the client.
Result<std::unique_ptr<Client>> make_client(Scheduler& scheduler, const Options& options, const Random& random);

// From the system's source of randomness.
Random system_random();

}  // namespace weft::etcd
