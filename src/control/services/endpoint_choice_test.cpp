#include "control/services/endpoint_choice.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <string>

namespace weft::control::services {
namespace {

// Each endpoint a word of letters: r ready, s serving, t terminating, l local, u unhealthy, 0 weight 0,
// z/Z hint for another zone / this one, n/N for another node / this one.
std::vector<Backend> endpoints(std::string_view words) {
  std::vector<Backend> result;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i == 0 || words[i - 1] == ' ') result.push_back({IpAddress::v4(0x0a000001U), {}, {}, 0, 80, 1, 0});
    auto& backend = result.back();
    if (i == 0 || words[i - 1] == ' ') backend.bits = backend_ordinary | backend_healthy;
    switch (words[i]) {
      case 'r':
        backend.bits |= backend_ready | backend_serving;
        break;
      case 's':
        backend.bits |= backend_serving;
        break;
      case 't':
        backend.bits |= backend_terminating;
        break;
      case 'l':
        backend.bits |= backend_local;
        break;
      case 'u':
        backend.bits &= ~backend_healthy;
        break;
      case '0':
        backend.weight = 0;
        break;
      case 'z':
        backend.bits |= backend_hints_zone;
        break;
      case 'Z':
        backend.bits |= backend_hints_zone | backend_this_zone;
        break;
      case 'n':
        backend.bits |= backend_hints_node;
        break;
      case 'N':
        backend.bits |= backend_hints_node | backend_this_node;
        break;
      default:
        break;
    }
  }
  return result;
}

std::string chosen(std::string_view words, std::uint16_t bit) {
  auto list = endpoints(words);
  choose_endpoints(list, true, true);
  std::string result;
  for (const auto& backend : list) result += backend.has(bit) ? '+' : '-';
  return result;
}

struct Case {
  const char* what;
  const char* endpoints;
  const char* cluster;
  const char* local;
};

TEST(EndpointChoice, IsKubeProxys) {
  for (const auto& [what, words, cluster, local] : {
           Case{"ready ones", "r r s", "++-", "---"},
           Case{"none at all", "s s", "--", "--"},
           Case{"terminating ones only when none is ready", "r st", "+-", "--"},
           Case{"those that end and still serve", "st t s", "+--", "---"},
           Case{"a ready one that ends is ready", "rt st", "+-", "--"},
           Case{"local ready ones", "rl r rl", "+++", "+-+"},
           Case{"local falls back by itself", "r stl", "+-", "-+"},
           Case{"cluster does not fall back because local does", "stl r", "-+", "+-"},
           Case{"local terminating ones of all", "stl st", "++", "+-"},
           Case{"zone hints", "rZ rz rz", "+--", "---"},
           Case{"zone hints, one missing", "rZ rz r", "+++", "---"},
           Case{"zone hints, none for here", "rz rz", "++", "--"},
           Case{"zone hints of the unready do not count", "rZ rz s", "+--", "---"},
           Case{"a hint for here on an unready one alone", "rz rz sZ", "++-", "---"},
           Case{"node before zone", "rNz rnZ", "+-", "--"},
           Case{"node hints, none for here: the zone", "rnZ rnz", "+-", "--"},
           Case{"node hints, one missing: the zone", "rNz rZ", "-+", "--"},
           Case{"hints do not shape the local policy", "rZ rzl", "+-", "-+"},
           Case{"hints do not hold when all terminate", "stZ stz", "++", "--"},
           Case{"unhealthy ones are not there", "ru r", "-+", "--"},
           Case{"all ready ones unhealthy: those that end", "ru st", "-+", "--"},
           Case{"weight 0 takes no new flows", "r0 r", "-+", "--"},
           Case{"nothing but weight 0", "r0 r0", "--", "--"},
           Case{"an unhealthy one needs no hint", "rZ rz ru", "+--", "---"},
       }) {
    EXPECT_EQ(chosen(words, backend_in_cluster), cluster) << what;
    EXPECT_EQ(chosen(words, backend_in_local), local) << what;
  }
}

TEST(EndpointChoice, OnlyThePoliciesInUse) {
  auto list = endpoints("rl r");
  choose_endpoints(list, false, true);
  EXPECT_FALSE(list[1].has(backend_in_cluster));
  EXPECT_TRUE(list[0].has(backend_in_local));
  list = endpoints("rl r");
  choose_endpoints(list, true, false);
  EXPECT_FALSE(list[0].has(backend_in_local));
}

TEST(EndpointChoice, ThoseOfARedirectAloneAreNotChosen) {
  auto list = endpoints("r r");
  list[0].bits &= ~backend_ordinary;
  choose_endpoints(list, true, true);
  EXPECT_FALSE(list[0].has(backend_in_cluster));
  EXPECT_TRUE(list[1].has(backend_in_cluster));
}

}  // namespace
}  // namespace weft::control::services
