#include "sources/store/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <utility>

namespace weft::store {
namespace {

ErrorCode code_of(int sqlite_code) {
  switch (sqlite_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorCode::unavailable;
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return ErrorCode::exhausted;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return ErrorCode::denied;
    case SQLITE_CONSTRAINT:
      return ErrorCode::exists;
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_ERROR:
      return ErrorCode::internal;
    default:
      return ErrorCode::io;
  }
}

std::string hint_of(int sqlite_code) {
  switch (sqlite_code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return "stop weftd, move the file away and apply the manifests again, or try \"sqlite3 FILE .recover\" on a copy";
    case SQLITE_FULL:
      return "free space on the file system that holds it";
    case SQLITE_BUSY:
      return "is another weftd running with the same store?";
    default:
      return {};
  }
}

}  // namespace

void Statement::bind(int index, std::string_view text) {
  // A null pointer would be bound as NULL.
  const char* data = text.data() == nullptr ? "" : text.data();
  sqlite3_bind_text64(statement_, index, data, text.size(), SQLITE_STATIC, SQLITE_UTF8);
}

void Statement::bind(int index, std::int64_t number) { sqlite3_bind_int64(statement_, index, number); }

int Statement::step() { return sqlite3_step(statement_); }

void Statement::finish() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

std::string Statement::text(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
}

std::int64_t Statement::number(int column) const { return sqlite3_column_int64(statement_, column); }

void Connection::Close::operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
void Connection::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

bool Connection::more(int code) { return code == SQLITE_ROW; }
bool Connection::done(int code) { return code == SQLITE_DONE; }

Result<Connection> Connection::open(const std::string& path) {
  sqlite3* raw = nullptr;
  // One thread owns a connection, so SQLite needs no mutexes of its own.
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  Connection connection;
  connection.path_ = path;
  connection.handle_.reset(raw);
  if (code != SQLITE_OK) {
    if (raw == nullptr) return fail(ErrorCode::exhausted, fmt::format("{}: no memory to open it", path));
    return fail(connection.error("open"));
  }
  sqlite3_extended_result_codes(raw, 1);
  return connection;
}

Result<void> Connection::run(const std::string& sql) {
  if (sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return fail(error(sql));
  return {};
}

Result<Statement> Connection::prepare(std::string_view sql) {
  auto found = statements_.find(sql);
  if (found == statements_.end()) {
    sqlite3_stmt* raw = nullptr;
    const int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    if (code != SQLITE_OK) return fail(error(sql));
    found = statements_.emplace(std::string(sql), raw).first;
  }
  return Statement(found->second.get());
}

Result<std::int64_t> Connection::number(std::string_view sql) {
  std::int64_t value = 0;
  WEFT_CHECK(query(sql, [&](const Statement& row) {
    value = row.number(0);
    return Result<void>();
  }));
  return value;
}

int Connection::changes() const { return sqlite3_changes(handle_.get()); }

Error Connection::error(std::string_view sql) const {
  const int code = sqlite3_extended_errcode(handle_.get());
  constexpr std::size_t shown = 40;
  std::string statement(sql.substr(0, shown));
  if (sql.size() > shown) statement += "...";
  return Error{code_of(code), fmt::format("{}: {} ({})", path_, sqlite3_errmsg(handle_.get()), statement),
               hint_of(code)};
}

Result<Transaction> Transaction::begin(Connection& connection) {
  WEFT_CHECK(connection.execute("BEGIN IMMEDIATE"));
  return Transaction(connection);
}

Result<void> Transaction::commit() {
  // Stays ours to roll back when the commit fails.
  WEFT_CHECK(connection_->execute("COMMIT"));
  connection_ = nullptr;
  return {};
}

Transaction::~Transaction() {
  // Some failures make SQLite roll back by itself; a second rollback then only says so.
  if (connection_ != nullptr) std::ignore = connection_->execute("ROLLBACK");
}

}  // namespace weft::store
