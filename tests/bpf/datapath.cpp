#include "datapath.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <stdexcept>

namespace weft::test {
namespace {

[[noreturn]] void die(const std::string& what) { throw std::runtime_error(what); }

// What libbpf says while loading; printed only when a load fails.
std::string& libbpf_output() {
  static std::string text;
  return text;
}

int collect(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  std::array<char, 4096> line{};
  const int written = std::vsnprintf(line.data(), line.size(), format, arguments);
  if (written > 0) libbpf_output().append(line.data(), std::min<std::size_t>(static_cast<std::size_t>(written), 4095));
  return 0;
}

// Each object has its own: what one program leaves there must not steer another.
bool is_private(const std::string& map) {
  return !map.starts_with("weft_") || map == "weft_scratch" || map == "weft_mute_v1" || map.contains('.');
}

void clear_array(int fd, std::size_t value_size, std::size_t entries) {
  const std::size_t size = (value_size + 7) / 8 * 8 * entries;
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) die("cannot map an array");
  std::memset(memory, 0, size);
  munmap(memory, size);
}

void run_ip_batch(const std::string& commands) {
  FILE* ip = popen("ip -batch -", "w");
  if (!ip) die("cannot start ip");
  std::fwrite(commands.data(), 1, commands.size(), ip);
  if (const int status = pclose(ip); status != 0) die(fmt::format("ip -batch ended with status {}", status));
}

void write_file(const std::string& path, const std::string& text) {
  FILE* file = std::fopen(path.c_str(), "w");
  if (!file) die("cannot open " + path);
  std::fwrite(text.data(), 1, text.size(), file);
  if (std::fclose(file) != 0) die("cannot write " + path);
}

// A veth has the receive queue that a test run of XDP names only while a program is attached to it natively.
void attach_empty_xdp(std::uint32_t ifindex) {
  std::array<bpf_insn, 2> pass{};
  pass[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  pass[0].imm = XDP_PASS;
  pass[1].code = BPF_JMP | BPF_EXIT;
  const int program = bpf_prog_load(BPF_PROG_TYPE_XDP, "empty", "Dual BSD/GPL", pass.data(), pass.size(), nullptr);
  if (program < 0) die("cannot load an empty XDP program");
  if (bpf_xdp_attach(static_cast<int>(ifindex), program, XDP_FLAGS_DRV_MODE, nullptr) != 0)
    die("cannot attach an XDP program to a veth natively");
  close(program);
}

}  // namespace

void enter_private_network() {
  if (unshare(CLONE_NEWNET) != 0) die("unshare(CLONE_NEWNET) failed: run as root");
  std::string batch = "link set lo up\n";
  const std::pair<const char*, std::uint32_t> devices[] = {
      {"poda", kPodA}, {"podb", kPodB}, {"podc", kPodC}, {"uplink", kUplink}, {"other", kOther}};
  for (const auto& [name, index] : devices) {
    batch += fmt::format("link add {0} index {1} type veth peer name {0}-peer\n", name, index);
    batch += fmt::format("link set {0} up\nlink set {0}-peer up\n", name);
  }
  batch +=
      "link set uplink address 02:00:00:00:01:10\n"
      "link set other address 02:00:00:00:01:11\n"
      "address add 192.0.2.1/24 dev uplink\n"
      "address add 2001:db8::1/64 dev uplink nodad\n"
      "address add 198.51.100.1/24 dev other\n"
      "address add 2001:db8:5::1/64 dev other nodad\n"
      "route add default via 192.0.2.254\n"
      "route add default via 2001:db8::fe\n"
      "route add unreachable 203.0.113.0/24\n"
      "route add unreachable 2001:db8:bad::/48\n"
      "neigh add 192.0.2.254 lladdr 02:00:00:00:00:fe dev uplink\n"
      "neigh add 2001:db8::fe lladdr 02:00:00:00:00:fe dev uplink\n"
      "neigh add 192.0.2.77 lladdr 02:00:00:00:00:77 dev uplink\n"
      "neigh add 2001:db8::77 lladdr 02:00:00:00:00:77 dev uplink\n"
      "neigh add 198.51.100.9 lladdr 02:00:00:00:00:09 dev other\n"
      "neigh add 2001:db8:5::9 lladdr 02:00:00:00:00:09 dev other\n";
  run_ip_batch(batch);
  write_file("/proc/sys/net/ipv4/ip_forward", "1");
  write_file("/proc/sys/net/ipv6/conf/all/forwarding", "1");
  attach_empty_xdp(kUplink);
}

void Datapath::ObjectCloser::operator()(bpf_object* object) const { bpf_object__close(object); }
void Datapath::RingCloser::operator()(ring_buffer* ring) const { ring_buffer__free(ring); }

Datapath::ObjectPointer Datapath::load(const std::string& hook, const Sizes& sizes) {
  const auto path = fmt::format("{}/{}.bpf.o", WEFT_BPF_DIR, hook);
  ObjectPointer object(bpf_object__open_file(path.c_str(), nullptr));
  if (!object) die(fmt::format("cannot open {}: {}", path, std::strerror(errno)));
  bpf_map* each = nullptr;
  bpf_object__for_each_map(each, object.get()) {
    const std::string name = bpf_map__name(each);
    if (name.starts_with("weft_flow")) {
      bpf_map__set_max_entries(each, sizes.flows);
      if (sizes.plain_flow_hash) bpf_map__set_type(each, BPF_MAP_TYPE_HASH);
    }
    if (sizes.others != 0 &&
        (name == "weft_ep_v1" || name == "weft_policy_v1" || name == "weft_svc_v2" || name == "weft_slot_v2" ||
         name == "weft_backend_v2" || name == "weft_bstat_v1" || name == "weft_svcstate_v1"))
      bpf_map__set_max_entries(each, sizes.others);
    if (name == "weft_events_v1") bpf_map__set_max_entries(each, sizes.ring_bytes);
    if (!pod_ || is_private(name)) continue;
    if (bpf_map* owner = bpf_object__find_map_by_name(pod_.get(), name.c_str()))
      if (bpf_map__reuse_fd(each, bpf_map__fd(owner)) != 0) die("cannot share map " + name);
  }
  libbpf_output().clear();
  if (bpf_object__load(object.get()) != 0)
    die(fmt::format("cannot load {}: {}\n{}", path, std::strerror(errno), libbpf_output()));
  return object;
}

Datapath::Datapath(const Sizes& sizes) {
  libbpf_set_print(collect);
  pod_ = load("pod", sizes);
  host_ = load("host", sizes);
  xdp_ = load("xdp", sizes);
  const auto on_event = [](void* context, void* data, std::size_t size) {
    weft_event event{};
    std::memcpy(&event, data, std::min(size, sizeof event));
    static_cast<std::vector<weft_event>*>(context)->push_back(event);
    return 0;
  };
  ring_.reset(ring_buffer__new(map("weft_events_v1"), on_event, &events_, nullptr));
  if (!ring_) die("cannot open the ring buffer");
  clear();
}

Datapath::~Datapath() = default;

Datapath& Datapath::shared() {
  static Datapath datapath{Sizes{}};
  return datapath;
}

weft_config default_config() {
  weft_config config{};
  config.epoch = 1;
  config.flags = WEFT_CONFIG_EVENTS | WEFT_CONFIG_MASQUERADE_V4 | WEFT_CONFIG_MASQUERADE_V6 | WEFT_CONFIG_SERVICES;
  config.gateway_v4 = to_abi(IpAddress::parse("169.254.1.1").value()).word[3];
  config.gateway_v6 = to_abi(IpAddress::parse("fd00:9::1").value());
  config.event_wakeup_bytes = 1 << 20;
  const std::uint8_t mac[] = {2, 0, 0, 0, 0, 0x99};
  std::memcpy(config.gateway_mac, mac, sizeof mac);
  config.nat_port_min = 32768;
  config.nat_port_max = 60999;
  config.lb_port_min = 61000;
  config.lb_port_max = 61999;
  config.hash_seed = 0x5eed;
  config.deny_event_interval = 1'000'000'000;
  return config;
}

void Datapath::clear() {
  bpf_map* each = nullptr;
  for (auto* object : objects()) bpf_object__for_each_map(each, object) {
      const int fd = bpf_map__fd(each);
      const auto type = bpf_map__type(each);
      std::vector<std::uint8_t> key(bpf_map__key_size(each));
      if (type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_LRU_HASH || type == BPF_MAP_TYPE_LPM_TRIE) {
        while (bpf_map_get_next_key(fd, nullptr, key.data()) == 0) bpf_map_delete_elem(fd, key.data());
      } else if (type == BPF_MAP_TYPE_ARRAY && (bpf_map__map_flags(each) & BPF_F_MMAPABLE) != 0) {
        clear_array(fd, bpf_map__value_size(each), bpf_map__max_entries(each));
      } else if (type == BPF_MAP_TYPE_PERCPU_ARRAY) {
        const auto cpus = static_cast<std::size_t>(libbpf_num_possible_cpus());
        const std::vector<std::uint8_t> zero((bpf_map__value_size(each) + 7) / 8 * 8 * cpus);
        for (std::uint32_t i = 0; i < bpf_map__max_entries(each); ++i) bpf_map_update_elem(fd, &i, zero.data(), 0);
      }
    }
  config_ = default_config();
  write_config();
  events();
}

void Datapath::write_config() { put("weft_config_v3", std::uint32_t{0}, config_); }

void Datapath::bump_epoch() {
  ++config_.epoch;
  write_config();
}

RunResult Datapath::run_xdp(const Packet& packet, const RunOptions& options) {
  const auto input = packet.bytes();
  RunResult result;
  result.packet.resize(input.size() + 256);
  xdp_md context{};
  context.data_end = static_cast<std::uint32_t>(input.size());
  context.ingress_ifindex = options.ifindex;
  LIBBPF_OPTS(bpf_test_run_opts, run);
  run.data_in = input.data();
  run.data_size_in = context.data_end;
  run.data_out = result.packet.data();
  run.data_size_out = static_cast<std::uint32_t>(result.packet.size());
  run.ctx_in = &context;
  run.ctx_size_in = sizeof context;
  run.repeat = 1;
  if (const int error = bpf_prog_test_run_opts(program("weft_xdp"), &run); error != 0)
    die(fmt::format("test run of weft_xdp failed: {}", std::strerror(-error)));
  result.verdict = run.retval == XDP_PASS       ? kActOk
                   : run.retval == XDP_DROP     ? kActShot
                   : run.retval == XDP_REDIRECT ? kActRedirect
                   : run.retval == XDP_TX       ? kXdpTx
                                                : -1;
  result.packet.resize(run.data_size_out);
  return result;
}

int Datapath::with_tunnel(const Tunnel& tunnel, int program) {
  if (!tunnel_key_) {
    tunnel_key_.reset(bpf_object__open_file(WEFT_TUNNEL_KEY_OBJECT, nullptr));
    if (!tunnel_key_ || bpf_object__load(tunnel_key_.get()) != 0) die("cannot load " WEFT_TUNNEL_KEY_OBJECT);
  }
  bpf_tunnel_key key{};
  key.tunnel_id = tunnel.vni;
  if (tunnel.v4)
    key.local_ipv4 = ntohl(tunnel.sender.word[3]);
  else
    std::memcpy(key.local_ipv6, &tunnel.sender, 16);
  const std::uint32_t zero = 0;
  const auto map_of = [&](const char* name) {
    return bpf_map__fd(bpf_object__find_map_by_name(tunnel_key_.get(), name));
  };
  if (bpf_map_update_elem(map_of("tunnel_key"), &zero, &key, 0) != 0 ||
      bpf_map_update_elem(map_of("tunnel_target"), &zero, &program, 0) != 0)
    die("cannot write the tunnel's key");
  return bpf_program__fd(
      bpf_object__find_program_by_name(tunnel_key_.get(), tunnel.v4 ? "tunnel_of_v4" : "tunnel_of_v6"));
}

RunResult Datapath::run(Hook hook, const Packet& packet, const RunOptions& options) {
  if (hook == Hook::xdp) return run_xdp(packet, options);
  static constexpr const char* names[] = {"weft_from_pod",  "weft_to_pod",       "weft_from_device",
                                          "weft_to_device", "weft_from_overlay", "weft_from_host"};
  const auto input = packet.bytes();
  RunResult result;
  result.packet.resize(input.size() + 256);
  __sk_buff context{};
  context.ifindex = options.ifindex;
  context.ingress_ifindex = options.ingress_ifindex;
  context.mark = options.mark;
  context.gso_size = packet.gso_size;
  context.gso_segs = packet.gso_size ? 2 : 0;
  LIBBPF_OPTS(bpf_test_run_opts, run);
  run.data_in = input.data();
  run.data_size_in = static_cast<std::uint32_t>(input.size());
  run.data_out = result.packet.data();
  run.data_size_out = static_cast<std::uint32_t>(result.packet.size());
  run.ctx_in = &context;
  run.ctx_size_in = sizeof context;
  run.repeat = 1;
  int entry = program(names[static_cast<int>(hook)]);
  if (options.tunnel) entry = with_tunnel(*options.tunnel, entry);
  if (const int error = bpf_prog_test_run_opts(entry, &run); error != 0)
    die(fmt::format("test run of {} failed: {}", names[static_cast<int>(hook)], std::strerror(-error)));
  result.verdict = static_cast<int>(run.retval);
  result.packet.resize(run.data_size_out);
  return result;
}

std::vector<weft_event> Datapath::events() {
  ring_buffer__consume(ring_.get());
  return std::exchange(events_, {});
}

int Datapath::map(const std::string& name) const {
  for (auto* object : objects())
    if (const bpf_map* found = bpf_object__find_map_by_name(object, name.c_str())) return bpf_map__fd(found);
  die("no map " + name);
}

int Datapath::program(const std::string& name) const {
  for (auto* object : objects())
    if (const bpf_program* found = bpf_object__find_program_by_name(object, name.c_str()))
      return bpf_program__fd(found);
  die("no program " + name);
}

std::array<std::uint64_t, WEFT_DROP_REASON_COUNT> Datapath::drops() const {
  std::array<std::uint64_t, WEFT_DROP_REASON_COUNT> result{};
  std::vector<weft_counter> values(static_cast<std::size_t>(libbpf_num_possible_cpus()));
  for (std::uint32_t reason = 0; reason < WEFT_DROP_REASON_COUNT; ++reason) {
    if (bpf_map_lookup_elem(map("weft_drops_v1"), &reason, values.data()) != 0) die("cannot read drops");
    for (const auto& value : values) result[reason] += value.packets;
  }
  return result;
}

std::array<std::uint64_t, WEFT_STAT_COUNT> Datapath::stats() const {
  std::array<std::uint64_t, WEFT_STAT_COUNT> result{};
  std::vector<std::uint64_t> values(static_cast<std::size_t>(libbpf_num_possible_cpus()));
  for (std::uint32_t stat = 0; stat < WEFT_STAT_COUNT; ++stat) {
    if (bpf_map_lookup_elem(map("weft_stats_v1"), &stat, values.data()) != 0) die("cannot read stats");
    for (const auto value : values) result[stat] += value;
  }
  return result;
}

void Datapath::put_bytes(const std::string& name, const void* key, std::size_t key_size, const void* value,
                         std::size_t value_size) {
  bpf_map_info info{};
  std::uint32_t length = sizeof info;
  const int fd = map(name);
  if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0 || info.key_size != key_size || info.value_size != value_size)
    die(fmt::format("{}: key {} value {} do not fit the map's {} and {}", name, key_size, value_size, info.key_size,
                    info.value_size));
  if (bpf_map_update_elem(fd, key, value, BPF_ANY) != 0)
    die(fmt::format("cannot write {}: {}", name, std::strerror(errno)));
}

void Datapath::erase_bytes(const std::string& name, const void* key) { bpf_map_delete_elem(map(name), key); }

bool Datapath::get_bytes(const std::string& name, const void* key, void* value) const {
  return bpf_map_lookup_elem(map(name), key, value) == 0;
}

}  // namespace weft::test
