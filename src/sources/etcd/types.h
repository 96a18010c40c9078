// etcd's data model as values: keys and values are bytes, every change has a revision.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "sources/etcd/failure.h"

namespace weft::etcd {

// 0 is no lease.
using LeaseId = std::int64_t;

struct KeyValue {
  std::string key;
  std::string value;
  Revision create_revision = 0;  // of the put that made the key
  Revision mod_revision = 0;     // of the last put
  std::int64_t version = 0;      // puts since it was made; 1 for a new key
  LeaseId lease = 0;
  auto operator<=>(const KeyValue&) const = default;
};

// One key, or [key, end).
struct Keys {
  std::string key;
  std::string end;  // empty: the one key; one zero byte: everything from `key` on

  static Keys one(std::string key) { return {std::move(key), {}}; }
  // Every key that begins with `prefix`; an empty prefix is every key.
  static Keys prefix(std::string_view prefix);
  [[nodiscard]] bool contains(std::string_view candidate) const;
  [[nodiscard]] std::string text() const;  // for messages
  auto operator<=>(const Keys&) const = default;
};

struct RangeRequest {
  Keys keys;
  std::int64_t limit = 0;  // 0: none
  Revision revision = 0;   // 0: now; else the state as of then
  bool keys_only = false;
  bool count_only = false;
  // Answered by the member asked alone: fast without a quorum, possibly old.
  bool serializable = false;
};
struct RangeResult {
  Revision revision = 0;      // of the store when it answered
  std::vector<KeyValue> kvs;  // ascending by key
  bool more = false;          // the limit cut it
  std::int64_t count = 0;     // of keys in the range, whatever the limit
};

struct PutRequest {
  std::string key;
  std::string value;
  LeaseId lease = 0;
};
struct PutResult {
  Revision revision = 0;
};

struct EraseRequest {
  Keys keys;
};
struct EraseResult {
  Revision revision = 0;
  std::int64_t erased = 0;
};

using Op = std::variant<RangeRequest, PutRequest, EraseRequest>;
using OpResult = std::variant<RangeResult, PutResult, EraseResult>;

// A key that does not exist has version, revisions and lease 0 and an empty value; comparing the
// value of such a key is always false, as it is in etcd. With an `end` it holds when it does for every key of
// [key, end), or, where there is none, for one that does not exist.
struct Compare {
  enum class Target : std::uint8_t { version, create_revision, mod_revision, value, lease };
  enum class Is : std::uint8_t { equal, greater, less, not_equal };
  std::string key;
  Target target = Target::mod_revision;
  Is is = Is::equal;
  std::int64_t number = 0;  // for every target but value
  std::string value;
  std::string end;

  static Compare absent(std::string key) { return {.key = std::move(key), .target = Target::version}; }
  // Nothing begins with it.
  static Compare none_below(std::string_view prefix) {
    auto keys = Keys::prefix(prefix);
    return {.key = std::move(keys.key), .target = Target::version, .end = std::move(keys.end)};
  }
  static Compare unchanged_since(std::string key, Revision mod_revision) {
    return {.key = std::move(key), .target = Target::mod_revision, .number = mod_revision};
  }
};

// All of it at one revision, or none. A key may be written once.
struct Txn {
  std::vector<Compare> compare;  // all must hold for `then`
  std::vector<Op> then;
  std::vector<Op> otherwise;
};
struct TxnResult {
  Revision revision = 0;
  bool succeeded = false;
  std::vector<OpResult> results;  // one for each operation of the branch taken
};

struct LeaseGrant {
  LeaseId id = 0;
  std::chrono::seconds ttl{0};  // what etcd granted, which may be more than was asked for
};

struct Status {
  std::string endpoint;
  std::string version;
  Revision revision = 0;
  std::uint64_t cluster_id = 0;
  std::uint64_t member_id = 0;
  std::uint64_t leader = 0;  // 0: none
  std::int64_t database_bytes = 0;
  bool full = false;  // some member's database is at its quota (alarm NOSPACE): nothing can be written
};

struct Event {
  enum class Type : std::uint8_t { put, erase };
  Type type = Type::put;
  KeyValue kv;  // of an erase only key and mod_revision
  auto operator<=>(const Event&) const = default;
};

struct WatchRequest {
  Keys keys;
  Revision start_revision = 0;  // 0: from now on
};

// What a watch stream tells at once. Events of one revision are never split.
struct WatchBatch {
  enum class Kind : std::uint8_t {
    created,   // the stream stands
    events,    // in the order of their revisions
    progress,  // nothing is missing up to `revision`
    alive,     // the answer to request_progress. Its revision must not be trusted as a position: etcd
               // before 3.4.25 and 3.5.8 may tell it ahead of events.
  };
  Kind kind = Kind::alive;
  Revision revision = 0;  // of events: the last one's; else of the store
  std::uint64_t cluster_id = 0;
  std::vector<Event> events;
};

}  // namespace weft::etcd
