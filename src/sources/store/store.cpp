#include "sources/store/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"
#include "sources/store/encoding.h"
#include "sources/store/open.h"
#include "sources/store/sqlite.h"

namespace weft::store {

class Store::Database : public Connection {
 public:
  explicit Database(Connection connection) : Connection(std::move(connection)) {}

  // The same error with the row it is about.
  [[nodiscard]] Error bad_row(const Error& error, std::string_view table, std::string_view key) const {
    return Error{ErrorCode::io, fmt::format("{}: row \"{}\" of table {}: {}", path(), key, table, error.message),
                 "the file was changed by something else; move it away and apply the manifests again"};
  }

  // What `work` does, in one transaction.
  template <class Work>
  Result<void> transact(Work&& work) {
    WEFT_TRY(auto transaction, Transaction::begin(*this));
    WEFT_CHECK(work());
    return transaction.commit();
  }
  // The same, on the disk when it returns. The setting cannot be changed inside a transaction.
  template <class Work>
  Result<void> transact_synced(Work&& work) {
    WEFT_CHECK(execute("PRAGMA synchronous = FULL"));
    auto outcome = transact(std::forward<Work>(work));
    auto restored = execute("PRAGMA synchronous = NORMAL");
    return outcome ? restored : outcome;
  }

  Result<void> allocate(const AllocationRow& row);
  Result<void> quarantine(const QuarantineRow& row);
  Result<EndpointRecord> read_endpoint(const Statement& row) const;
  Result<void> put(const NumberSet& rows);
};

namespace {

constexpr std::string_view endpoint_columns_query =
    "SELECT container_id, ifname, netns_path, netns_cookie, netns_inode, namespace, pod, network, endpoint_id, state,"
    " acknowledged, device, ifindex, mac, addresses, labels, result, generation, created_ns,"
    " port_mappings FROM endpoint";

}  // namespace

Store::Store(std::unique_ptr<Database> database) : database_(std::move(database)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Result<Store> Store::open(const std::string& path) {
  WEFT_TRY(auto connection, open_database(path));
  return Store(std::make_unique<Database>(std::move(connection)));
}

const std::string& Store::path() const { return database_->path(); }

// --- Objects ------------------------------------------------------------------------------------

namespace {

std::string row_name(const StoredKey& key) {
  return fmt::format("{} {}", model::to_string(key.kind), key.key.to_string());
}

}  // namespace

Result<std::optional<StoredObject>> Store::object(const StoredKey& key) {
  std::optional<StoredObject> object;
  auto read = database_->query(
      "SELECT json, revision FROM object WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
      [&](const Statement& row) {
        object.emplace(StoredObject{key.kind, key.key, row.text(0), static_cast<std::uint64_t>(row.number(1))});
        return Result<void>();
      },
      model::to_string(key.kind), std::string_view(key.key.namespace_), std::string_view(key.key.name));
  if (!read) return fail(read.error().in("stored " + row_name(key)));
  return object;
}

Result<bool> Store::has_object(const StoredKey& key) {
  bool found = false;
  auto read = database_->query(
      "SELECT 1 FROM object WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
      [&](const Statement&) {
        found = true;
        return Result<void>();
      },
      model::to_string(key.kind), std::string_view(key.key.namespace_), std::string_view(key.key.name));
  if (!read) return fail(read.error().in("stored " + row_name(key)));
  return found;
}

Result<void> Store::each_object(model::Kind kind, const VisitObject& visit) {
  model::ObjectKey last;
  Result<void> visited;
  auto read = database_->query(
      "SELECT namespace, name, json, revision FROM object WHERE kind = ?1 ORDER BY namespace, name",
      [&](const Statement& row) {
        last = {row.text(0), row.text(1)};
        visited = visit({kind, last, row.text(2), static_cast<std::uint64_t>(row.number(3))});
        return visited;
      },
      model::to_string(kind));
  if (read || !visited) return read;
  return fail(read.error().in(last.name.empty() ? fmt::format("stored {} objects", model::to_string(kind))
                                                : "stored objects after " + row_name({kind, last})));
}

Result<std::vector<StoredKey>> Store::object_keys(model::Kind kind, const std::optional<std::string>& space) {
  std::vector<StoredKey> keys;
  const auto add = [&](const Statement& row) {
    keys.push_back({kind, {row.text(0), row.text(1)}});
    return Result<void>();
  };
  WEFT_CHECK(space ? database_->query("SELECT namespace, name FROM object WHERE kind = ?1 AND namespace = ?2"
                                      " ORDER BY name",
                                      add, model::to_string(kind), std::string_view(*space))
                   : database_->query("SELECT namespace, name FROM object WHERE kind = ?1 ORDER BY namespace, name",
                                      add, model::to_string(kind)));
  return keys;
}

Result<std::vector<StoredKey>> Store::object_keys(model::Kind kind, const std::optional<std::string>& space,
                                                  const model::ObjectKey& after, std::size_t limit) {
  std::vector<StoredKey> keys;
  const auto add = [&](const Statement& row) {
    keys.push_back({kind, {row.text(0), row.text(1)}});
    return Result<void>();
  };
  const auto count = static_cast<std::int64_t>(limit);
  const std::string_view name = space && after.namespace_ < *space ? std::string_view() : std::string_view(after.name);
  WEFT_CHECK(space ? database_->query("SELECT namespace, name FROM object WHERE kind = ?1 AND namespace = ?2"
                                      " AND name > ?3 ORDER BY name LIMIT ?4",
                                      add, model::to_string(kind), std::string_view(*space), name, count)
                   : database_->query("SELECT namespace, name FROM object WHERE kind = ?1"
                                      " AND (namespace, name) > (?2, ?3) ORDER BY namespace, name LIMIT ?4",
                                      add, model::to_string(kind), std::string_view(after.namespace_), name, count));
  return keys;
}

Result<ObjectTally> Store::object_tally() {
  ObjectTally tally;
  WEFT_CHECK(database_->query("SELECT kind, namespace, COUNT(*), MIN(name) FROM object GROUP BY kind, namespace",
                              [&](const Statement& row) {
                                if (const auto kind = model::parse_kind(row.text(0)); !kind)
                                  return Result<void>(fail(database_->bad_row(kind.error(), "object", row.text(3))));
                                tally.namespaces[row.text(1)] += static_cast<std::size_t>(row.number(2));
                                return Result<void>();
                              }));
  WEFT_TRY(const auto highest, database_->number("SELECT COALESCE(MAX(revision), 0) FROM object"));
  tally.highest_revision = static_cast<std::uint64_t>(highest);
  return tally;
}

Result<void> Store::apply(const std::vector<StoredObject>& upserts, const std::vector<StoredKey>& deletes, Sync sync) {
  const auto work = [&]() -> Result<void> {
    for (const auto& [kind, key] : deletes)
      WEFT_CHECK(database_->execute("DELETE FROM object WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
                                    model::to_string(kind), std::string_view(key.namespace_),
                                    std::string_view(key.name)));
    for (const auto& object : upserts)
      WEFT_CHECK(database_->execute(
          "INSERT OR REPLACE INTO object(kind, namespace, name, json, revision) VALUES(?1, ?2, ?3, ?4, ?5)",
          model::to_string(object.kind), std::string_view(object.key.namespace_), std::string_view(object.key.name),
          std::string_view(object.json), object.revision));
    return {};
  };
  return sync == Sync::now ? database_->transact_synced(work) : database_->transact(work);
}

// --- Endpoints ----------------------------------------------------------------------------------

Result<EndpointRecord> Store::Database::read_endpoint(const Statement& row) const {
  EndpointRecord record;
  record.key = {row.text(0), row.text(1)};
  const auto wrong = [&](const Error& error) { return fail(bad_row(error, "endpoint", record.key.owner())); };
  record.netns_path = row.text(2);
  record.netns_cookie = static_cast<std::uint64_t>(row.number(3));
  record.netns_inode = static_cast<std::uint64_t>(row.number(4));
  record.namespace_ = row.text(5);
  record.pod = row.text(6);
  record.network = row.text(7);
  record.endpoint_id = row.number32(8);
  auto state = parse_endpoint_state(row.text(9));
  if (!state) return wrong(state.error());
  record.state = *state;
  record.acknowledged = row.number(10) != 0;
  record.device = row.text(11);
  record.ifindex = row.number32(12);
  auto mac = MacAddress::parse(row.text(13));
  if (!mac) return wrong(mac.error());
  record.mac = *mac;
  auto addresses = split_addresses(row.text(14));
  if (!addresses) return wrong(addresses.error());
  record.addresses = std::move(*addresses);
  auto labels = decode_labels(row.text(15));
  if (!labels) return wrong(labels.error());
  record.labels = std::move(*labels);
  record.result = row.text(16);
  record.generation = static_cast<std::uint64_t>(row.number(17));
  record.created = std::chrono::system_clock::time_point(std::chrono::nanoseconds(row.number(18)));
  auto mappings = split_port_mappings(row.text(19));
  if (!mappings) return wrong(mappings.error());
  record.port_mappings = std::move(*mappings);
  return record;
}

Result<std::vector<EndpointRecord>> Store::endpoints() {
  std::vector<EndpointRecord> records;
  WEFT_CHECK(database_->query(endpoint_columns_query, [&](const Statement& row) -> Result<void> {
    WEFT_TRY(records.emplace_back(), database_->read_endpoint(row));
    return {};
  }));
  std::ranges::sort(records, {}, &EndpointRecord::key);
  return records;
}

Result<std::optional<EndpointRecord>> Store::endpoint(const EndpointKey& key) {
  static const std::string sql = std::string(endpoint_columns_query) + " WHERE container_id = ?1 AND ifname = ?2";
  std::optional<EndpointRecord> record;
  WEFT_CHECK(database_->query(
      sql,
      [&](const Statement& row) -> Result<void> {
        WEFT_TRY(record, database_->read_endpoint(row));
        return {};
      },
      std::string_view(key.container_id), std::string_view(key.ifname)));
  return record;
}

Result<void> Store::put_endpoint(const EndpointRecord& record, const std::vector<AllocationRow>& allocated) {
  auto labels = encode(record.labels);
  if (!labels) return fail(labels.error().in(record.key.owner()));
  const auto created = std::chrono::duration_cast<std::chrono::nanoseconds>(record.created.time_since_epoch()).count();
  const auto mac = record.mac.to_string();
  const auto addresses = join(record.addresses);
  const auto mappings = join(record.port_mappings);
  return database_->transact([&]() -> Result<void> {
    WEFT_CHECK(database_->execute(
        "INSERT OR REPLACE INTO endpoint(container_id, ifname, netns_path, netns_cookie, netns_inode, namespace, pod,"
        " network, endpoint_id, state, acknowledged, device, ifindex, mac, addresses, labels, result, generation,"
        " created_ns, port_mappings) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        std::string_view(record.key.container_id), std::string_view(record.key.ifname),
        std::string_view(record.netns_path), record.netns_cookie, record.netns_inode,
        std::string_view(record.namespace_), std::string_view(record.pod), std::string_view(record.network),
        record.endpoint_id, to_string(record.state), record.acknowledged, std::string_view(record.device),
        record.ifindex, std::string_view(mac), std::string_view(addresses), std::string_view(*labels),
        std::string_view(record.result), record.generation, std::int64_t{created}, std::string_view(mappings)));
    for (const auto& row : allocated) WEFT_CHECK(database_->allocate(row));
    return {};
  });
}

Result<void> Store::delete_endpoint(const EndpointKey& key, const std::vector<QuarantineRow>& quarantined) {
  const auto owner = key.owner();
  return database_->transact([&]() -> Result<void> {
    WEFT_CHECK(database_->execute("DELETE FROM endpoint WHERE container_id = ?1 AND ifname = ?2",
                                  std::string_view(key.container_id), std::string_view(key.ifname)));
    WEFT_CHECK(database_->execute("DELETE FROM allocation WHERE owner = ?1", std::string_view(owner)));
    for (const auto& row : quarantined) WEFT_CHECK(database_->quarantine(row));
    return {};
  });
}

// --- Addresses ----------------------------------------------------------------------------------

Result<void> Store::Database::allocate(const AllocationRow& row) {
  const auto address = row.address.to_string();
  WEFT_CHECK(execute("DELETE FROM quarantine WHERE address = ?1", std::string_view(address)));
  WEFT_CHECK(
      execute("INSERT INTO allocation(address, owner) VALUES(?1, ?2)"
              " ON CONFLICT(address) DO UPDATE SET owner = excluded.owner WHERE owner = excluded.owner",
              std::string_view(address), std::string_view(row.owner)));
  if (changes() != 0) return {};
  std::string holder;
  WEFT_CHECK(query(
      "SELECT owner FROM allocation WHERE address = ?1",
      [&](const Statement& found) {
        holder = found.text(0);
        return Result<void>();
      },
      std::string_view(address)));
  return fail(ErrorCode::exists,
              fmt::format("{}: {} cannot have address {}: {} holds it", path(), row.owner, address, holder));
}

Result<void> Store::Database::quarantine(const QuarantineRow& row) {
  const auto address = row.address.to_string();
  return execute("INSERT OR REPLACE INTO quarantine(address, until_s) VALUES(?1, ?2)", std::string_view(address),
                 std::int64_t{row.until.time_since_epoch().count()});
}

Result<std::vector<AllocationRow>> Store::allocations() {
  std::vector<AllocationRow> rows;
  WEFT_CHECK(database_->query("SELECT address, owner FROM allocation", [&](const Statement& row) -> Result<void> {
    auto address = IpAddress::parse(row.text(0));
    if (!address) return fail(database_->bad_row(address.error(), "allocation", row.text(0)));
    rows.push_back({*address, row.text(1)});
    return {};
  }));
  std::ranges::sort(rows);
  return rows;
}

Result<std::vector<QuarantineRow>> Store::quarantine() {
  std::vector<QuarantineRow> rows;
  WEFT_CHECK(database_->query("SELECT address, until_s FROM quarantine", [&](const Statement& row) -> Result<void> {
    auto address = IpAddress::parse(row.text(0));
    if (!address) return fail(database_->bad_row(address.error(), "quarantine", row.text(0)));
    rows.push_back({*address, std::chrono::sys_seconds(std::chrono::seconds(row.number(1)))});
    return {};
  }));
  std::ranges::sort(rows);
  return rows;
}

Result<void> Store::write(const AddressChange& change) {
  return database_->transact([&]() -> Result<void> {
    for (const auto& address : change.released)
      WEFT_CHECK(
          database_->execute("DELETE FROM allocation WHERE address = ?1", std::string_view(address.to_string())));
    for (const auto& address : change.quarantine_over)
      WEFT_CHECK(
          database_->execute("DELETE FROM quarantine WHERE address = ?1", std::string_view(address.to_string())));
    for (const auto& row : change.quarantined) WEFT_CHECK(database_->quarantine(row));
    for (const auto& row : change.allocated) WEFT_CHECK(database_->allocate(row));
    return {};
  });
}

// --- Numbers ------------------------------------------------------------------------------------

Result<NumberSet> Store::numbers() {
  NumberSet set;
  auto& database = *database_;
  WEFT_CHECK(database.query("SELECT id, labels FROM identity", [&](const Statement& row) -> Result<void> {
    auto labels = decode_labels(row.text(1));
    if (!labels) return fail(database.bad_row(labels.error(), "identity", row.text(0)));
    set.identities.emplace(row.number32(0), std::move(*labels));
    return {};
  }));
  WEFT_CHECK(database.query("SELECT cidr, id FROM cidr_identity", [&](const Statement& row) -> Result<void> {
    auto cidr = Cidr::parse(row.text(0));
    if (!cidr) return fail(database.bad_row(cidr.error(), "cidr_identity", row.text(0)));
    set.cidr_identities.emplace(*cidr, row.number32(1));
    return {};
  }));
  WEFT_CHECK(database.query("SELECT id, description FROM rule", [&](const Statement& row) -> Result<void> {
    set.rules.emplace(row.number32(0), row.text(1));
    return {};
  }));
  return set;
}

Result<void> Store::Database::put(const NumberSet& rows) {
  for (const auto& [id, labels] : rows.identities) {
    auto text = encode(labels);
    if (!text) return fail(text.error().in(fmt::format("identity {}", id)));
    WEFT_CHECK(execute("INSERT OR REPLACE INTO identity(id, labels) VALUES(?1, ?2)", id, std::string_view(*text)));
  }
  for (const auto& [cidr, id] : rows.cidr_identities)
    WEFT_CHECK(execute("INSERT OR REPLACE INTO cidr_identity(cidr, id) VALUES(?1, ?2)",
                       std::string_view(cidr.to_string()), id));
  for (const auto& [id, description] : rows.rules)
    WEFT_CHECK(
        execute("INSERT OR REPLACE INTO rule(id, description) VALUES(?1, ?2)", id, std::string_view(description)));
  return {};
}

Result<void> Store::write(const NumberChange& change) {
  if (change.empty()) return {};
  const auto work = [&]() -> Result<void> {
    for (const auto id : change.gone.identities)
      WEFT_CHECK(database_->execute("DELETE FROM identity WHERE id = ?1", id));
    for (const auto& cidr : change.gone.cidr_identities)
      WEFT_CHECK(database_->execute("DELETE FROM cidr_identity WHERE cidr = ?1", std::string_view(cidr.to_string())));
    for (const auto id : change.gone.rules) WEFT_CHECK(database_->execute("DELETE FROM rule WHERE id = ?1", id));
    return database_->put(change.put);
  };
  return database_->transact(work);
}

Result<void> Store::each_assignment(const VisitAssignment& visit) {
  return database_->query("SELECT namespace, name, value FROM assignment ORDER BY namespace, name",
                          [&](const Statement& row) {
                            return visit({row.text(0), row.text(1)}, row.text(2));
                          });
}

// They are known outside this node (names resolve to them): synced unless the caller flushes.
Result<void> Store::write(const AssignmentRows& rows, Sync sync) {
  if (rows.empty()) return {};
  const auto work = [&]() -> Result<void> {
    for (const auto& [service, value] : rows) {
      const std::string_view space = service.namespace_;
      const std::string_view name = service.name;
      if (value)
        WEFT_CHECK(database_->execute("INSERT OR REPLACE INTO assignment(namespace, name, value) VALUES(?1, ?2, ?3)",
                                      space, name, std::string_view(*value)));
      else
        WEFT_CHECK(database_->execute("DELETE FROM assignment WHERE namespace = ?1 AND name = ?2", space, name));
    }
    return {};
  };
  return sync == Sync::now ? database_->transact_synced(work) : database_->transact(work);
}

// --- Settings -----------------------------------------------------------------------------------

Result<std::optional<std::string>> Store::get(std::string_view name) {
  std::optional<std::string> value;
  WEFT_CHECK(database_->query(
      "SELECT value FROM setting WHERE name = ?1",
      [&](const Statement& row) {
        value = row.text(0);
        return Result<void>();
      },
      name));
  return value;
}

Result<void> Store::set(std::string_view name, std::string_view value) {
  return database_->execute("INSERT OR REPLACE INTO setting(name, value) VALUES(?1, ?2)", name, value);
}

Result<void> Store::unset(std::string_view name) {
  return database_->execute("DELETE FROM setting WHERE name = ?1", name);
}

Result<void> Store::flush() {
  // What is not in the log has been synced into the file by a checkpoint already.
  const auto log = path() + "-wal";
  const Fd file(::open(log.c_str(), O_RDWR | O_CLOEXEC));
  if (!file.valid()) return errno == ENOENT ? Result<void>() : fail(errno_error(log, errno));
  if (::fdatasync(file.get()) != 0) return fail(errno_error(fmt::format("{}: cannot sync", log), errno));
  return {};
}

Result<void> Store::checkpoint() { return database_->run("PRAGMA wal_checkpoint(PASSIVE)"); }

}  // namespace weft::store
