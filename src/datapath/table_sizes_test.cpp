#include "datapath/table_sizes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "datapath/testing.h"

namespace weft::datapath {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// `count` Services of one frontend, two slots and one backend each.
void fill(const testing::FakeMaps& maps, std::uint32_t count) {
  bpfrt::Map<weft_service_key, weft_service> frontends(*maps.find("weft_svc_v2"));
  auto backends = maps.backends();
  for (std::uint32_t i = 1; i <= count; ++i) {
    weft_service_key key{};
    key.addr.word[3] = i;
    weft_service row{};
    row.service_id = i;
    row.first_slot = i * 2;
    row.slot_count = 2;
    ASSERT_TRUE(frontends.update(key, row));
    backends[i].state = WEFT_BACKEND_ACTIVE;
  }
}

struct Case {
  testing::FakeMaps maps{{{"weft_svc_v2", 64}, {"weft_backend_v2", 64}, {"weft_slot_v2", 128}}};
  Options options;
  std::vector<std::string> keep() {
    return keep_sizes(options, [&](const std::string& name) { return maps.find(name); });
  }
};

TEST(TableSizes, ATableThatIsMadeLargerOrThatFitsIsAsAskedFor) {
  Case given;
  fill(given.maps, 10);
  given.options.service_entries = 16;
  given.options.backend_entries = 16;
  given.options.slot_entries = 32;
  EXPECT_THAT(given.keep(), IsEmpty());
  EXPECT_EQ(given.options.service_entries, 16U);
  EXPECT_EQ(given.options.backend_entries, 16U);
  EXPECT_EQ(given.options.slot_entries, 32U);
  given.options.service_entries = 1024;
  EXPECT_THAT(given.keep(), IsEmpty());
  EXPECT_EQ(given.options.service_entries, 1024U);
}

TEST(TableSizes, ATableThatWouldNotHoldItsRowsKeepsItsSizeAndSaysSo) {
  Case given;
  fill(given.maps, 20);
  given.options.service_entries = 16;
  given.options.backend_entries = 22;  // enough, but for the room to spare
  given.options.slot_entries = 64;
  EXPECT_THAT(given.keep(), ElementsAre(HasSubstr("service_table_entries is 16"), HasSubstr("backend_table_entries")));
  EXPECT_EQ(given.options.service_entries, 64U);
  EXPECT_EQ(given.options.backend_entries, 64U);
  EXPECT_EQ(given.options.slot_entries, 64U) << "its rows fit";
  given.options.slot_entries = 32;
  const auto kept = given.keep();
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(kept[0],
            "slot_table_entries is 32, too few for what the table holds, 40: it keeps its size of 128; raise "
            "slot_table_entries to 50 or more, or delete Services and restart weftd");
}

TEST(TableSizes, WithoutTablesThereIsNothingToKeep) {
  Options options;
  options.service_entries = 1;
  EXPECT_THAT(keep_sizes(options, [](const std::string&) { return nullptr; }), IsEmpty());
  EXPECT_EQ(options.service_entries, 1U);
}

}  // namespace
}  // namespace weft::datapath
