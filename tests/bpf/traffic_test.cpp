// Real sockets on both ends of real devices: a client outside, the node with the programs on its devices, a pod.
// What single packets cannot show: partial checksums, segmentation offload, what a socket makes of an answer.
#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <future>

#include "fixture.h"

namespace weft::test {
namespace {

constexpr std::uint16_t kNodePort = 30080;
constexpr std::uint16_t kBackendPort = 8080;

void shell(const std::string& command) {
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

// A named network namespace, for as long as this lives.
class Namespace {
 public:
  explicit Namespace(const char* role) : name_(fmt::format("weft-traffic-{}-{}", role, getpid())) {
    shell("ip netns add " + name_);
  }
  ~Namespace() {
    if (std::system(("ip netns del " + name_).c_str()) != 0) perror(name_.c_str());
  }
  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;
  [[nodiscard]] const std::string& name() const { return name_; }

  // Runs `work` on a thread inside.
  template <class Work>
  auto run(Work work) const {
    return std::async(std::launch::async, [name = name_, work] {
      const int fd = open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
      const int error = fd < 0 ? -1 : setns(fd, CLONE_NEWNET);
      if (fd >= 0) close(fd);
      if (error != 0) throw std::runtime_error("cannot enter " + name);
      return work();
    });
  }

 private:
  std::string name_;
};

class Hooks {
 public:
  Hooks(std::uint32_t device, int ingress, int egress) {
    hook_.sz = sizeof hook_;
    hook_.ifindex = static_cast<int>(device);
    hook_.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    if (bpf_tc_hook_create(&hook_) != 0) throw std::runtime_error("cannot make the clsact qdisc");
    for (const auto& [point, program] : {std::pair(BPF_TC_INGRESS, ingress), std::pair(BPF_TC_EGRESS, egress)}) {
      bpf_tc_hook one = hook_;
      one.attach_point = point;
      LIBBPF_OPTS(bpf_tc_opts, options);
      options.prog_fd = program;
      if (bpf_tc_attach(&one, &options) != 0) throw std::runtime_error("cannot attach");
    }
  }
  ~Hooks() { bpf_tc_hook_destroy(&hook_); }
  Hooks(const Hooks&) = delete;
  Hooks& operator=(const Hooks&) = delete;

 private:
  bpf_tc_hook hook_{};
};

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  Address(const IpAddress& address, std::uint16_t port) {
    if (address.is_v4()) {
      sockaddr_in in{};
      in.sin_family = AF_INET;
      in.sin_port = htons(port);
      in.sin_addr.s_addr = htonl(address.to_v4());
      std::memcpy(&storage, &in, sizeof in);
      length = sizeof in;
    } else {
      sockaddr_in6 in{};
      in.sin6_family = AF_INET6;
      in.sin6_port = htons(port);
      std::memcpy(&in.sin6_addr, address.bytes().data(), 16);
      std::memcpy(&storage, &in, sizeof in);
      length = sizeof in;
    }
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

class Endpoint {
 public:
  Endpoint(const IpAddress& like, int type) : fd_(socket(like.is_v4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0)) {
    set_limit();
  }
  explicit Endpoint(int fd) : fd_(fd) { set_limit(); }
  Endpoint(Endpoint&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Endpoint() {
    if (fd_ >= 0) close(fd_);
  }
  int connect_to(const IpAddress& address, std::uint16_t port) {
    const Address to(address, port);
    return connect(fd_, to.get(), to.length) == 0 ? 0 : errno;
  }
  void serve(const IpAddress& address, std::uint16_t port, bool stream) {
    const Address at(address, port);
    const int on = 1;
    setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd_, at.get(), at.length) != 0 || (stream && listen(fd_, 8) != 0))
      throw std::runtime_error(fmt::format("cannot listen: {}", std::strerror(errno)));
  }
  // And who it is from.
  Endpoint take(std::string& peer) {
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    const int fd = accept(fd_, reinterpret_cast<sockaddr*>(&from), &length);
    std::array<char, 64> text{};
    if (from.ss_family == AF_INET)
      inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(&from)->sin_addr, text.data(), text.size());
    else
      inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6*>(&from)->sin6_addr, text.data(), text.size());
    peer = text.data();
    return Endpoint(fd);
  }
  int say(const std::string& text) {
    std::size_t sent = 0;
    while (sent < text.size()) {
      const auto size = send(fd_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (size < 0) return errno;
      sent += static_cast<std::size_t>(size);
    }
    return 0;
  }
  // Bytes read until the end, an error, or `most`; the error.
  int hear(std::size_t& total, std::size_t most) {
    std::vector<char> buffer(65536);
    total = 0;
    while (total < most) {
      const auto size = recv(fd_, buffer.data(), buffer.size(), 0);
      if (size < 0) return errno;
      if (size == 0) return 0;
      total += static_cast<std::size_t>(size);
    }
    return 0;
  }

 private:
  void set_limit() const {
    const timeval limit{.tv_sec = 5, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  int fd_;
};

class Traffic : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    shell(fmt::format("ip link add trafup type veth peer name eth0 netns {}", client_.name()));
    shell(fmt::format("ip link add trafpod address 02:00:00:00:00:99 type veth peer name eth0 netns {}", pod_.name()));
    const auto in = [](const Namespace& where) { return "ip -n " + where.name() + " "; };
    shell(
        "ip link set trafup up; ip link set trafpod up;"
        "ip address add 10.77.0.1/24 dev trafup; ip address add fd00:77::1/64 dev trafup nodad;"
        "ip route add 10.1.0.3/32 dev trafpod; ip -6 route add fd00:1::3/128 dev trafpod");
    shell(in(client_) + "link set lo up; " + in(client_) + "link set eth0 up; " + in(client_) +
          "address add 10.77.0.2/24 dev eth0; " + in(client_) + "address add fd00:77::2/64 dev eth0 nodad");
    pod_index_ = if_nametoindex("trafpod");
    up_index_ = if_nametoindex("trafup");
    const std::string mac = "02:00:00:00:00:99";
    shell(in(pod_) + "link set lo up; " + in(pod_) + "link set eth0 up; " + in(pod_) +
          "address add 10.1.0.3/32 dev eth0; " + in(pod_) + "address add fd00:1::3/128 dev eth0 nodad; " + in(pod_) +
          "route add 169.254.1.1 dev eth0; " + in(pod_) + "route add default via 169.254.1.1; " + in(pod_) +
          "-6 route add fd00:9::1 dev eth0; " + in(pod_) + "-6 route add default via fd00:9::1; " + in(pod_) +
          "neigh add 169.254.1.1 lladdr " + mac + " dev eth0 nud permanent; " + in(pod_) +
          "neigh add fd00:9::1 lladdr " + mac + " dev eth0 nud permanent");
    datapath_.clear();
    standard(net_)(datapath_);
    serving_outside()(datapath_);
    pod(net_, 'b', {.ifindex = pod_index_})(datapath_);
    weft_device device{};
    device.nat_v4 = to_abi(IpAddress::parse("10.77.0.1").value());
    device.nat_v6 = to_abi(IpAddress::parse("fd00:77::1").value());
    device.mtu = 1500;
    datapath_.put("weft_dev_v1", up_index_, device);
    weft_endpoint own{};
    own.endpoint_id = WEFT_ENDPOINT_ID_HOST;
    own.identity = WEFT_IDENTITY_HOST;
    own.flags = WEFT_ENDPOINT_HOST;
    datapath_.put("weft_ep_v1", to_abi(node_), own);
    for (const std::uint8_t protocol : {kTcp, kUdp}) {
      backend(protocol, net_.b, kBackendPort, protocol)(datapath_);
      node_port(net_, kNodePort, protocol, {.backends = {protocol}, .first_slot = protocol})(datapath_);
    }
    device_hooks_ =
        std::make_unique<Hooks>(up_index_, datapath_.program("weft_from_device"), datapath_.program("weft_to_device"));
    pod_hooks_ =
        std::make_unique<Hooks>(pod_index_, datapath_.program("weft_from_pod"), datapath_.program("weft_to_pod"));
  }
  void TearDown() override {
    device_hooks_.reset();
    pod_hooks_.reset();
    shell("ip link del trafup; ip link del trafpod");
    datapath_.clear();
  }
  const Net& net_ = GetParam() ? net_v4() : net_v6();
  const IpAddress node_ = IpAddress::parse(GetParam() ? "10.77.0.1" : "fd00:77::1").value();
  const IpAddress client_address_ = IpAddress::parse(GetParam() ? "10.77.0.2" : "fd00:77::2").value();
  Namespace client_{"client"};
  Namespace pod_{"pod"};
  Datapath& datapath_ = Datapath::shared();
  std::uint32_t pod_index_ = 0;
  std::uint32_t up_index_ = 0;
  std::unique_ptr<Hooks> device_hooks_, pod_hooks_;
};

TEST_P(Traffic, ANodePortIsServedWithTheClientsAddressUntilTheBackendIsGone) {
  constexpr std::size_t kMuch = 4 << 20;
  std::promise<void> listening, connected;
  auto server = pod_.run([&] {
    Endpoint socket(net_.b, SOCK_STREAM);
    socket.serve(net_.b, kBackendPort, true);
    listening.set_value();
    std::string peer;
    auto connection = socket.take(peer);
    EXPECT_EQ(client_address_.to_string(), peer);
    std::size_t heard = 0;
    EXPECT_EQ(0, connection.hear(heard, 5));
    EXPECT_EQ(0, connection.say(std::string(kMuch, 'x')));
    // until the reset
    const int error = connection.hear(heard, 1);
    EXPECT_EQ(ECONNRESET, error) << "the backend's end: " << std::strerror(error);
  });
  listening.get_future().wait();
  auto client = client_.run([&] {
    Endpoint socket(node_, SOCK_STREAM);
    EXPECT_EQ(0, socket.connect_to(node_, kNodePort));
    EXPECT_EQ(0, socket.say("hello"));
    std::size_t heard = 0;
    EXPECT_EQ(0, socket.hear(heard, kMuch));
    EXPECT_EQ(kMuch, heard);
    no_backend(kTcp)(datapath_);
    datapath_.bump_epoch();
    EXPECT_EQ(0, socket.say("anybody there?"));
    const int error = socket.hear(heard, 1);
    EXPECT_EQ(ECONNRESET, error) << "the client's end: " << std::strerror(error);
  });
  client.get();
  server.get();
}

TEST_P(Traffic, RefusalsReachTheSocket) {
  for (const std::uint8_t protocol : {kTcp, kUdp}) no_backend(protocol)(datapath_);
  client_
      .run([&] {
        Endpoint stream(node_, SOCK_STREAM);
        EXPECT_EQ(ECONNREFUSED, stream.connect_to(node_, kNodePort));
        Endpoint datagrams(node_, SOCK_DGRAM);
        EXPECT_EQ(0, datagrams.connect_to(node_, kNodePort));
        EXPECT_EQ(0, datagrams.say(std::string(900, 'x')));
        std::size_t heard = 0;
        const int error = datagrams.hear(heard, 1);
        EXPECT_EQ(ECONNREFUSED, error) << std::strerror(error);
      })
      .get();
  // and a pod's, which sends to the node's address past any socket hook
  pod_.run([&] {
        Endpoint stream(node_, SOCK_STREAM);
        EXPECT_EQ(ECONNREFUSED, stream.connect_to(node_, kNodePort));
        Endpoint datagrams(node_, SOCK_DGRAM);
        EXPECT_EQ(0, datagrams.connect_to(node_, kNodePort));
        EXPECT_EQ(0, datagrams.say("x"));
        std::size_t heard = 0;
        EXPECT_EQ(ECONNREFUSED, datagrams.hear(heard, 1));
      })
      .get();
}

TEST_P(Traffic, APodReachesItselfByANodePort) {
  pod_.run([&] {
        Endpoint server(net_.b, SOCK_STREAM);
        server.serve(net_.b, kBackendPort, true);
        Endpoint client(net_.b, SOCK_STREAM);
        EXPECT_EQ(0, client.connect_to(node_, kNodePort));
        std::string peer;
        auto connection = server.take(peer);
        EXPECT_EQ(net_.gateway.to_string(), peer);
        EXPECT_EQ(0, connection.say("hello"));
        std::size_t heard = 0;
        EXPECT_EQ(0, client.hear(heard, 5));
        EXPECT_EQ(5u, heard);
      })
      .get();
}

INSTANTIATE_TEST_SUITE_P(Families, Traffic, testing::Bool(),
                         [](const auto& family) { return family.param ? "v4" : "v6"; });

}  // namespace
}  // namespace weft::test
