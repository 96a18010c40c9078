// What the connect hook costs, in nanoseconds net of a hook that does nothing, as the kernel counts it
// (BPF_STATS_RUN_TIME) over real connect() calls: a service's address on a fresh TCP socket, a fresh UDP socket, a
// UDP socket that connects again; and an address that is no service's. Interleaved rounds, medians.
//
//   socket_bench [--rounds N] [--json FILE] [--services N]
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <string_view>

#include "cgroup.h"
#include "datapath.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace weft::test {
namespace {

constexpr int kCalls = 2000;
constexpr std::uint16_t kFrontendPort = 80;
constexpr std::uint32_t kService = 7;

[[noreturn]] void die(const std::string& what) {
  throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

sockaddr_in to(const char* address, std::uint16_t port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(port);
  inet_pton(AF_INET, address, &result.sin_addr);
  return result;
}

void call(int fd, const sockaddr_in& address) {
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 && errno != EINPROGRESS)
    die("connect");
}

void fresh(int type, const sockaddr_in& address) {
  for (int i = 0; i < kCalls; ++i) {
    const int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const linger at_once{.l_onoff = 1, .l_linger = 0};  // no port waits for its time
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    call(fd, address);
    close(fd);
  }
}

void again(const sockaddr_in& address) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  for (int i = 0; i < kCalls; ++i) call(fd, address);
  close(fd);
}

// Nanoseconds a run of the program during `work`.
double cost(int program, const std::function<void()>& work) {
  const auto read = [program] {
    bpf_prog_info info{};
    std::uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(program, &info, &length) != 0) die("program info");
    return std::pair(info.run_time_ns, info.run_cnt);
  };
  const auto before = read();
  work();
  const auto after = read();
  if (after.second - before.second < kCalls) throw std::runtime_error("the hook did not run");
  return static_cast<double>(after.first - before.first) / static_cast<double>(after.second - before.second);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

bpf_object* load(const char* path) {
  bpf_object* object = bpf_object__open_file(path, nullptr);
  if (!object) die(path);
  if (bpf_map* slots = bpf_object__find_map_by_name(object, "weft_svc_v2")) bpf_map__set_max_entries(slots, 131072);
  if (bpf_object__load(object) != 0) die(path);
  return object;
}

class Bench {
 public:
  explicit Bench(std::uint32_t services) : weft_(load(WEFT_BPF_DIR "/socket.bpf.o")), noop_(load(WEFT_BENCH_OBJECT)) {
    put("weft_config_v2", std::uint32_t{0}, default_config());
    const int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    std::uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    if (getsockopt(probe, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) die("SO_NETNS_COOKIE");
    close(probe);
    put("weft_netns_v1", cookie, weft_netns{11, 0});
    server_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto at = to("127.0.0.1", 0);
    socklen_t size = sizeof at;
    if (bind(server_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || listen(server_, 4096) != 0 ||
        getsockname(server_, reinterpret_cast<sockaddr*>(&at), &size) != 0)
      die("listen");
    direct_ = at;
    for (const std::uint8_t protocol : {6, 17}) {
      weft_backend backend{};
      backend.addr = to_abi(IpAddress::parse("127.0.0.1").value());
      backend.port = at.sin_port;
      backend.protocol = protocol;
      backend.state = WEFT_BACKEND_ACTIVE;
      backend.service_id = kService;
      put("weft_backend_v2", std::uint32_t{protocol}, backend);
      put("weft_slot_v2", std::uint32_t{protocol}, std::uint32_t{protocol});
      for (std::uint32_t i = 0; i < services; ++i)
        put("weft_svc_v2", weft_service_key{to_abi(IpAddress::v4(0x0a020000 + i)), htons(kFrontendPort), protocol, 0},
            weft_service{.service_id = kService, .first_slot = protocol, .slot_count = 1});
    }
  }
  ~Bench() {
    close(server_);
    bpf_object__close(weft_);
    bpf_object__close(noop_);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  double run(bool weft, const std::function<void()>& work) {
    const bpf_program* program =
        bpf_object__find_program_by_name(weft ? weft_ : noop_, weft ? "weft_connect4" : "bench_connect_noop");
    bpf_link* link = bpf_program__attach_cgroup(program, cgroup_.fd());
    if (!link) die("attach");
    const double result = cost(bpf_program__fd(program), work);
    bpf_link__destroy(link);
    return result;
  }
  [[nodiscard]] const sockaddr_in& direct() const { return direct_; }

 private:
  template <class K, class V>
  void put(const char* name, const K& key, const V& value) {
    if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(weft_, name), &key, &value, BPF_ANY) != 0) die(name);
  }
  OwnCgroup cgroup_;
  bpf_object* weft_;
  bpf_object* noop_;
  int server_ = -1;
  sockaddr_in direct_{};
};

int bench_main(int argc, char** argv) {
  int rounds = 7;
  std::uint32_t services = 1;
  std::string json;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--rounds")
      rounds = std::max(1, std::atoi(argv[i + 1]));
    else if (name == "--services")
      services = static_cast<std::uint32_t>(std::max(1, std::atoi(argv[i + 1])));
    else if (name == "--json")
      json = argv[i + 1];
    else
      throw std::runtime_error(fmt::format("unknown option {}", name));
  }
  enter_private_network();
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<unsigned>(sched_getcpu()), &cpus);
  sched_setaffinity(0, sizeof cpus, &cpus);
  const int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
  if (stats < 0) die("BPF_STATS_RUN_TIME");
  Bench bench(services);
  const auto service = to("10.2.0.0", kFrontendPort);
  struct Kind {
    const char* name;
    std::function<void()> hit;   // through the service
    std::function<void()> same;  // the same calls for the hook that does nothing
  };
  const std::vector<Kind> kinds{
      {"tcp_fresh", [&] { fresh(SOCK_STREAM, service); }, [&] { fresh(SOCK_STREAM, bench.direct()); }},
      {"udp_fresh", [&] { fresh(SOCK_DGRAM, service); }, [&] { fresh(SOCK_DGRAM, bench.direct()); }},
      {"udp_again", [&] { again(service); }, [&] { again(bench.direct()); }},
      {"tcp_miss", [&] { fresh(SOCK_STREAM, bench.direct()); }, [&] { fresh(SOCK_STREAM, bench.direct()); }},
  };
  std::vector<std::vector<double>> weft(kinds.size());
  std::vector<std::vector<double>> noop(kinds.size());
  for (int round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      noop[i].push_back(bench.run(false, kinds[i].same));
      weft[i].push_back(bench.run(true, kinds[i].hit));
    }
  close(stats);
  fmt::print("nanoseconds a connect(), net of a hook that does nothing; {} rounds of {}\n", rounds, kCalls);
  FILE* file = json.empty() ? nullptr : std::fopen(json.c_str(), "w");
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const double net = median(weft[i]) - median(noop[i]);
    fmt::print("{:12} {:>6.0f}   hook {:>5.0f} (min {:.0f}, max {:.0f}), no-op {:>4.0f}\n", kinds[i].name, net,
               median(weft[i]), *std::ranges::min_element(weft[i]), *std::ranges::max_element(weft[i]),
               median(noop[i]));
    if (file)
      fmt::print(file,
                 "{}{{\"case\": \"svc_socket_connect\", \"metric\": \"{}\", \"unit\": \"ns\", \"weft\": {:.0f}, "
                 "\"peer\": {:.0f}, \"peer_name\": \"hook that does nothing, already taken off\", "
                 "\"runs\": {}}}{}\n",
                 i == 0 ? "[\n  " : "  ", kinds[i].name, net, median(noop[i]), rounds,
                 i + 1 < kinds.size() ? "," : "\n]");
  }
  if (file && std::fclose(file) != 0) die(json);
  return 0;
}

}  // namespace
}  // namespace weft::test

int main(int argc, char** argv) {
  try {
    return weft::test::bench_main(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "socket_bench: {}\n", error.what());
    return 1;
  }
}
