#include "sys/other_programs.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <thread>

namespace weft::sys {
namespace {

// In a network namespace of its own; false where `command` cannot be run there.
bool in_new_netns(const std::string& command, const std::function<void()>& look) {
  bool ran = false;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) return;
    ran = std::system((command + " 2>/dev/null").c_str()) == 0;  // NOLINT: a test's own words
    if (ran) look();
  }).join();
  return ran;
}

TEST(OtherPrograms, ChainsOfNftables) {
  std::vector<FilterChain> chains;
  const bool ran = in_new_netns(
      "nft add table ip kube-proxy && nft add chain ip kube-proxy services && "
      "nft add table ip nat && nft add chain ip nat KUBE-SERVICES",
      [&] { chains = filter_chains().value(); });
  if (!ran) GTEST_SKIP() << "needs root and nft";
  EXPECT_EQ(chains, (std::vector<FilterChain>{{"kube-proxy", "services", "nft"}, {"nat", "KUBE-SERVICES", "nft"}}));
}

TEST(OtherPrograms, ChainsOfLegacyTables) {
  std::vector<FilterChain> chains;
  const bool ran = in_new_netns(
      "iptables-legacy -t nat -N KUBE-SERVICES && iptables-legacy -t nat -A PREROUTING -j KUBE-SERVICES && "
      "iptables-legacy -t nat -N KUBE-NODEPORTS && ip6tables-legacy -t filter -N cali-INPUT",
      [&] { chains = filter_chains().value(); });
  if (!ran) GTEST_SKIP() << "needs root, iptables-legacy and its kernel modules";
  EXPECT_EQ(chains, (std::vector<FilterChain>{{"filter", "cali-INPUT", "ip6tables"},
                                              {"nat", "KUBE-NODEPORTS", "iptables"},
                                              {"nat", "KUBE-SERVICES", "iptables"}}));
}

TEST(OtherPrograms, AnEmptyNamespaceHasNone) {
  std::size_t chains = 1;
  std::size_t programs = 1;
  const bool ran = in_new_netns("true", [&] {
    chains = filter_chains().value().size();
    programs = filter_programs(1).value().size();
  });
  if (!ran) GTEST_SKIP() << "needs root";
  EXPECT_EQ(chains + programs, 0U);
}

}  // namespace
}  // namespace weft::sys
