// The embedded store: one SQLite file with everything a node must remember, no server needed.
//
// Every write is one transaction, committed when the call returns, and survives kill -9 of the
// process at any instant. Power loss: objects and numbers that follow from them are synced to the disk;
// endpoints, addresses and `set` may lose their last moments, which a booted machine has no
// network namespaces for anyway.
//
// Owned and called by one thread. One process at a time: a second one is told who is in the way.
// Errors name the file; after an error nothing of the call was written.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sources/store/rows.h"

namespace weft::store {

// A disk sync takes milliseconds. `later` leaves it to the next `flush`, so that a change can be
// enforced first and flushed before the user is told that it is done.
enum class Sync : std::uint8_t { now, later };

class Store {
 public:
  // Creates the file, its directories (mode 0700) and the schema where missing, and migrates an
  // older schema step by step. Refused, and left untouched: a file that is no Weft store, a
  // damaged one, one written by a newer version, one that another process holds.
  // ":memory:" gives a store that lives as long as this object.
  static Result<Store> open(const std::string& path);

  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

  [[nodiscard]] const std::string& path() const;

  // Objects are many and large: they are read one by one. An error names the row it is about.
  Result<std::optional<StoredObject>> object(const StoredKey& key);
  Result<bool> has_object(const StoredKey& key);
  // Those of a kind, ordered by namespace and name. The first error of `visit` ends it; it must not use the store.
  using VisitObject = std::function<Result<void>(StoredObject object)>;
  Result<void> each_object(model::Kind kind, const VisitObject& visit);
  // Ordered by namespace and name; of one namespace where one is given.
  Result<std::vector<StoredKey>> object_keys(model::Kind kind, const std::optional<std::string>& space = {});
  // The first `limit` of them behind `after`.
  Result<std::vector<StoredKey>> object_keys(model::Kind kind, const std::optional<std::string>& space,
                                             const model::ObjectKey& after, std::size_t limit);
  Result<ObjectTally> object_tally();
  // Deletes first, then upserts. Deleting what is not there is no error.
  Result<void> apply(const std::vector<StoredObject>& upserts, const std::vector<StoredKey>& deletes,
                     Sync sync = Sync::now);

  // Ordered by key.
  Result<std::vector<EndpointRecord>> endpoints();
  Result<std::optional<EndpointRecord>> endpoint(const EndpointKey& key);
  // Inserts or replaces the record of its key, together with the address rows it took. The address
  // rows it already has stay. An address that another owner holds is the error `exists`.
  Result<void> put_endpoint(const EndpointRecord& record, const std::vector<AllocationRow>& allocated = {});
  // Also ends every allocation of the owner `key.owner()`. No error when there is none.
  Result<void> delete_endpoint(const EndpointKey& key, const std::vector<QuarantineRow>& quarantined = {});

  Result<std::vector<AllocationRow>> allocations();  // ordered by address
  Result<std::vector<QuarantineRow>> quarantine();   // ordered by address
  Result<void> write(const AddressChange& change);

  Result<NumberSet> numbers();
  Result<void> write(const NumberChange& change);

  using VisitAssignment = std::function<Result<void>(model::ObjectKey service, std::string value)>;
  // One by one, ordered by namespace and name; `visit` may ask has_object.
  Result<void> each_assignment(const VisitAssignment& visit);
  Result<void> write(const AssignmentRows& rows, Sync sync = Sync::now);

  // Small named values: the policy epoch, the instance's id.
  Result<std::optional<std::string>> get(std::string_view name);
  Result<void> set(std::string_view name, std::string_view value);
  Result<void> unset(std::string_view name);

  // Everything written so far survives power loss when this returns.
  Result<void> flush();

  // Folds the write-ahead log into the file. It happens by itself when the log has grown long;
  // calling this when idle keeps that work out of an attachment's way.
  Result<void> checkpoint();

 private:
  class Database;
  explicit Store(std::unique_ptr<Database> database);
  std::unique_ptr<Database> database_;
};

}  // namespace weft::store
