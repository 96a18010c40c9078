#include "sources/store/open.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/fd.h"
#include "sources/store/schema.h"

namespace weft::store {
namespace {

// An agent that was killed a moment ago may not be gone yet.
constexpr int wait_for_predecessor_ms = 2000;

Result<void> make_directories(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (parent.empty() || std::filesystem::exists(parent, error)) return {};
  std::filesystem::create_directories(parent, error);
  if (error) return fail(errno_error(fmt::format("{}: cannot create its directory", path), error.value()));
  std::filesystem::permissions(parent, std::filesystem::perms::owner_all, error);
  if (error) return fail(errno_error(fmt::format("{}: cannot protect its directory", path), error.value()));
  return {};
}

// Looks at the file without SQLite, so that a foreign one is not even locked. The application id is
// the first thing ever written to a store, before the write-ahead log exists, so it is always there.
Result<void> check_or_create_file(const std::string& path) {
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600));
  if (!file.valid()) return fail(errno_error(fmt::format("{}: cannot open the store", path), errno));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return fail(errno_error(fmt::format("{}: fstat", path), errno));
  if (!S_ISREG(status.st_mode)) return fail(ErrorCode::invalid, fmt::format("{}: is not a regular file", path));
  if (status.st_size == 0) return {};

  constexpr std::string_view magic("SQLite format 3\0", 16);
  constexpr std::size_t application_id_at = 68;
  std::array<unsigned char, 100> header{};
  const auto got = ::pread(file.get(), header.data(), header.size(), 0);
  if (got < 0) return fail(errno_error(fmt::format("{}: cannot read the store", path), errno));
  const char* hint = "name another path for the store, or move this file away";
  if (static_cast<std::size_t>(got) < header.size() || std::memcmp(header.data(), magic.data(), magic.size()) != 0)
    return fail(ErrorCode::invalid, fmt::format("{}: is not an SQLite database; it was left as it is", path), hint);
  std::uint32_t id = 0;
  for (std::size_t i = 0; i < 4; ++i) id = id << 8 | header[application_id_at + i];
  if (id != application_id)
    return fail(ErrorCode::invalid, fmt::format("{}: is the database of another program; it was left as it is", path),
                hint);
  return {};
}

// The process that holds SQLite's lock on the file, 0 when there is none in this PID namespace.
pid_t lock_holder(const std::string& path) {
  Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!file.valid()) return 0;
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = 0x40000000;  // SQLite's lock bytes: PENDING_BYTE and the 512 that follow it
  lock.l_len = 512;
  if (::fcntl(file.get(), F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return 0;
  return lock.l_pid;
}

// Makes the names of the file and its log last; SQLite syncs only what is in them.
Result<void> sync_directory(const std::string& path) {
  auto parent = std::filesystem::path(path).parent_path();
  if (parent.empty()) parent = ".";
  const Fd directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0)
    return fail(errno_error(fmt::format("{}: cannot sync its directory", path), errno));
  return {};
}

Result<void> check_writable(const Connection& connection) {
  if (sqlite3_db_readonly(connection.handle(), "main") == 0) return {};
  return fail(ErrorCode::denied, fmt::format("{}: cannot be written", connection.path()),
              "check the permissions of the file and of its directory");
}

Result<void> check_integrity(Connection& connection) {
  std::string verdict;
  WEFT_CHECK(connection.query("PRAGMA quick_check(1)", [&](const Statement& row) {
    verdict = row.text(0);
    return Result<void>();
  }));
  if (verdict == "ok") return {};
  return fail(ErrorCode::io, fmt::format("{}: is damaged: {}; it was left as it is", connection.path(), verdict),
              "move the file away and apply the manifests again, or try \"sqlite3 FILE .recover\" on a copy");
}

Result<void> prepare(Connection& connection) {
  sqlite3* handle = connection.handle();
  // Until the file is known to be ours and sound, closing it must not fold the log into it.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_busy_timeout(handle, wait_for_predecessor_ms);
  WEFT_CHECK(check_writable(connection));
  // Exclusive: one agent per store, and no shared memory file beside the log.
  WEFT_CHECK(connection.run("PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY"));
  WEFT_TRY(const auto id, connection.number("PRAGMA application_id"));
  if (id == 0) WEFT_CHECK(connection.run(fmt::format("PRAGMA application_id = {}", application_id)));
  // The log is folded into the file when it holds this many pages, 4 KiB each.
  WEFT_CHECK(connection.run("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -2048"));
  WEFT_CHECK(check_integrity(connection));
  // A new layout is worth a sync.
  WEFT_CHECK(connection.run("PRAGMA synchronous = FULL"));
  WEFT_CHECK(migrate(connection, schema_steps()));
  WEFT_CHECK(connection.run("PRAGMA synchronous = NORMAL"));
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  return {};
}

}  // namespace

Result<Connection> open_database(const std::string& path) {
  const bool in_memory = path == ":memory:";
  if (path.empty()) return fail(ErrorCode::invalid, "the path of the store is empty");
  if (!in_memory) {
    WEFT_CHECK(make_directories(path));
    WEFT_CHECK(check_or_create_file(path));
  }
  WEFT_TRY(auto connection, Connection::open(path));
  auto prepared = prepare(connection);
  if (prepared && !in_memory) prepared = sync_directory(path);
  if (prepared) return connection;
  auto error = std::move(prepared.error());
  if (error.code == ErrorCode::unavailable) {
    const auto pid = lock_holder(path);
    error.message =
        fmt::format("{}: another process{} is using this store", path, pid > 0 ? fmt::format(" (PID {})", pid) : "");
  }
  return fail(std::move(error));
}

}  // namespace weft::store
