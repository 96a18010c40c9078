#include <gtest/gtest.h>

#include "datapath.h"

namespace weft::test {
void register_all_cases();
}

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  weft::test::enter_private_network();
  weft::test::register_all_cases();
  return RUN_ALL_TESTS();
}
