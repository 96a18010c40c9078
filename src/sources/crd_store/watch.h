// A watch of a folder of keys. Inside this room only.
#pragma once

#include <memory>

#include "sources/etcd/client.h"

namespace weft::crd {

class KubernetesStore;

// One whose time is over, which the server ends after some minutes, is opened again from where it was; what else ends
// it is told. The store outlives it, or nothing is told any more.
std::unique_ptr<etcd::WatchStream> make_watch(KubernetesStore& store, etcd::WatchRequest request,
                                              etcd::WatchHandlers handlers);

}  // namespace weft::crd
