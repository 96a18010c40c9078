// What bulk work leaves behind: the allocator keeps it for the next time, which may never come.
#pragma once

#include <malloc.h>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <cstddef>

namespace weft::agent {

// Answers of this many items are bulk work.
inline constexpr std::size_t many_items = 1000;

// Once what is under way, a request and its answer, is gone too.
inline void give_memory_back(asio::io_context& loop) {
  asio::post(loop, [] { ::malloc_trim(0); });
}

}  // namespace weft::agent
