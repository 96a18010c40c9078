// The same expectations for kernel maps and the fake, so that others can trust the fake.
#include "bpfrt/map.h"

#include <map>

#include "bpfrt/bpf_test_support.h"
#include "bpfrt/link.h"

namespace weft::bpfrt {
namespace {

struct Kind {
  const char* name;
  bpf_map_type type;
  std::uint32_t flags;
};
constexpr Kind hash{"hash", BPF_MAP_TYPE_HASH, 0};
constexpr Kind hash_on_demand{"hash", BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC};
constexpr Kind array{"array", BPF_MAP_TYPE_ARRAY, 0};
constexpr Kind mapped_array{"array", BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE};

Fd create(const Kind& kind, std::uint32_t key_size, std::uint32_t value_size, std::uint32_t max_entries) {
  bpf_map_create_opts options{};
  options.sz = sizeof options;
  options.map_flags = kind.flags;
  Fd fd(bpf_map_create(kind.type, "weft_map", key_size, value_size, max_entries, &options));
  EXPECT_TRUE(fd.valid()) << std::strerror(errno);
  return fd;
}

class MapTest : public BpfTest, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) BpfTest::SetUp();
  }
  static std::unique_ptr<RawMap> make(const Kind& kind, std::uint32_t max_entries) {
    if (GetParam()) return kernel_map(create(kind, 4, 8, max_entries));
    MapInfo info;
    info.name = "weft_map";
    info.type = kind.name;
    info.key_size = 4;
    info.value_size = 8;
    info.max_entries = max_entries;
    return std::make_unique<FakeMap>(info);
  }
};

INSTANTIATE_TEST_SUITE_P(Kernels, MapTest, testing::Bool(),
                         [](const auto& instance) { return instance.param ? "linux" : "fake"; });

std::map<std::uint32_t, std::uint64_t> content(const Map<std::uint32_t, std::uint64_t>& map) {
  std::map<std::uint32_t, std::uint64_t> rows;
  EXPECT_TRUE(map.for_each([&](const std::uint32_t& key, const std::uint64_t& value) {
    EXPECT_TRUE(rows.emplace(key, value).second) << "visited twice: " << key;
    return true;
  }));
  return rows;
}

TEST_P(MapTest, HoldsEntries) {
  auto raw = make(hash, 3);
  Map<std::uint32_t, std::uint64_t> map(*raw);
  EXPECT_EQ(map.lookup(1).value(), std::nullopt);
  EXPECT_TRUE(map.update(1, 10));
  EXPECT_TRUE(map.update(1, 11));
  EXPECT_TRUE(map.update(2, 20));
  EXPECT_TRUE(map.update(3, 30));
  EXPECT_EQ(map.update(4, 40).error().code, ErrorCode::exhausted);
  EXPECT_NE(map.update(4, 40).error().message.find("weft_map"), std::string::npos);
  EXPECT_EQ(map.lookup(1).value(), 11U);
  EXPECT_EQ(content(map), (std::map<std::uint32_t, std::uint64_t>{{1, 11}, {2, 20}, {3, 30}}));
  EXPECT_TRUE(map.erase(2));
  EXPECT_TRUE(map.erase(2)) << "absent is success";
  EXPECT_EQ(content(map), (std::map<std::uint32_t, std::uint64_t>{{1, 11}, {3, 30}}));
  const auto info = raw->info().value();
  EXPECT_EQ(info.type, "hash");
  EXPECT_EQ(info.max_entries, 3U);
}

TEST_P(MapTest, AnArrayIsFullFromTheStart) {
  auto raw = make(array, 4);
  Map<std::uint32_t, std::uint64_t> map(*raw);
  EXPECT_TRUE(map.update(2, 7));
  EXPECT_EQ(map.lookup(0).value(), 0U);
  EXPECT_EQ(map.lookup(4).value(), std::nullopt);
  EXPECT_EQ(map.update(4, 1).error().code, ErrorCode::exhausted);
  EXPECT_FALSE(map.erase(2));
  EXPECT_EQ(content(map), (std::map<std::uint32_t, std::uint64_t>{{0, 0}, {1, 0}, {2, 7}, {3, 0}}));
}

TEST_P(MapTest, AMappedArrayIsWrittenInPlace) {
  auto raw = make(mapped_array, 5000);
  auto rows = ArrayRows<std::uint64_t>::open(*raw);
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_EQ(rows->size(), 5000U);
  (*rows)[4999] = 7;
  Map<std::uint32_t, std::uint64_t> map(*raw);
  EXPECT_EQ(map.lookup(4999).value(), 7U);
  EXPECT_TRUE(map.update(3, 9));
  EXPECT_EQ((*rows)[3], 9U);
  EXPECT_EQ(ArrayRows<std::uint32_t>::open(*raw).error().code, ErrorCode::internal) << "another value";
}

TEST_P(MapTest, AMappedArrayIsMappedWhereItIsUsed) {
  constexpr std::uint32_t many = 1 << 20;
  auto raw = make(mapped_array, many);
  const auto mapped = [] {
    const auto status = sys::read_file("/proc/self/smaps").value();
    std::size_t kilobytes = 0;
    bool ours = false;
    for (std::size_t at = 0; at < status.size();) {
      const auto end = std::min(status.find('\n', at), status.size());
      const auto line = status.substr(at, end - at);
      if (line.contains("bpf-map") || (line.contains('-') && line.contains(" 00000000 ")))
        ours = line.contains("bpf-map");
      if (ours && line.starts_with("Size:")) kilobytes += std::stoul(line.substr(5));
      at = end + 1;
    }
    return kilobytes;
  };
  const auto before = mapped();
  const auto rows = ArrayRows<std::uint64_t>::open(*raw).value();
  for (const std::uint32_t at : {0U, 1U, many / 2, many - 1}) rows[at] = at + 1;
  EXPECT_LE(mapped() - before, 3U * 64) << "of 8 MB";
  std::map<std::uint32_t, std::uint64_t> seen;
  ASSERT_TRUE(rows.for_each([&](std::uint32_t index, const std::uint64_t& value) {
    if (value != 0) seen[index] = value;
    return true;
  }));
  EXPECT_EQ(seen, (std::map<std::uint32_t, std::uint64_t>{{0, 1}, {1, 2}, {many / 2, many / 2 + 1}, {many - 1, many}}));
  EXPECT_LE(mapped() - before, 3U * 64) << "listing maps nothing";
  EXPECT_EQ(raw->memory(std::size_t{many} * 8, 8).error().code, ErrorCode::invalid);
}

TEST_P(MapTest, OtherMapsAreNotMapped) {
  auto raw = make(hash, 3);
  EXPECT_EQ(raw->memory(0, 8).error().code, ErrorCode::unsupported);
}

TEST_P(MapTest, VisitsManyEntriesOnceAndStopsWhenTold) {
  for (const Kind& kind : {hash, hash_on_demand}) {
    auto raw = make(kind, 20000);
    Map<std::uint32_t, std::uint64_t> map(*raw);
    for (std::uint32_t key = 0; key < 20000; ++key) ASSERT_TRUE(map.update(key, key));
    EXPECT_EQ(content(map).size(), 20000U);
    int visited = 0;
    EXPECT_TRUE(map.for_each([&](const auto&, const auto&) { return ++visited < 5000; }));
    EXPECT_EQ(visited, 5000);
  }
}

TEST_P(MapTest, AllowsErasingWhileVisiting) {
  auto raw = make(hash, 1000);
  Map<std::uint32_t, std::uint64_t> map(*raw);
  for (std::uint32_t key = 0; key < 1000; ++key) ASSERT_TRUE(map.update(key, key));
  ASSERT_TRUE(map.for_each([&](const std::uint32_t& key, const auto&) { return map.erase(key).has_value(); }));
  EXPECT_TRUE(content(map).empty());
}

TEST_P(MapTest, RefusesKeysAndValuesOfTheWrongSize) {
  auto raw = make(hash, 3);
  EXPECT_EQ((Map<std::uint64_t, std::uint64_t>(*raw).update(1, 1).error().code), ErrorCode::invalid);
  EXPECT_EQ((Map<std::uint32_t, std::uint32_t>(*raw).update(1, 1).error().code), ErrorCode::invalid);
  EXPECT_EQ((Map<std::uint64_t, std::uint64_t>(*raw).lookup(1).error().code), ErrorCode::invalid);
}

TEST(FaultyMap, FailsEveryNthChangeUntilHealed) {
  MapInfo info;
  info.type = "hash";
  info.key_size = info.value_size = 4;
  info.max_entries = 10;
  FaultyMap raw(std::make_unique<FakeMap>(info), 3);
  Map<std::uint32_t, std::uint32_t> map(raw);
  EXPECT_TRUE(map.update(1, 1));
  EXPECT_TRUE(map.erase(1));
  EXPECT_EQ(map.update(2, 2).error().code, ErrorCode::io);
  EXPECT_EQ(map.lookup(2).value(), std::nullopt);
  raw.heal();
  for (std::uint32_t key = 0; key < 6; ++key) EXPECT_TRUE(map.update(key, key));
}

TEST(FakeMap, AnLruMakesRoom) {
  MapInfo info;
  info.type = "lru_hash";
  info.key_size = info.value_size = 4;
  info.max_entries = 2;
  FakeMap raw(info);
  Map<std::uint32_t, std::uint32_t> map(raw);
  for (std::uint32_t key = 0; key < 5; ++key) EXPECT_TRUE(map.update(key, key));
  EXPECT_EQ(map.lookup(4).value(), 4U);
}

class KernelMapTest : public BpfTest {};

TEST_F(KernelMapTest, ListsEveryKindOfMap) {
  auto per_cpu = kernel_map(create({"percpu_array", BPF_MAP_TYPE_PERCPU_ARRAY, 0}, 4, 4, 3));
  int visited = 0;
  ASSERT_TRUE(per_cpu->for_each([&](Bytes, Bytes value) {
    EXPECT_EQ(value.size() % 8, 0U);
    EXPECT_GE(value.size(), 8U);
    return ++visited > 0;
  }));
  EXPECT_EQ(visited, 3);

  auto trie = kernel_map(create({"lpm_trie", BPF_MAP_TYPE_LPM_TRIE, BPF_F_NO_PREALLOC}, 8, 4, 100));
  Map<std::array<std::uint32_t, 2>, std::uint32_t> prefixes(*trie);
  for (std::uint32_t i = 0; i < 50; ++i) ASSERT_TRUE(prefixes.update({32, i}, i));
  visited = 0;
  ASSERT_TRUE(trie->for_each([&](Bytes, Bytes) { return ++visited > 0; }));
  EXPECT_EQ(visited, 50);

  auto ring = kernel_map(create({"ringbuf", BPF_MAP_TYPE_RINGBUF, 0}, 0, 0, 4096));
  EXPECT_EQ(ring->info().value().type, "ringbuf");
  EXPECT_EQ(ring->for_each([](Bytes, Bytes) { return true; }).error().code, ErrorCode::unsupported);
}

TEST_F(KernelMapTest, SharesAMapByItsPin) {
  auto first = kernel_map(create(hash, 4, 8, 10));
  ASSERT_TRUE(pin_object(first->fd(), pin("deeper/map")));
  ASSERT_TRUE((Map<std::uint32_t, std::uint64_t>(*first).update(1, 2)));
  auto second = open_pinned_map(pin("deeper/map"));
  ASSERT_TRUE(second);
  EXPECT_EQ((*second)->info().value().id, first->info().value().id);
  EXPECT_GT((*second)->info().value().memory_bytes, 0U);
  EXPECT_EQ((Map<std::uint32_t, std::uint64_t>(**second).lookup(1).value()), 2U);

  auto other = kernel_map(create(hash, 4, 8, 10));
  ASSERT_TRUE(pin_object(other->fd(), pin("deeper/map"))) << "replaces what is there";
  EXPECT_EQ(open_pinned_map(pin("deeper/map")).value()->info().value().id, other->info().value().id);
  EXPECT_EQ(list_pins(pin("deeper")), std::vector<std::string>{"map"});
  remove_pin(pin("deeper/map"));
  EXPECT_EQ(open_pinned_map(pin("deeper/map")).error().code, ErrorCode::not_found);
  EXPECT_TRUE(list_pins(pin("deeper")).empty());
  EXPECT_TRUE(list_pins(pin("none")).empty());
}

TEST_F(KernelMapTest, RefusesPinsThatAreNoMaps) {
  const Fd program = load_program(BPF_PROG_TYPE_SCHED_CLS, 0);
  ASSERT_TRUE(pin_object(program.get(), pin("program")));
  EXPECT_FALSE(open_pinned_map(pin("program")));
  EXPECT_GT(program_id(program.get()).value(), 0U);
}

}  // namespace
}  // namespace weft::bpfrt
