// What the nodes of a cluster share as objects of the API server (docs/adr/0019-state-in-crds.md), to whoever takes it
// for an etcd: one object for each key, its resourceVersion for the key's revision, a Lease for each session, a watch
// for each folder of keys. What a transaction of several keys becomes stands in plan.h.
//
// Not everything of etcd is here: nothing is compacted, folders are read whole, and of the past only what a Watch asks
// for to recognize it. What is not is refused as `invalid`.
//
// Owner thread only. `http` and `scheduler` must outlive it. Nobody but a SessionReaper (session_reaper.h) ends
// sessions whose holder is gone.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "sources/etcd/backoff.h"
#include "sources/etcd/client.h"
#include "sources/etcd/scheduler.h"
#include "sources/kubernetes/http.h"

namespace weft::crd {

struct StoreOptions {
  std::string cluster = "default";  // of the keys; objects do not say it
  std::string namespace_name = "weft-system";
  std::string holder;  // of sessions, for people: a node's name
  std::chrono::milliseconds timeout{5000};
  std::chrono::milliseconds list_timeout{60000};
  std::size_t slice = 32;  // pods of a node in one object; 0: all
  // A watch is asked for this long, up to twice as long, by chance.
  std::chrono::seconds watch_for{300};
  // Bookmarks come about once a minute: a watch silent for longer is given up.
  std::chrono::milliseconds silence{180000};
  std::function<std::chrono::system_clock::time_point()> wall_clock = std::chrono::system_clock::now;
  // Of objects that make no sense; they are left alone.
  std::function<void(const Error& error)> trouble;
};

// `invalid` when the name of the cluster or the namespace is none. Does not connect before the first request.
Result<std::unique_ptr<etcd::Client>> make_kubernetes_store(etcd::Scheduler& scheduler, kubernetes::Http& http,
                                                            StoreOptions options, etcd::Random random);

}  // namespace weft::crd
