// What the tests of nodes run on: etcd's fake, or whatever else keeps keys and has a world like its (the tests are
// compiled again for it).
#pragma once

#ifdef WEFT_CLUSTER_TEST_WORLD
#include WEFT_CLUSTER_TEST_WORLD
#else
#include "sources/etcd/testing/world.h"

namespace weft::cluster::testing {

using TestWorld = etcd::testing::FakeWorld;
// Keys count their writes, history can be compared key by key, space can run out.
inline constexpr bool is_etcd = true;

}  // namespace weft::cluster::testing
#endif
