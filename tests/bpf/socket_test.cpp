// The socket hook with real sockets: the test's own namespace is a pod's, another one is nobody's.
// The programs hang on a cgroup of the test's own, below wherever cgroup v2 is mounted.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>

#include "cgroup.h"
#include "datapath.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace weft::test {
namespace {

constexpr std::uint32_t kEndpoint = 11;
constexpr std::uint32_t kService = 7;

[[noreturn]] void die(const std::string& what) {
  throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

// An address and port as the socket calls take them. IPv4 on an IPv6 socket is IPv4-mapped.
struct Peer {
  IpAddress address;
  std::uint16_t port = 0;
  bool operator==(const Peer&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Peer& peer) {
  return out << peer.address.to_string() << " port " << peer.port;
}

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  [[nodiscard]] sockaddr* raw() { return reinterpret_cast<sockaddr*>(&storage); }

  static SocketAddress of(const Peer& peer, int family) {
    SocketAddress result;
    if (family == AF_INET) {
      sockaddr_in in{};
      in.sin_family = AF_INET;
      in.sin_port = htons(peer.port);
      in.sin_addr.s_addr = htonl(peer.address.to_v4());
      std::memcpy(&result.storage, &in, sizeof in);
      result.length = sizeof in;
    } else {
      sockaddr_in6 in{};
      in.sin6_family = AF_INET6;
      in.sin6_port = htons(peer.port);
      std::memcpy(&in.sin6_addr, peer.address.bytes().data(), 16);
      std::memcpy(&result.storage, &in, sizeof in);
      result.length = sizeof in;
    }
    return result;
  }
  [[nodiscard]] Peer peer() const {
    if (storage.ss_family == AF_INET) {
      sockaddr_in in{};
      std::memcpy(&in, &storage, sizeof in);
      return {IpAddress::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
    }
    sockaddr_in6 in{};
    std::memcpy(&in, &storage, sizeof in);
    IpAddress::Bytes bytes{};
    std::memcpy(bytes.data(), &in.sin6_addr, 16);
    return {IpAddress(bytes), ntohs(in.sin6_port)};
  }
};

class Socket {
 public:
  Socket(int family, int type) : family_(family), fd_(socket(family, type | SOCK_CLOEXEC, 0)) {
    if (fd_ < 0) die("socket");
    const timeval limit{.tv_sec = 5, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  explicit Socket(int fd) : family_(AF_UNSPEC), fd_(fd) {
    if (fd_ < 0) die("accept");
  }
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // 0 or errno
  int connect_to(const Peer& peer) {
    auto to = SocketAddress::of(peer, family_);
    return connect(fd_, to.raw(), to.length) == 0 ? 0 : errno;
  }
  int send_to(const Peer& peer, const std::string& text) {
    auto to = SocketAddress::of(peer, family_);
    return sendto(fd_, text.data(), text.size(), MSG_NOSIGNAL, to.raw(), to.length) < 0 ? errno : 0;
  }
  int send_text(const std::string& text) { return send(fd_, text.data(), text.size(), MSG_NOSIGNAL) < 0 ? errno : 0; }
  std::string receive(Peer* from = nullptr) {
    std::array<char, 256> buffer{};
    SocketAddress source;
    const auto length = recvfrom(fd_, buffer.data(), buffer.size(), 0, source.raw(), &source.length);
    if (length < 0) die("recvfrom");
    if (from) *from = source.peer();
    return {buffer.data(), static_cast<std::size_t>(length)};
  }
  Peer listen_on(const IpAddress& address, bool stream) {
    auto at = SocketAddress::of({address, 0}, family_);
    if (bind(fd_, at.raw(), at.length) != 0 || (stream && listen(fd_, 8) != 0)) die("bind");
    SocketAddress bound;
    if (getsockname(fd_, bound.raw(), &bound.length) != 0) die("getsockname");
    return bound.peer();
  }
  [[nodiscard]] Peer peer() const {
    SocketAddress address;
    if (getpeername(fd_, address.raw(), &address.length) != 0) die("getpeername");
    return address.peer();
  }
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] int take() const { return accept(fd_, nullptr, nullptr); }
  [[nodiscard]] std::uint64_t netns_cookie() const {
    std::uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    if (getsockopt(fd_, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) die("SO_NETNS_COOKIE");
    return cookie;
  }

 private:
  int family_;
  int fd_;
};

struct ObjectCloser {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};
struct LinkDestroyer {
  void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};
struct RingCloser {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};

class SocketHook : public testing::Test {
 protected:
  void SetUp() override {
    object_.reset(bpf_object__open_file(WEFT_BPF_DIR "/socket.bpf.o", nullptr));
    ASSERT_TRUE(object_);
    ASSERT_EQ(0, bpf_object__load(object_.get()));
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, object_.get()) {
      std::unique_ptr<bpf_link, LinkDestroyer> link(bpf_program__attach_cgroup(program, cgroup_.fd()));
      ASSERT_TRUE(link) << bpf_program__name(program);
      links_.push_back(std::move(link));
    }
    const auto collect = [](void* context, void* data, std::size_t) {
      weft_event event{};
      std::memcpy(&event, data, sizeof event);
      static_cast<std::vector<weft_event>*>(context)->push_back(event);
      return 0;
    };
    ring_.reset(ring_buffer__new(map("weft_events_v1"), collect, &events_, nullptr));
    ASSERT_TRUE(ring_);
    put("weft_config_v3", std::uint32_t{0}, default_config());
    put("weft_netns_v1", Socket(AF_INET, SOCK_STREAM).netns_cookie(), weft_netns{kEndpoint, 0});
  }

  int map(const char* name) { return bpf_object__find_map_fd_by_name(object_.get(), name); }
  template <class K, class V>
  void put(const char* name, const K& key, const V& value) {
    ASSERT_EQ(0, bpf_map_update_elem(map(name), &key, &value, BPF_ANY)) << name;
  }
  void add_service(const Peer& frontend, int protocol, const std::vector<Peer>& backends,
                   std::uint32_t affinity_seconds = 0) {
    const auto number = static_cast<std::uint8_t>(protocol);
    for (std::uint32_t i = 0; i < backends.size(); ++i) {
      weft_backend row{};
      row.addr = to_abi(backends[i].address);
      row.port = htons(backends[i].port);
      row.protocol = number;
      row.state = WEFT_BACKEND_ACTIVE;
      row.service_id = kService;
      put("weft_backend_v2", 100 + i, row);
      put("weft_slot_v2", 10 + i, 100 + i);
    }
    put("weft_svc_v2", weft_service_key{to_abi(frontend.address), htons(frontend.port), number, 0},
        weft_service{.service_id = kService,
                     .first_slot = 10,
                     .slot_count = static_cast<std::uint32_t>(backends.size()),
                     .affinity_seconds = affinity_seconds});
  }
  std::vector<weft_event> events() {
    ring_buffer__consume(ring_.get());
    return std::exchange(events_, {});
  }
  std::uint64_t stat(weft_stat stat) {
    std::vector<std::uint64_t> values(static_cast<std::size_t>(libbpf_num_possible_cpus()));
    const std::uint32_t index = stat;
    bpf_map_lookup_elem(map("weft_stats_v1"), &index, values.data());
    std::uint64_t sum = 0;
    for (const auto value : values) sum += value;
    return sum;
  }
  bool has_hint(const Peer& backend, int protocol) {
    const weft_hint_key key{kEndpoint, to_abi(backend.address), htons(backend.port),
                            static_cast<std::uint8_t>(protocol), 0};
    weft_hint hint{};
    return bpf_map_lookup_elem(map("weft_hint_v2"), &key, &hint) == 0 && hint.service_id == kService &&
           hint.backend_id >= 100;
  }

  // More about a service than add_service tells; its backends are there.
  void change_service(const Peer& frontend, int protocol, const std::function<void(weft_service&)>& change) {
    const weft_service_key key{to_abi(frontend.address), htons(frontend.port), static_cast<std::uint8_t>(protocol), 0};
    weft_service service{};
    ASSERT_EQ(0, bpf_map_lookup_elem(map("weft_svc_v2"), &key, &service));
    change(service);
    put("weft_svc_v2", key, service);
  }
  void change_backend(std::uint32_t id, weft_backend_state state) {
    weft_backend row{};
    ASSERT_EQ(0, bpf_map_lookup_elem(map("weft_backend_v2"), &id, &row));
    row.state = static_cast<std::uint8_t>(state);
    put("weft_backend_v2", id, state == WEFT_BACKEND_GONE ? weft_backend{} : row);
  }
  void be(std::uint32_t endpoint, std::uint32_t flags = 0) {
    put("weft_netns_v1", Socket(AF_INET, SOCK_STREAM).netns_cookie(), weft_netns{endpoint, flags});
  }
  void open_node_port(std::uint16_t port, int protocol) {
    const auto word = weft_port_word(WEFT_PORTS_NODE, weft_port_protocol(static_cast<std::uint8_t>(protocol)), port);
    put("weft_ports_v1", word, std::uint64_t{1} << (port & 63));
  }
  void own_address(const IpAddress& address) {
    weft_endpoint endpoint{};
    endpoint.endpoint_id = WEFT_ENDPOINT_ID_HOST;
    endpoint.flags = WEFT_ENDPOINT_HOST;
    put("weft_ep_v1", to_abi(address), endpoint);
  }
  weft_service_state service_state() {
    const std::uint32_t id = kService;
    weft_service_state state{};
    bpf_map_lookup_elem(map("weft_svcstate_v1"), &id, &state);
    return state;
  }

  // The backend a UDP socket chose last.
  weft_socket_frontend last_backend(const Socket& socket) {
    weft_socket_frontends frontends{};
    const int fd = socket.fd();
    if (bpf_map_lookup_elem(map("weft_skudp_v1"), &fd, &frontends) != 0) die("socket storage");
    return frontends.last[(frontends.next - 1) % WEFT_SOCKET_FRONTENDS];
  }

  // What each address family's test differs in. `family` is the client socket's.
  struct Variant {
    const char* name;
    int family;
    Peer frontend;
    IpAddress backend;
  };
  static std::vector<Variant> variants() {
    return {{"IPv4", AF_INET, {ip("10.2.0.10"), 80}, ip("127.0.0.1")},
            {"IPv6", AF_INET6, {ip("fd00:2::10"), 80}, ip("::1")},
            {"IPv4-mapped", AF_INET6, {ip("10.2.0.10"), 80}, ip("127.0.0.1")}};
  }
  static int family_of(const IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }

  OwnCgroup cgroup_;
  std::unique_ptr<bpf_object, ObjectCloser> object_;
  std::vector<std::unique_ptr<bpf_link, LinkDestroyer>> links_;
  std::unique_ptr<ring_buffer, RingCloser> ring_;
  std::vector<weft_event> events_;
};

TEST_F(SocketHook, ConnectGoesToABackendAndPeerNameIsTheService) {
  for (const auto& variant : variants()) {
    SCOPED_TRACE(variant.name);
    Socket server(family_of(variant.backend), SOCK_STREAM);
    const auto backend = server.listen_on(variant.backend, true);
    add_service(variant.frontend, IPPROTO_TCP, {backend});
    Socket client(variant.family, SOCK_STREAM);
    ASSERT_EQ(0, client.connect_to(variant.frontend));
    Socket accepted(server.take());
    ASSERT_EQ(0, client.send_text("hello"));
    EXPECT_EQ("hello", accepted.receive());
    EXPECT_EQ(variant.frontend, client.peer());
    EXPECT_TRUE(has_hint(backend, IPPROTO_TCP));
    EXPECT_TRUE(events().empty());  // the flow names its service by itself
  }
  EXPECT_EQ(variants().size(), stat(WEFT_STAT_SOCKET_TRANSLATED));
}

TEST_F(SocketHook, DatagramsAreAnsweredByTheService) {
  for (const auto& variant : variants()) {
    SCOPED_TRACE(variant.name);
    Socket server(family_of(variant.backend), SOCK_DGRAM);
    const auto backend = server.listen_on(variant.backend, false);
    add_service(variant.frontend, IPPROTO_UDP, {backend});
    Socket client(variant.family, SOCK_DGRAM);
    ASSERT_EQ(0, client.send_to(variant.frontend, "question"));
    Peer asking;
    EXPECT_EQ("question", server.receive(&asking));
    ASSERT_EQ(0, server.send_to(asking, "answer"));
    Peer answering;
    EXPECT_EQ("answer", client.receive(&answering));
    EXPECT_EQ(variant.frontend, answering);
    EXPECT_TRUE(has_hint(backend, IPPROTO_UDP));
    EXPECT_TRUE(events().empty());
  }
}

TEST_F(SocketHook, ConnectedDatagramSockets) {
  for (const auto& variant : variants()) {
    SCOPED_TRACE(variant.name);
    Socket server(family_of(variant.backend), SOCK_DGRAM);
    const auto backend = server.listen_on(variant.backend, false);
    add_service(variant.frontend, IPPROTO_UDP, {backend});
    Socket client(variant.family, SOCK_DGRAM);
    ASSERT_EQ(0, client.connect_to(variant.frontend));
    EXPECT_EQ(variant.frontend, client.peer());
    ASSERT_EQ(0, client.send_text("question"));
    Peer asking;
    EXPECT_EQ("question", server.receive(&asking));
    ASSERT_EQ(0, server.send_to(asking, "answer"));
    Peer answering;
    EXPECT_EQ("answer", client.receive(&answering));
    EXPECT_EQ(variant.frontend, answering);
    EXPECT_TRUE(events().empty());
  }
}

TEST_F(SocketHook, NoBackendIsConnectionRefused) {
  for (const auto& variant : variants()) {
    SCOPED_TRACE(variant.name);
    add_service(variant.frontend, IPPROTO_TCP, {});
    add_service(variant.frontend, IPPROTO_UDP, {});
    EXPECT_EQ(ECONNREFUSED, Socket(variant.family, SOCK_STREAM).connect_to(variant.frontend));
    EXPECT_EQ(ECONNREFUSED, Socket(variant.family, SOCK_DGRAM).send_to(variant.frontend, "x"));
    const auto seen = events();
    ASSERT_EQ(2u, seen.size());
    for (const auto& event : seen) {
      EXPECT_EQ(WEFT_EVENT_DENIED, event.type);
      EXPECT_EQ(WEFT_DROP_NO_BACKEND, event.drop_reason);
      EXPECT_EQ(kService, event.service_id);
    }
  }
  EXPECT_EQ(2 * variants().size(), stat(WEFT_STAT_SOCKET_NO_BACKEND));
  EXPECT_EQ(2 * variants().size(), service_state().refused);
}

TEST_F(SocketHook, WhatIsNoServiceIsLeftAlone) {
  for (const auto& variant : variants()) {
    SCOPED_TRACE(variant.name);
    Socket server(family_of(variant.backend), SOCK_STREAM);
    const auto direct = server.listen_on(variant.backend, true);
    add_service(variant.frontend, IPPROTO_TCP, {direct});
    Socket client(variant.family, SOCK_STREAM);
    ASSERT_EQ(0, client.connect_to(direct));
    EXPECT_EQ(direct, client.peer());
    EXPECT_TRUE(events().empty());
  }
  EXPECT_EQ(0u, stat(WEFT_STAT_SOCKET_TRANSLATED));
}

TEST_F(SocketHook, AffinityKeepsOneBackend) {
  Socket first(AF_INET, SOCK_DGRAM);
  Socket second(AF_INET, SOCK_DGRAM);
  const Peer frontend{ip("10.2.0.10"), 53};
  add_service(frontend, IPPROTO_UDP,
              {first.listen_on(ip("127.0.0.1"), false), second.listen_on(ip("127.0.0.1"), false)}, 600);
  std::set<std::uint16_t> ports;
  for (int i = 0; i < 32; ++i) {
    Socket client(AF_INET, SOCK_DGRAM);
    ASSERT_EQ(0, client.connect_to(frontend));
    ports.insert(last_backend(client).backend_port);
  }
  EXPECT_EQ(1u, ports.size());
}

// Sends a datagram by `client` and says which of the servers has it.
std::size_t asked(Socket& client, const Peer& frontend, const std::vector<Socket*>& servers) {
  if (client.send_to(frontend, "question") != 0) throw std::runtime_error("cannot send");
  std::vector<pollfd> ready;
  for (const auto* server : servers) ready.push_back({.fd = server->fd(), .events = POLLIN, .revents = 0});
  poll(ready.data(), ready.size(), 5000);
  for (std::size_t i = 0; i < servers.size(); ++i)
    if (ready[i].revents != 0) {
      Peer asking;
      servers[i]->receive(&asking);
      servers[i]->send_to(asking, "answer");
      Peer answering;
      client.receive(&answering);
      EXPECT_EQ(frontend, answering);
      return i;
    }
  throw std::runtime_error("nobody was asked");
}

TEST_F(SocketHook, AnUnconnectedSocketKeepsItsBackendWhileThatTakesFlows) {
  for (const auto& variant : variants()) {
    SCOPED_TRACE(variant.name);
    Socket first(family_of(variant.backend), SOCK_DGRAM);
    Socket second(family_of(variant.backend), SOCK_DGRAM);
    add_service(variant.frontend, IPPROTO_UDP,
                {first.listen_on(variant.backend, false), second.listen_on(variant.backend, false)});
    Socket client(variant.family, SOCK_DGRAM);
    const auto chosen = asked(client, variant.frontend, {&first, &second});
    for (int i = 0; i < 16; ++i) EXPECT_EQ(chosen, asked(client, variant.frontend, {&first, &second}));
    change_backend(100 + static_cast<std::uint32_t>(chosen), WEFT_BACKEND_DRAINING);
    // the run still has it until the agent has written another: but not for a socket that has a choice
    put("weft_slot_v2", 10 + static_cast<std::uint32_t>(chosen), 101 - static_cast<std::uint32_t>(chosen));
    for (int i = 0; i < 4; ++i) EXPECT_EQ(1 - chosen, asked(client, variant.frontend, {&first, &second}));
  }
}

TEST_F(SocketHook, LateAnswersOfABackendThatIsGoneStillComeFromTheService) {
  Socket first(AF_INET, SOCK_DGRAM);
  Socket second(AF_INET, SOCK_DGRAM);
  const Peer frontend{ip("10.2.0.10"), 53};
  const auto old_backend = first.listen_on(ip("127.0.0.1"), false);
  add_service(frontend, IPPROTO_UDP, {old_backend});
  Socket client(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(0, client.send_to(frontend, "question"));
  Peer asking;
  first.receive(&asking);
  change_backend(100, WEFT_BACKEND_GONE);
  add_service(frontend, IPPROTO_UDP, {second.listen_on(ip("127.0.0.1"), false)});
  ASSERT_EQ(0, client.send_to(frontend, "again"));
  EXPECT_EQ("again", second.receive());
  ASSERT_EQ(0, first.send_to(asking, "late"));
  Peer answering;
  EXPECT_EQ("late", client.receive(&answering));
  EXPECT_EQ(frontend, answering);
}

TEST_F(SocketHook, OneSocketSpeaksToSeveralServices) {
  Socket server(AF_INET, SOCK_DGRAM);
  const auto backend = server.listen_on(ip("127.0.0.1"), false);
  Socket client(AF_INET, SOCK_DGRAM);
  // one backend behind all: each answer comes from the service that was asked last
  for (std::uint16_t port = 1; port <= 6; ++port) {
    const Peer frontend{ip("10.2.0.10"), port};
    add_service(frontend, IPPROTO_UDP, {backend});
    EXPECT_EQ(0u, asked(client, frontend, {&server}));
  }
}

TEST_F(SocketHook, APeerForgottenIsTheBackend) {
  Socket server(AF_INET, SOCK_STREAM);
  const auto backend = server.listen_on(ip("127.0.0.1"), true);
  const Peer frontend{ip("10.2.0.10"), 80};
  add_service(frontend, IPPROTO_TCP, {backend});
  Socket client(AF_INET, SOCK_STREAM);
  ASSERT_EQ(0, client.connect_to(frontend));
  EXPECT_EQ(frontend, client.peer());
  for (std::uint32_t slot = 0; slot < WEFT_SOCKET_PEERS; ++slot) {
    weft_socket_peer other{};
    other.cookie = ~std::uint64_t{0};
    put("weft_skpeer_v1", slot, other);
  }
  EXPECT_EQ(backend, client.peer());
}

TEST_F(SocketHook, NodePorts) {
  const struct {
    const char* name;
    int family;
    IpAddress zero, loopback, own, backend;
  } families[] = {
      {"IPv4", AF_INET, ip("0.0.0.0"), ip("127.0.0.1"), ip("192.0.2.1"), ip("127.0.0.1")},
      {"IPv6", AF_INET6, ip("::"), ip("::1"), ip("2001:db8::1"), ip("::1")},
      {"IPv4-mapped", AF_INET6, ip("0.0.0.0"), ip("127.0.0.1"), ip("192.0.2.1"), ip("127.0.0.1")},
  };
  constexpr std::uint16_t kPort = 30080;
  for (const auto& each : families) {
    SCOPED_TRACE(each.name);
    Socket server(family_of(each.backend), SOCK_STREAM);
    add_service({each.zero, kPort}, IPPROTO_TCP, {server.listen_on(each.backend, true)});
    own_address(each.own);
    const auto reaches = [&](const IpAddress& address) {
      Socket client(each.family, SOCK_STREAM);
      if (client.connect_to({address, kPort}) != 0) return false;
      Socket accepted(server.take());
      EXPECT_EQ(client.peer(), (Peer{address, kPort}));
      return true;
    };
    const std::uint64_t none = 0;
    put("weft_ports_v1", weft_port_word(WEFT_PORTS_NODE, 0, kPort), none);
    be(WEFT_ENDPOINT_ID_HOST);
    EXPECT_FALSE(reaches(each.own)) << "no port set says that there is one";
    open_node_port(kPort, IPPROTO_TCP);
    EXPECT_TRUE(reaches(each.own));
    EXPECT_TRUE(reaches(each.loopback)) << "the node's own loopback";
    be(kEndpoint);
    EXPECT_TRUE(reaches(each.own)) << "a pod, by the node's address";
    EXPECT_FALSE(reaches(each.loopback)) << "a pod's loopback is its own";
    Socket anywhere(each.family, SOCK_STREAM);
    EXPECT_NE(0, anywhere.connect_to({each.zero, kPort})) << "the zero address means the pod itself";
  }
}

TEST_F(SocketHook, SourceRangesAreForThePacketToDecide) {
  Socket server(AF_INET, SOCK_STREAM);
  const Peer frontend{ip("203.0.113.80"), 80};  // an unreachable route
  add_service(frontend, IPPROTO_TCP, {server.listen_on(ip("127.0.0.1"), true)});
  change_service(frontend, IPPROTO_TCP, [](weft_service& service) { service.flags = WEFT_SERVICE_SOURCE_RANGES; });
  EXPECT_EQ(EHOSTUNREACH, Socket(AF_INET, SOCK_STREAM).connect_to(frontend));
  be(WEFT_ENDPOINT_ID_HOST);
  EXPECT_EQ(0, Socket(AF_INET, SOCK_STREAM).connect_to(frontend));
}

TEST_F(SocketHook, ThePodsOfALocalRedirectGoPastIt) {
  Socket redirected(AF_INET, SOCK_DGRAM);
  Socket cluster(AF_INET, SOCK_DGRAM);
  const Peer frontend{ip("10.2.0.10"), 53};
  add_service(frontend, IPPROTO_UDP,
              {redirected.listen_on(ip("127.0.0.1"), false), cluster.listen_on(ip("127.0.0.1"), false)});
  change_service(frontend, IPPROTO_UDP, [](weft_service& service) {
    service.slot_count = 1;
    service.external_first_slot = service.first_slot + 1;
    service.external_slot_count = 1;
    service.flags = WEFT_SERVICE_LOCAL_REDIRECT;
  });
  Socket client(AF_INET, SOCK_DGRAM);
  EXPECT_EQ(0u, asked(client, frontend, {&redirected, &cluster}));
  be(kEndpoint, WEFT_ENDPOINT_REDIRECT_TARGET);
  Socket target(AF_INET, SOCK_DGRAM);
  EXPECT_EQ(1u, asked(target, frontend, {&redirected, &cluster}));
}

TEST_F(SocketHook, RoundRobin) {
  Socket servers[] = {Socket(AF_INET, SOCK_DGRAM), Socket(AF_INET, SOCK_DGRAM), Socket(AF_INET, SOCK_DGRAM)};
  std::vector<Peer> backends;
  for (auto& server : servers) backends.push_back(server.listen_on(ip("127.0.0.1"), false));
  const Peer frontend{ip("10.2.0.10"), 53};
  add_service(frontend, IPPROTO_UDP, backends);
  change_service(frontend, IPPROTO_UDP, [](weft_service& service) { service.algorithm = WEFT_ALGORITHM_ROUND_ROBIN; });
  std::uint32_t last = 0;
  for (int i = 0; i < 9; ++i) {
    Socket client(AF_INET, SOCK_DGRAM);
    ASSERT_EQ(0, client.connect_to(frontend));
    const auto id = last_backend(client).backend_id;
    if (i > 0) {
      EXPECT_EQ(last == 102 ? 100 : last + 1, id);
    }
    last = id;
  }
}

// The same cgroup, another namespace: connect() there must fail for want of a route, not reach the
// backend nor be refused for want of one.
int connect_in_other_namespace(const Peer& frontend, int family) {
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNET) != 0) _exit(255);
    _exit(Socket(family, SOCK_STREAM).connect_to(frontend));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

TEST_F(SocketHook, OtherNamespacesAreUntouched) {
  for (const auto& variant : variants()) {
    SCOPED_TRACE(variant.name);
    add_service(variant.frontend, IPPROTO_TCP, {});
    const int error = connect_in_other_namespace(variant.frontend, variant.family);
    EXPECT_TRUE(error == ENETUNREACH || error == EADDRNOTAVAIL) << std::strerror(error);
  }
  EXPECT_TRUE(events().empty());
  EXPECT_EQ(0u, stat(WEFT_STAT_SOCKET_NO_BACKEND));
}

TEST_F(SocketHook, SwitchedOff) {
  auto config = default_config();
  config.flags &= ~static_cast<std::uint32_t>(WEFT_CONFIG_SERVICES);
  put("weft_config_v3", std::uint32_t{0}, config);
  const Peer frontend{ip("203.0.113.80"), 80};  // an unreachable route
  add_service(frontend, IPPROTO_TCP, {});
  EXPECT_EQ(EHOSTUNREACH, Socket(AF_INET, SOCK_STREAM).connect_to(frontend));
}

}  // namespace
}  // namespace weft::test
