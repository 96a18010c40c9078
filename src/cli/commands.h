// What each command does, apart from how its arguments are read (app.cpp). Each prints its result
// or its error on the session's streams and returns the exit code.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cli/session.h"

namespace weft::cli {

struct ApplyOptions {
  std::vector<std::string> files;
  bool recursive = false;
  bool all_or_nothing = true;
  bool dry_run = false;
  std::string output = "table";
};
int run_apply(const Session& session, const ApplyOptions& options);

struct ObjectOptions {
  std::vector<std::string> files;  // delete -f
  bool recursive = false;
  std::string kind;
  std::string name;  // "NAME" or "NAMESPACE/NAME"
  std::string namespace_;
  bool all_namespaces = false;
  std::string output = "table";
};
int run_get(const Session& session, ObjectOptions options);
int run_delete(const Session& session, ObjectOptions options);

struct PushOptions {
  bool none = false;
  std::string output = "table";
};
int run_store_push(const Session& session, const PushOptions& options);

int run_version(const Session& session, const std::string& output);
int run_status(const Session& session, const std::string& output);
// 1 when something is wrong with the node or its ways to others, the agent's absence too.
int run_doctor(const Session& session, const std::string& output);

// `list` is a method of docs/api.md that answers items: endpoint.list, identity.list, service.list, policy.list,
// bpf.maps. `namespace_`: of this one only, where the method knows it.
int run_list(const Session& session, const std::string& list, const std::string& output,
             const std::string& namespace_ = {});
// `weft node delete`
int run_node_delete(const Session& session, const std::string& name, const std::string& output);
int run_health(const Session& session, const std::string& output);
int run_bgp_status(const Session& session, const std::string& output);
int run_bgp_peers(const Session& session, const std::string& output);
int run_bgp_routes(const Session& session, const std::string& peer, const std::string& output);
int run_operator_status(const Session& session, const std::string& output);
// `action`: status, or rotate. status: 1 when something is wrong with a node or a device.
int run_encryption(const Session& session, const std::string& action, const std::string& output);
int run_ipam(const Session& session, const std::string& output);
// Entries of a map ("list") or counters ("stats", where an empty map means all).
int run_bpf(const Session& session, const std::string& map, const std::string& action, std::uint64_t limit,
            const std::string& output);

struct ServiceOptions {
  std::string name;  // "NAME" or "NAMESPACE/NAME"
  std::string namespace_;
  std::string output = "table";
};
int run_service_get(const Session& session, const ServiceOptions& options);

struct TraceOptions {
  std::string from;
  std::string to;
  std::string port;
  std::uint64_t source_port = 0;
  std::uint64_t limit = 0;
  bool all_flows = false;
  std::string output = "table";
};
int run_service_trace(const Session& session, const TraceOptions& options);

struct ExplainOptions {
  std::string from;
  std::string to;
  std::string port;
  std::string output = "table";
};
int run_explain(const Session& session, const ExplainOptions& options);

struct PolicyStatusOptions {
  std::string name;  // "NAME" or "NAMESPACE/NAME"; empty: all
  std::string namespace_;
  std::string output = "table";
};
// 1 when one of them is not in force wherever it must be.
int run_policy_status(const Session& session, const PolicyStatusOptions& options);

struct ObserveOptions {
  bool follow = false;
  std::string last;
  std::string since;
  std::string until;
  std::map<std::string, std::vector<std::string>> filters;  // by the API's names
  std::string output = "compact";
};
int run_observe(const Session& session, const ObserveOptions& options);

}  // namespace weft::cli
