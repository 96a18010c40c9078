// Hostile input: what would cost too much is refused, quickly.
#include <gtest/gtest.h>
#include <malloc.h>

#include <ctime>

#include "model/parse.h"
#include "model/tree.h"

namespace weft::model {
namespace {

void refused(const std::string& text, std::string_view message) {
  const auto outcome = parse_manifests("t", text);
  EXPECT_TRUE(outcome.documents.empty());
  ASSERT_FALSE(outcome.problems.empty());
  EXPECT_NE(outcome.problems[0].message.find(message), std::string::npos) << outcome.problems[0].to_string();
  EXPECT_GE(outcome.problems[0].line, 1);
}

TEST(Limits, AliasBombOfNodes) {
  std::string text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    const auto before = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 0; j < 9; ++j) text += "," + before;
    text += "]\n";
  }
  refused(text, "once its aliases are followed");
}

TEST(Limits, AliasBombOfBytes) {
  std::string text = "a: &a " + std::string(1 << 20, 'x') + "\nb: [*a";
  for (int i = 0; i < 1000; ++i) text += ",*a";
  refused(text + "]\n", "once its aliases are followed");
}

TEST(Limits, AliasBombOfDepth) {
  std::string text = "a0: &a0 [[[[[[[[[[x]]]]]]]]]]\n";
  for (int i = 1; i < 20; ++i)
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [[[[[[[[*a" + std::to_string(i - 1) + "]]]]]]]]\n";
  refused(text, "nested more than 100 deep");
}

TEST(Limits, MergeBomb) {
  std::string text = "a: &a {";
  for (int i = 0; i < 2000; ++i) text += "k" + std::to_string(i) + ": v, ";
  text += "}\n";
  for (int i = 0; i < 2000; ++i) text += "b" + std::to_string(i) + ": {<<: *a}\n";
  refused(text, "once its aliases are followed");
}

TEST(Limits, Depth) {
  refused("a: " + std::string(150, '[') + std::string(150, ']') + "\n", "nested more than 100 deep");
  refused("a: " + std::string(100000, '[') + "\n", "");
  refused("a: " + std::string(100000, '{') + "\n", "");
  std::string dashes;
  for (int i = 0; i < 20000; ++i) dashes += "- ";
  refused(dashes + "a\n", "");
  std::string questions;
  for (int i = 0; i < 20000; ++i) questions += "? ";
  refused(questions + "a\n", "");
  std::string stairs;
  for (int i = 0; i < 300; ++i) stairs += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  refused(stairs, "nested more than 100 deep");
}

TEST(Limits, Values) {
  std::string text = "a: [";
  for (std::size_t i = 0; i <= Limits::nodes; ++i) text += "1,";
  refused(text + "]\n", "values; split it");
}

TEST(Limits, DocumentBytesLeaveTheOthersGood) {
  const std::string big =
      "apiVersion: v1\nkind: ConfigMap\ndata: {a: \"" + std::string(Limits::document_bytes, 'x') + "\"}\n";
  const auto outcome = parse_manifests("t", big + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
  ASSERT_EQ(outcome.problems.size(), 1U);
  EXPECT_NE(outcome.problems[0].message.find("expected a document of at most"), std::string::npos);
  ASSERT_EQ(outcome.documents.size(), 1U);
  EXPECT_EQ(metadata_of(outcome.documents[0].object).location.line, 5);
}

TEST(Limits, Documents) {
  std::string text;
  for (std::size_t i = 0; i <= Limits::documents; ++i) text += "---\na\n";
  const auto outcome = parse_manifests("t", text);
  EXPECT_EQ(outcome.problems.size(), 1U);
  std::string empty;
  for (std::size_t i = 0; i < 500000; ++i) empty += "---\n";
  EXPECT_TRUE(parse_manifests("t", empty).problems.empty());
}

TEST(Limits, ProblemsOfOneDocument) {
  std::string text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n";
  for (int i = 0; i < 5000; ++i) text += "  - bad\n";
  const auto outcome = parse_manifests("t", text);
  EXPECT_EQ(outcome.problems.size(), 51U);
  EXPECT_EQ(outcome.problems.back().message, "and more of the same document, not shown");
}

// Comparing each with each would keep the agent from everything else for minutes.
TEST(Limits, AHundredThousandAddressesCostSeconds) {
  constexpr std::uint32_t count = 100'000;
  std::string list;
  for (std::uint32_t i = 0; i < count; ++i) list += IpAddress::v4(0x0b000000 + i).to_string() + ",";
  std::string networks;
  std::string statuses;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto address = IpAddress::v4(0x0b000000 + i).to_string();
    networks += address + "/32,";
    if (i % 2 == 0) statuses += "{ip: " + address + "},";
  }
  list.pop_back();
  const std::string head = "apiVersion: v1\nkind: Service\nmetadata: {name: a}";
  const std::string spec = "\nspec: {type: LoadBalancer, ports: [{port: 80}]";
  const std::string texts[] = {
      head + spec + ", externalIPs: [" + list + "]}\n",
      head + spec + ", loadBalancerSourceRanges: [" + networks + "]}\n",
      head + spec + "}\nstatus: {loadBalancer: {ingress: [" + statuses + "]}}\n",
  };
  const auto began = std::clock();
  for (const auto& text : texts) {
    const auto outcome = parse_manifests("t", text);
    EXPECT_TRUE(outcome.problems.empty()) << outcome.problems.front().to_string();
    EXPECT_EQ(outcome.documents.size(), 1U);
  }
  EXPECT_LT(static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC, 10.0);
}

TEST(Limits, AMillionOpenBracketsCostNoMemory) {
  const auto before = ::mallinfo2().arena + ::mallinfo2().hblkhd;
  const std::string text = "apiVersion: v1\nkind: " + std::string(1'000'000, '[');
  const auto outcome = parse_manifests("deep.yaml", text);
  ASSERT_EQ(outcome.problems.size(), 1U);
  EXPECT_EQ(outcome.problems.front().line, 2);
  EXPECT_LT(::mallinfo2().arena + ::mallinfo2().hblkhd, before + 20'000'000);
}

}  // namespace
}  // namespace weft::model
