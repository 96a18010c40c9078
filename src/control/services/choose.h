// Which backend a flow would get, decided as the datapath decides, for `weft service trace`.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "abi/service.h"
#include "base/ip.h"

namespace weft::control {

enum class ClientScope {
  internal,  // a pod of this node or the node itself
  external,
};

struct ChoiceQuestion {
  weft_service row{};
  // The backend ids of the run `slots_of` names: ServiceCompiler::run().
  std::span<const std::uint32_t> run;
  IpAddress client;
  std::uint16_t client_port = 0;  // 0: not known, as in the socket hook, which hashes 0
  Protocol protocol = Protocol::tcp;
  ClientScope scope = ClientScope::internal;
  std::uint32_t hash_seed = 0;
  // Where the caller could look: what affinity remembers (and is still taking flows), the round robin cursor, open
  // flows by position in `run`.
  std::optional<std::uint32_t> remembered_backend;
  std::optional<std::uint32_t> cursor;
  std::span<const std::uint32_t> active;
};

struct ChoiceAnswer {
  std::optional<std::uint32_t> backend;  // when it is certain
  std::optional<std::uint32_t> slot;     // in the run, when one decides
  // Otherwise: each backend and its share of new flows, which add up to 1.
  std::vector<std::pair<std::uint32_t, double>> shares;
  std::string why;  // a sentence without its period
};

// First slot and number of slots of the run a client of this scope takes.
std::pair<std::uint32_t, std::uint32_t> slots_of(const weft_service& row, ClientScope scope);
ChoiceAnswer choose_backend(const ChoiceQuestion& question);

}  // namespace weft::control
