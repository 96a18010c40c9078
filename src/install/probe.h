// What runs inside the pods of a connectivity test: a server that says its name, and a client that asks. Blocking; only
// this process's sockets are touched.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace weft::install {

struct Probe {
  std::string name;  // of the check, as it stands in the results
  // tcp, udp: somebody says a name; connect: somebody accepts; lookup: the name has an address.
  std::string kind;
  std::string to;  // an address or a name
  std::uint16_t port = 0;
  bool answers = true;  // false: it must not be reached
};
struct ProbeResult {
  bool good = false;
  std::string saw;  // "server-a in 0.4 ms", "no answer within 1000 ms", "connection refused"
};

nlohmann::json to_json(const std::vector<Probe>& probes);
nlohmann::json to_json(const std::vector<ProbeResult>& results);
Result<std::vector<Probe>> probes_from(const std::string& text);
Result<std::vector<ProbeResult>> results_from(const std::string& text);

// In the order of the probes. A container can say 4096 bytes when it ends, so they say no more than they must.
//
// Each is tried until it is as it should be, `limit` at most: what was made a moment ago takes its time. What must not
// be reached has to be so twice, a second apart, since a policy may come later than a pod.
std::vector<ProbeResult> run_probes(const std::vector<Probe>& probes, std::chrono::milliseconds limit);

// Says `name` to everybody, on these ports of TCP and UDP, until a signal ends it. Returns only with an error.
Error serve(const std::string& name, const std::vector<std::uint16_t>& ports);

}  // namespace weft::install
