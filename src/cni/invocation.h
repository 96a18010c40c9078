// What a container runtime asks of the plugin: the CNI environment variables and the network
// configuration on stdin, checked. Pure: no files, no sockets, no process environment.
#pragma once

#include <chrono>
#include <expected>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace weft::cni {

using Json = nlohmann::json;
using Environment = std::map<std::string, std::string>;

enum class Command { add, del, check, gc, status, version };

// The order is the order of the specification's releases, so versions compare with <.
enum class SpecVersion { v0_3_1, v0_4_0, v1_0_0, v1_1_0 };
inline constexpr SpecVersion newest_version = SpecVersion::v1_1_0;
std::string_view to_string(SpecVersion version);

// Error numbers of the CNI specification; from 100 on they are Weft's own (docs/cni.md).
enum class ErrorNumber {
  incompatible_version = 1,
  unsupported_field = 2,
  unknown_container = 3,
  bad_environment = 4,
  io_failure = 5,
  decoding_failure = 6,
  bad_configuration = 7,
  try_again_later = 11,
  not_available = 50,
  limited_connectivity = 51,
  already_attached = 100,
  exhausted = 101,
  denied = 102,
  internal = 103,
};

struct CniError {
  ErrorNumber number = ErrorNumber::internal;
  std::string message;
  std::string details;                   // may be empty
  SpecVersion version = newest_version;  // the form the error is printed in
};

template <class T>
using CniResult = std::expected<T, CniError>;

struct Attachment {
  std::string container_id;
  std::string ifname;
  auto operator<=>(const Attachment&) const = default;
};

struct Invocation {
  Command command = Command::version;
  SpecVersion version = newest_version;
  std::string container_id;  // empty for GC, STATUS and VERSION
  std::string netns;         // may be empty for DEL
  std::string ifname;
  std::map<std::string, std::string> args;    // CNI_ARGS
  std::string network;                        // the configuration's name
  Json config = Json::object();               // the whole configuration, prevResult included
  std::vector<Attachment> valid_attachments;  // GC only
  std::string socket;                         // of the agent
  std::chrono::milliseconds timeout{10'000};  // for the whole exchange
};

inline constexpr std::string_view default_socket = "/run/weft/weft.sock";
inline constexpr std::size_t largest_configuration = 4U << 20U;  // bytes of stdin
inline constexpr int deepest_configuration = 64;                 // nested objects and arrays

// Checks everything that can be known without the agent. Never throws, whatever the input.
CniResult<Invocation> parse_invocation(const Environment& environment, std::string_view standard_input);

// "K=V;K=V" as in CNI_ARGS.
CniResult<std::map<std::string, std::string>> parse_args(std::string_view text);

}  // namespace weft::cni
