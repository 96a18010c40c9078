// What a transaction of etcd becomes here. The API server has none over two objects: each write is conditional by
// itself, one follows the other, and what is compared only is read before them and, where it matters, after them. That
// is right for the transactions that sources/cluster makes, each for a reason of its own:
//
// - Comparisons alone. What is read one after the other was so at some time; who asks knows no more of etcd either by
//   the time it has the answer.
// - One object that is written on condition of its own revision (its absence is one). A revision never comes back, so a
//   request that comes late does nothing, which is what the comparisons of `alive` and of roles are for; what is
//   compared besides is looked at before. That is enough for what only its own node writes (its record, its lists,
//   its pods, each slice by itself, what it touches or gives back) and for what is erased: whoever comes back writes
//   its keys before it relies on them, and of the two writes of one revision one fails. A record of a node has no
//   revision to compare: it is read first, `alive` is looked at then, and the write is on condition of what was read,
//   so an older run's does not replace a newer one's.
// - A block that is new, and pools that are changed on condition that a pool has no blocks: what was compared is looked
//   at again after the write, and the write is taken back where it holds no more. Who claims writes the block and then
//   looks at the pools, who takes a pool away writes the pools and then looks for blocks: one of the two sees the
//   other.
// - A key under a session: once it is written, the session's Lease must be there still, or it is taken back. Who ends a
//   session deletes the Lease and then looks for its keys: one of the two sees the other.
// - A node that joins: `alive` first, which is decided by its revision; then its record. Cut off in between it is alive
//   by an old record for a moment, and joins again.
// - A number that is used: the node's list with the number first, then the identity is read again. Without a mark it
//   is good; with one it is written without. A collector erases a number on condition of the revision that had the
//   mark, if no list that it has read after it saw the mark has the number. So either the collector sees the list, or
//   the node sees the mark or the loss. A list that says too much keeps a number for a round longer, no more.
// - A number that is made: the list first, then the identity if its number is free. Of two nodes that number the same
//   labels at once the later one sees the other's afterwards and takes its own back. Where it cannot, both numbers mean
//   the labels, the lower one counts, and the other is given up by whoever uses it (identity_allocator.h).
// - Claims of addresses, many in one transaction: each is decided by itself. Where one fails the others stay written,
//   and the mirror tells their node so.
// - Marks: each is a write of its identity on condition of what was read of it; a collector marks by what it has seen,
//   which is checked when the number is erased.
//
// Any other is refused: it would be a guess.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sources/crd_store/places.h"
#include "sources/etcd/types.h"

namespace weft::crd {

// What must be so of one key, or of a folder that must be empty.
struct Check {
  std::optional<Place> place;              // absent: a folder
  std::optional<Places::Folder> folder;    // nothing may be in it
  std::vector<etcd::Compare> comparisons;  // of the key
};

struct Step {
  enum class Kind : std::uint8_t { put, erase, mark, unmark };
  Kind kind = Kind::put;
  std::size_t index = 0;  // of the operation
  Place place;
  std::string value;
  etcd::LeaseId lease = 0;
  // The revision that it must have, 0 for none. Absent: see `comparisons`, and where these are empty whatever it is.
  std::optional<etcd::Revision> expected;
  std::vector<etcd::Compare> comparisons;
};

struct Plan {
  std::vector<Check> checks;  // of what is not written
  std::vector<Step> steps;    // in their order
  // `checks` hold after the steps, too, or the only step is taken back.
  bool check_again = false;
  // The identity is new: no other may have its labels before it.
  bool names_labels = false;
};

// `unsupported` for a transaction of another kind.
Result<Plan> plan(const Places& places, const etcd::Txn& txn);

// Whether it holds of the key as it is; null: there is none.
bool holds(const etcd::Compare& compare, const etcd::KeyValue* kv);

}  // namespace weft::crd
