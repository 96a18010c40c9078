// How the store's file is laid out, and how an older layout becomes the present one.
#pragma once

#include <cstdint>
#include <span>

#include "sources/store/sqlite.h"

namespace weft::store {

// "WEFT", at byte 68 of the file: tells a Weft store from any other SQLite database.
inline constexpr std::uint32_t application_id = 0x57454654;

// Step n (counting from 1) turns version n - 1 into version n. Steps are never edited once released,
// only added.
std::span<const char* const> schema_steps();

// Runs the steps that the file lacks, each in one transaction with its new version number. A file of a
// version newer than the last step is the error `unsupported`, and is not written to.
Result<void> migrate(Connection& connection, std::span<const char* const> steps);

}  // namespace weft::store
