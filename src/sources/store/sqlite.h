// The little of SQLite that the store uses, with RAII and Result. Used inside this room only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace weft::store {

// A prepared statement in the middle of a query. Parameters are bound in order from 1, columns
// count from 0. Text is bound without a copy: it must live until `finish`.
class Statement {
 public:
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}

  void bind(int index, std::string_view text);
  void bind(int index, std::int64_t number);
  // The true 64 bits, held as SQLite's signed number.
  void bind(int index, std::uint64_t number) { bind(index, static_cast<std::int64_t>(number)); }
  void bind(int index, std::uint32_t number) { bind(index, std::int64_t{number}); }
  void bind(int index, bool flag) { bind(index, std::int64_t{flag ? 1 : 0}); }

  // An SQLite result code: SQLITE_ROW, SQLITE_DONE or an error.
  int step();
  void finish();

  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] std::int64_t number(int column) const;
  [[nodiscard]] std::uint32_t number32(int column) const { return static_cast<std::uint32_t>(number(column)); }

 private:
  sqlite3_stmt* statement_;
};

class Connection {
 public:
  // The file must exist ("" and ":memory:" aside).
  static Result<Connection> open(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] sqlite3* handle() const { return handle_.get(); }

  // Several statements without parameters and results.
  Result<void> run(const std::string& sql);

  // One statement that gives no rows. `sql` must be a literal: it is the key of the statement cache.
  template <class... Arguments>
  Result<void> execute(std::string_view sql, const Arguments&... arguments) {
    return query(
        sql, [](const Statement&) { return Result<void>(); }, arguments...);
  }
  // Calls `row(const Statement&) -> Result<void>` for each row; its first error ends the query.
  template <class Row, class... Arguments>
  Result<void> query(std::string_view sql, Row&& row, const Arguments&... arguments) {
    WEFT_TRY(Statement statement, prepare(sql));
    [[maybe_unused]] int index = 0;
    (statement.bind(++index, arguments), ...);
    Result<void> outcome;
    int code = statement.step();
    while (more(code) && outcome) {
      outcome = row(statement);
      if (outcome) code = statement.step();
    }
    if (outcome && !done(code)) outcome = fail(error(sql));
    statement.finish();
    return outcome;
  }
  Result<std::int64_t> number(std::string_view sql);

  // Rows the last `execute` wrote.
  [[nodiscard]] int changes() const;
  // The last failure: "<path>: <what SQLite says> (<the statement's first words>)".
  [[nodiscard]] Error error(std::string_view sql) const;

 private:
  struct Close {
    void operator()(sqlite3* handle) const;
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  static bool more(int code);
  static bool done(int code);
  Result<Statement> prepare(std::string_view sql);

  std::string path_;
  std::unique_ptr<sqlite3, Close> handle_;
  // Declared after the handle: statements must be finalized before it closes.
  std::map<std::string, std::unique_ptr<sqlite3_stmt, Finalize>, std::less<>> statements_;
};

// Rolls back unless committed.
class Transaction {
 public:
  static Result<Transaction> begin(Connection& connection);
  Result<void> commit();

  Transaction(Transaction&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

 private:
  explicit Transaction(Connection& connection) : connection_(&connection) {}
  Connection* connection_;
};

}  // namespace weft::store
