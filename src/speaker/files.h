// What the speakers have in common: where programs are, files they may read, checks by the programs themselves.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace weft::speaker {

// In PATH, else in one of the directories; nothing: it is not installed.
std::optional<std::string> find_program(const std::string& name, std::initializer_list<const char*> directories);

// An account the program gives up root for.
struct Account {
  unsigned user = 0;
  unsigned group = 0;
};
std::optional<Account> find_account(const char* name);

// Readable by root and the account's group only, for passwords are in it. Replaces what was there in one step.
Result<void> write_private(const std::string& path, const std::string& text, const std::optional<Account>& account);
// Made where it is missing; the account's own where one is given.
Result<void> make_directory(const std::string& path, const std::optional<Account>& account);

void remove_directory(const std::string& path);

// Runs a program that looks at a configuration: what it said. An error, with that, when it did not end well.
Result<std::string> run_check(std::vector<std::string> arguments, const std::string& program);
Error refused_configuration(const std::string& program, std::string said);

}  // namespace weft::speaker
