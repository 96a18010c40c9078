// `weft lab probe`: real connections beside what the policy engine says of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "lab/inventory.h"
#include "lab/layout.h"

namespace weft::lab {

struct ProbeOptions {
  enum class Families { prefer_v4, v6, all };
  std::vector<std::string> from;   // "ns/pod", "ns/workload", "host", "node2", "world", "host1"; none: all pods
  std::vector<std::string> to;     // also "svc/ns/name" and addresses; none: all pods
  std::vector<std::string> ports;  // "80/TCP", "53/UDP", "ICMP"; none: the declared ones
  std::chrono::milliseconds timeout{1000};
  Families families = Families::prefer_v4;
};

// An end of a connection: the node whose agent decides about it, empty when it is outside, and what agents call it
// (words of docs/api.md's policy.verdicts): that one, and those of other nodes.
struct QueryEnd {
  std::string node;
  std::string here;
  std::string elsewhere;
};

// Asked of both ends' agents: the one decides what may leave its pod, the other what may reach its own.
struct VerdictQuery {
  QueryEnd from;
  QueryEnd to;
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  std::string backend;  // the pod's name when this is one backend of a service
};

struct Probe {
  std::string from;                  // as shown: "ns/pod", "host", "world"
  std::string from_netns;            // name below /run/netns
  std::string to;                    // as shown: "ns/pod", "svc/ns/name", "host", "world", an address
  std::optional<IpAddress> address;  // nothing: the target has none (yet)
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  bool greets = false;                // a built-in responder answers there, so the name can be asked for
  std::vector<VerdictQuery> queries;  // more than one for a service's backends
  bool no_backend = false;            // a service nobody stands behind
};

// What the network did.
struct WireOutcome {
  std::optional<bool> reachable;  // nothing: could not be tried here
  bool refused = false;           // the packet arrived and nobody listens
  std::string answered_by;
  std::string error;
  std::optional<std::int64_t> latency_us;
};

// Rule is the API's Rule object as JSON text, "null" when unknown.
struct Verdict {
  std::string verdict;  // "allow", "deny"; empty when unknown
  std::string rule = "null";
};

struct ProbeResult {
  Probe probe;
  WireOutcome wire;
  Verdict verdict;
  std::optional<bool> agrees;
};

// Pure. not_found for names nobody has and when there is nothing to probe, invalid for malformed ports.
Result<std::vector<Probe>> plan_probes(const Layout& layout, const Inventory& inventory, const ProbeOptions& options);

// Makes all connections at once from their namespaces, in one thread. Same order as `probes`.
std::vector<WireOutcome> try_probes(const std::vector<Probe>& probes, std::chrono::milliseconds timeout);

// One batch for each agent. Same order as `probes`, each with the verdicts of its queries: what one end's agent denies
// is denied.
Result<std::vector<std::vector<Verdict>>> ask_verdicts(const Layout& layout, const std::vector<Probe>& probes);

// Joins the wire with the verdicts. Of a service's backends the one that answered counts.
ProbeResult judge(const Probe& probe, const WireOutcome& wire, const std::vector<Verdict>& verdicts);

// All of it for a lab that is up.
Result<std::vector<ProbeResult>> run_probes(const Layout& layout, const ProbeOptions& options);

// The documented array of objects, as text.
std::string probes_to_json(const std::vector<ProbeResult>& results);
// Rows are sources, columns are targets; then the legend, the rules behind denials and disagreements.
std::string draw_matrix(const std::vector<ProbeResult>& results, bool colour);

}  // namespace weft::lab
