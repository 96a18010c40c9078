#include "agent/faults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(Faults, WhatComesWithARemedyHasItUntilItIsOver) {
  Faults faults;
  faults.set("store", "the disk is full");
  EXPECT_THAT(faults.remedy("store"), HasSubstr("state_dir"));
  faults.set("store", "the disk is full", "delete the logs");
  EXPECT_EQ(faults.remedy("store"), "delete the logs");
  faults.clear("store");
  faults.set("store", "the disk is full");
  EXPECT_THAT(faults.remedy("store"), HasSubstr("state_dir"));
}

TEST(Faults, AGroupIsReplacedWholeWithItsRemedies) {
  Faults faults;
  faults.set("other", "stays");
  faults.replace("node health ", std::map<std::string, Fault>{{"node health a", {"a", "mend a"}}});
  faults.replace("node health ", std::map<std::string, Fault>{{"node health b", {"b", "mend b"}}});
  EXPECT_THAT(faults.texts(), ElementsAre(Pair("node health b", "b"), Pair("other", "stays")));
  EXPECT_EQ(faults.remedy("node health b"), "mend b");
}

// The subjects that are set in this room with a text that does not say what to do.
TEST(Faults, EverySubjectThatNeedsOneHasAUsualRemedy) {
  for (const auto* about : {"announced",
                            "bgp peer 192.0.2.1",
                            "bgp silence",
                            "cluster objects",
                            "devices",
                            "egress address 192.0.2.7",
                            "egress addresses",
                            "encryption device weft-wg0",
                            "encryption keys",
                            "encryption programs",
                            "encryption routes",
                            "node",
                            "node route 10.0.0.0/8",
                            "node routes",
                            "overlay",
                            "overlay programs",
                            "path MTU",
                            "pod x/eth0",
                            "publish",
                            "services",
                            "socket hook",
                            "store"})
    EXPECT_FALSE(usual_remedy(about).empty()) << about;
  EXPECT_NE(usual_remedy("node route x"), usual_remedy("node"));
  EXPECT_NE(usual_remedy("bgp peer x"), usual_remedy("bgp speaker"));
  EXPECT_THAT(usual_remedy("nobody knows"), IsEmpty());
}

}  // namespace
}  // namespace weft::agent
