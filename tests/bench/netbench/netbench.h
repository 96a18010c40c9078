// What the modes of netbench share. A mode reads its options, measures, prints one line of JSON.
// Errors end the program with a message: it is a tool of the benchmark, nobody recovers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace netbench {

class Options {
 public:
  Options(int argc, char** argv);                                // --key value pairs
  [[nodiscard]] std::string text(const std::string& key) const;  // must be given
  [[nodiscard]] std::string text(const std::string& key, const std::string& fallback) const;
  [[nodiscard]] double number(const std::string& key, double fallback) const;
  [[nodiscard]] bool has(const std::string& key) const { return values_.contains(key); }

 private:
  std::map<std::string, std::string> values_;
};

[[noreturn]] void die(const std::string& what);                  // with errno's text
void check(bool good, const std::string& what);                  // die unless good
void enter_netns(const std::string& path);                       // empty: stay
void pin(int cpu);                                               // negative: do not
std::uint64_t now_ns();                                          // CLOCK_MONOTONIC
double percentile(std::vector<double>& values, double percent);  // sorts; nearest rank
std::string read_file(const std::string& path);
std::string json_text(const std::string& raw);  // quoted and escaped

// Sockets by numeric address; `type` is SOCK_STREAM or SOCK_DGRAM.
int listen_on(const std::string& address, int port, int type);
int connect_to(const std::string& address, int port, int type);  // -1 when refused or timed out
// Waits up to five seconds for the server to appear.
int connect_patiently(const std::string& address, int port, int type);

int run_server(const Options& options);
int run_request_response(const Options& options);
int run_connections(const Options& options);
int run_stream(const Options& options);
int run_policy(const Options& options);
int run_plugin(const Options& options);
int run_plugin_burst(const Options& options);
int run_start(const Options& options);
int run_attach(const Options& options);
int run_wire(const Options& options);

}  // namespace netbench
