#include "sources/store/schema.h"

#include <fmt/format.h>

#include <array>

namespace weft::store {
namespace {

// Addresses are text, lists of them joined by commas, label maps JSON objects: the file can be read
// with any SQLite shell.
constexpr const char* step_1 = R"(
CREATE TABLE object(
  kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  json TEXT NOT NULL, revision INTEGER NOT NULL,
  PRIMARY KEY(kind, namespace, name)) STRICT;
CREATE TABLE endpoint(
  container_id TEXT NOT NULL, ifname TEXT NOT NULL,
  netns_path TEXT NOT NULL, netns_cookie INTEGER NOT NULL, netns_inode INTEGER NOT NULL,
  namespace TEXT NOT NULL, pod TEXT NOT NULL, network TEXT NOT NULL,
  endpoint_id INTEGER NOT NULL, state TEXT NOT NULL, acknowledged INTEGER NOT NULL,
  device TEXT NOT NULL, ifindex INTEGER NOT NULL, mac TEXT NOT NULL,
  addresses TEXT NOT NULL, labels TEXT NOT NULL, result TEXT NOT NULL,
  generation INTEGER NOT NULL, created_ns INTEGER NOT NULL,
  PRIMARY KEY(container_id, ifname)) STRICT;
CREATE TABLE allocation(address TEXT PRIMARY KEY, owner TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX allocation_owner ON allocation(owner);
CREATE TABLE quarantine(address TEXT PRIMARY KEY, until_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE identity(id INTEGER PRIMARY KEY, labels TEXT NOT NULL) STRICT;
CREATE TABLE cidr_identity(cidr TEXT PRIMARY KEY, id INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE rule(id INTEGER PRIMARY KEY, description TEXT NOT NULL) STRICT;
CREATE TABLE cluster_ip(
  namespace TEXT NOT NULL, name TEXT NOT NULL, addresses TEXT NOT NULL,
  PRIMARY KEY(namespace, name)) STRICT, WITHOUT ROWID;
CREATE TABLE service_id(key TEXT PRIMARY KEY, id INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE backend_id(key TEXT PRIMARY KEY, id INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE setting(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
)";

// A Service holds more than cluster IPs; ids of services and backends are read from the maps.
constexpr const char* step_2 = R"(
CREATE TABLE assignment(
  namespace TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(namespace, name)) STRICT, WITHOUT ROWID;
INSERT INTO assignment
  SELECT namespace, name, '{"clusterIPs":["' || replace(addresses, ',', '","') || '"]}'
  FROM cluster_ip WHERE addresses <> '';
DROP TABLE cluster_ip;
DROP TABLE service_id;
DROP TABLE backend_id;
)";

// What runtimes ask for with CNI's portMappings.
constexpr const char* step_3 = R"(
ALTER TABLE endpoint ADD COLUMN port_mappings TEXT NOT NULL DEFAULT '';
)";

constexpr std::array steps_of_this_version{step_1, step_2, step_3};

}  // namespace

std::span<const char* const> schema_steps() { return steps_of_this_version; }

Result<void> migrate(Connection& connection, std::span<const char* const> steps) {
  WEFT_TRY(const auto version, connection.number("PRAGMA user_version"));
  if (version < 0 || static_cast<std::size_t>(version) > steps.size())
    return fail(ErrorCode::unsupported,
                fmt::format("{}: its layout has version {}, this weftd knows versions up to {}", connection.path(),
                            version, steps.size()),
                "run the newer weftd that wrote it, or move the file away and apply the manifests again");
  for (auto next = static_cast<std::size_t>(version); next < steps.size(); ++next) {
    WEFT_TRY(auto transaction, Transaction::begin(connection));
    WEFT_CHECK(connection.run(steps[next]));
    WEFT_CHECK(connection.run(fmt::format("PRAGMA user_version = {}", next + 1)));
    WEFT_CHECK(transaction.commit());
  }
  return {};
}

}  // namespace weft::store
