#include <gtest/gtest.h>
#include <sched.h>

#include "datapath.h"

namespace weft::test {
void register_all_cases();
}

namespace {

// Muted events and the free lists of LRU maps are per CPU: a test that moved would see another's.
void stay_on_one_cpu() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<unsigned>(sched_getcpu()), &cpus);
  if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) perror("sched_setaffinity");
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  stay_on_one_cpu();
  weft::test::enter_private_network();
  weft::test::register_all_cases();
  return RUN_ALL_TESTS();
}
