// How long it takes until a change is in the tables of several agents: runs a command and looks at their pinned maps
// until each says what is expected.
//
//   map_watch --expect present|absent|enforced|open --row MAP=ADDRESS... -- COMMAND...
//
// `present` and `absent`: whether weft_remote_v1 has the address, in whose place `-` stands for the first IPv4 address
// the command prints. `enforced` and `open`: whether ingress policy holds for the address in weft_ep_v1. Prints one
// line of JSON: milliseconds from the start of the command to its end, and to the moment each row was as expected.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <optional>
#include <regex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "abi/endpoint.h"
#include "base/fd.h"
#include "base/ip.h"
#include "program.h"

namespace weft::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto patience = std::chrono::seconds(20);

enum class Expect { present, absent, enforced, open };

struct Row {
  Fd map;
  std::string name;
  std::optional<IpAddress> address;
  double milliseconds = -1;
};

bool holds(const Row& row, Expect expect) {
  weft_addr key{};
  std::memcpy(&key, row.address->bytes().data(), sizeof key);
  std::array<std::byte, 256> value{};
  const bool there = ::bpf_map_lookup_elem(row.map.get(), &key, value.data()) == 0;
  if (expect == Expect::present || expect == Expect::absent) return there == (expect == Expect::present);
  weft_endpoint endpoint{};
  std::memcpy(&endpoint, value.data(), sizeof endpoint);
  const bool enforced = (endpoint.flags & WEFT_ENDPOINT_INGRESS_ENFORCED) != 0;
  return there && enforced == (expect == Expect::enforced);
}

Expect expect_of(const std::string& word) {
  if (word == "present") return Expect::present;
  if (word == "absent") return Expect::absent;
  if (word == "enforced") return Expect::enforced;
  if (word == "open") return Expect::open;
  throw std::runtime_error("--expect: " + word + " is not present, absent, enforced or open");
}

Row row_of(const std::string& text) {
  const auto equals = text.rfind('=');
  if (equals == std::string::npos) throw std::runtime_error("--row: MAP=ADDRESS is needed");
  Row row{.map = Fd(::bpf_obj_get(text.substr(0, equals).c_str())), .name = text.substr(0, equals), .address = {}};
  if (!row.map.valid()) throw std::runtime_error(row.name + ": " + std::strerror(errno));
  if (const auto address = text.substr(equals + 1); address != "-") {
    auto parsed = IpAddress::parse(address);
    if (!parsed) throw std::runtime_error("--row: " + parsed.error().message);
    row.address = *parsed;
  }
  return row;
}

// The command, and what it has printed so far.
class Command {
 public:
  explicit Command(std::vector<std::string> words) {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) throw std::runtime_error("pipe");
    output_ = Fd(ends[0]);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(ends[1], STDOUT_FILENO);
      ::close(ends[0]);
      std::vector<char*> arguments;
      for (auto& word : words) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      ::execvp(arguments.front(), arguments.data());
      ::_exit(127);
    }
    ::close(ends[1]);
  }
  // Waits for its end.
  std::string result() {
    std::string text;
    std::array<char, 4096> part{};
    for (ssize_t size = 0; (size = ::read(output_.get(), part.data(), part.size())) > 0;)
      text.append(part.data(), static_cast<std::size_t>(size));
    int status = 0;
    ::waitpid(pid_, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error("the command failed: " + text);
    return text;
  }

 private:
  Fd output_;
  pid_t pid_ = -1;
};

int run(const std::vector<std::string>& arguments) {
  std::vector<Row> rows;
  std::optional<Expect> expect;
  std::size_t at = 0;
  for (; at + 1 < arguments.size() && arguments[at] != "--"; at += 2) {
    if (arguments[at] == "--expect")
      expect = expect_of(arguments[at + 1]);
    else if (arguments[at] == "--row")
      rows.push_back(row_of(arguments[at + 1]));
    else
      throw std::runtime_error(arguments[at] + " is no option");
  }
  if (!expect || rows.empty() || at + 1 >= arguments.size())
    throw std::runtime_error("--expect, --row and a command are needed");

  const auto start = Clock::now();
  const auto since_start = [&] { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); };
  Command command({arguments.begin() + static_cast<std::ptrdiff_t>(at) + 1, arguments.end()});
  const auto printed = command.result();
  const auto ended = since_start();
  std::smatch found;
  if (std::regex_search(printed, found, std::regex(R"((\d+\.\d+\.\d+\.\d+))")))
    for (auto& row : rows)
      if (!row.address) row.address = IpAddress::parse(found[1].str()).value();
  for (const auto& row : rows)
    if (!row.address) throw std::runtime_error("the command printed no address: " + printed);

  for (bool all = false; !all; std::this_thread::sleep_for(std::chrono::microseconds(200))) {
    all = true;
    for (auto& row : rows) {
      if (row.milliseconds < 0 && holds(row, *expect)) row.milliseconds = since_start();
      all = all && row.milliseconds >= 0;
    }
    if (!all && Clock::now() - start > patience) throw std::runtime_error("not in all tables after 20 s");
  }
  std::vector<double> times;
  for (const auto& row : rows) times.push_back(row.milliseconds);
  std::ranges::sort(times);
  fmt::print("{{\"command_ms\": {:.3f}, \"first_ms\": {:.3f}, \"all_ms\": {:.3f}, \"rows_ms\": [{:.3f}]}}\n", ended,
             times.front(), times.back(), fmt::join(times, ", "));
  return 0;
}

}  // namespace
}  // namespace weft::bench

int main(int count, char** values) { return weft::bench::program("map_watch", count, values, &weft::bench::run); }
