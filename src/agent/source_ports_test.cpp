#include "agent/source_ports.h"

#include <gtest/gtest.h>

namespace weft::agent {
namespace {

constexpr const char* kTable =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n"
    "  11: 0100000A:B3B0 0200000A:1F90 01 00000000:00000000 00:00000000 00000000     0        0 1 1\n";
constexpr const char* kTable6 =
    "  sl  local_address                         remote_address                        st\n"
    "   0: 00000000000000000000000001000000:B3B1 00000000000000000000000001000000:C001 01\n";

TEST(SourcePorts, FindsSocketsByTheirLocalPort) {
  EXPECT_TRUE(has_local_port(kTable, 0xb3b0, 0xb3b0));
  EXPECT_TRUE(has_local_port(kTable, 8080, 8080));
  EXPECT_FALSE(has_local_port(kTable, 0xb3b1, 0xffff));
  EXPECT_FALSE(has_local_port(kTable, 8081, 0xb3af));
  EXPECT_TRUE(has_local_port(kTable6, 0xb3b1, 0xb3b1));
  EXPECT_FALSE(has_local_port(kTable6, 0xc001, 0xc001)) << "the remote port";
}

TEST(SourcePorts, KeepsWhatAnAdministratorReserved) {
  EXPECT_EQ(ports_with("", "45056-65535"), "45056-65535");
  EXPECT_EQ(ports_with("8080,9000-9010\n", "45056-65535"), "8080,9000-9010,45056-65535");
  EXPECT_EQ(ports_with("40000-50000", "45056-65535"), "40000-65535");
  EXPECT_EQ(ports_without("8080,9000-9010,45056-65535\n", "45056-65535"), "8080,9000-9010");
  EXPECT_EQ(ports_without("45056-65535", "8080,45056-65535"), "");
  EXPECT_EQ(ports_without("1-5", "3"), "1-2,4-5");
  for (const auto* odd : {"a", "5-", "-5", "7-3", "70000", "1,,2", "1-2-3", "1 2"})
    EXPECT_EQ(ports_with(odd, "9"), "9") << odd;
}

TEST(SourcePorts, TakesNoNumberFromWhatIsNoSocket) {
  EXPECT_FALSE(has_local_port("", 0, 65535));
  EXPECT_FALSE(has_local_port("  sl  local_address rem_address   st\n", 0, 65535));
  EXPECT_FALSE(has_local_port("   0: 0100007F:1F", 0, 65535));
  EXPECT_FALSE(has_local_port("   0: 0100007F:xyz1 0", 0, 65535));
}

}  // namespace
}  // namespace weft::agent
