// Small helpers around sockets for the traffic tool. Errors end the program: its caller is a test.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft::labtool {

using Clock = std::chrono::steady_clock;

// "name value" pairs after the positional arguments: --size 4000. A name alone is given "1".
struct Arguments {
  std::vector<std::string> positional;
  std::map<std::string, std::string> options;
  [[nodiscard]] bool has(const std::string& name) const { return options.contains(name); }
  [[nodiscard]] long number(const std::string& name, long otherwise) const;
  [[nodiscard]] std::string text(const std::string& name, const std::string& otherwise) const;
};

struct Address {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] int family() const { return storage.ss_family; }
  // "10.0.0.1 80"; an IPv4-mapped address as IPv4.
  [[nodiscard]] std::string to_string() const;
};

Address parse_address(const std::string& address, int port);
Address local_address(int fd);
Address peer_address(int fd);

// Prints the message with errno and exits with 2.
[[noreturn]] void die(std::string_view what);

// "refused", "reset", "timeout", "unreachable" ...: a word for an errno.
std::string word_for(int error);

void write_all(int fd, std::span<const char> bytes);
// Up to the newline, without it; false at the end of the connection before one.
bool read_line(int fd, std::string& line);

// The byte that stands at every offset of a stream. `offset` is the first of `bytes`.
void fill_pattern(std::span<char> bytes, std::uint64_t offset);
bool is_pattern(std::span<const char> bytes, std::uint64_t offset);

int ask(const Arguments& arguments);
int echo_request(const Arguments& arguments);
int ping(const Arguments& arguments);
int decapsulate(const Arguments& arguments);
int line(const Arguments& arguments);
int load(const Arguments& arguments);
int send_packet(const Arguments& arguments);
int serve(const Arguments& arguments);
int stream(const Arguments& arguments);

}  // namespace weft::labtool
