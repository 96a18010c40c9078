#include "agent/fold.h"

#include <gmock/gmock.h>

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Fold, FewAreAllNamed) {
  const auto folded = fold({"shop", "bank", "shop"});
  EXPECT_THAT(folded.named, ElementsAre(0, 1, 2));
  EXPECT_THAT(folded.rest, IsEmpty());
  EXPECT_THAT(fold({}).named, IsEmpty());
  EXPECT_THAT(fold({"shop", "shop", "shop", "shop"}).rest, IsEmpty()) << "a line that says one more is as long";
}

// A tenant who makes a thousand broken objects has three lines and one.
TEST(Fold, ManyOfOneNamespaceHideNobodyElses) {
  std::vector<std::string_view> namespaces(1000, "a");
  namespaces.emplace_back("zoo");
  namespaces.emplace_back("");
  const auto folded = fold(namespaces);
  EXPECT_THAT(folded.named, ElementsAre(0, 1, 2, 1000, 1001));
  EXPECT_THAT(folded.rest, ElementsAre("997 more in namespace a"));
}

TEST(Fold, ManyNamespacesHaveAnEndToo) {
  const std::vector<std::string> names{"a", "b", "c", "d", "e"};
  std::vector<std::string_view> namespaces;
  for (const auto& name : names) namespaces.insert(namespaces.end(), 2, name);
  const auto folded = fold(namespaces, 2, 3);
  EXPECT_THAT(folded.named, ElementsAre(0, 2, 4));
  EXPECT_THAT(folded.rest, ElementsAre("1 more in namespace a", "1 more in namespace b", "1 more in namespace c",
                                       "4 more in 2 other namespaces"));
  EXPECT_THAT(fold({"", "", "", "", ""}, 3, 9).rest, ElementsAre("2 more without a namespace"));
}

}  // namespace
}  // namespace weft::agent
