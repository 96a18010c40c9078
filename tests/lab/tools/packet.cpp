// A UDP packet made by hand and put on a device: any source address, any destination MAC.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "sockets.h"

namespace weft::labtool {
namespace {

template <typename T>
void append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::uint32_t add_words(std::uint32_t sum, std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<std::uint32_t>(static_cast<std::uint8_t>(bytes[i])) << 8U;
    if (i + 1 < bytes.size()) sum += static_cast<std::uint8_t>(bytes[i + 1]);
  }
  return sum;
}

std::uint16_t finish(std::uint32_t sum) {
  while (sum >> 16U != 0) sum = (sum & 0xffffU) + (sum >> 16U);
  return htons(static_cast<std::uint16_t>(~sum));
}

std::string udp(const Arguments& arguments, std::string_view addresses) {
  const std::string payload = "who 0\n";
  udphdr header{};
  header.uh_sport = htons(static_cast<std::uint16_t>(arguments.number("source-port", 4444)));
  header.uh_dport = htons(static_cast<std::uint16_t>(arguments.number("port", 9)));
  header.uh_ulen = htons(static_cast<std::uint16_t>(sizeof header + payload.size()));
  std::string bytes;
  append(bytes, header);
  bytes += payload;
  const auto sum = add_words(add_words(IPPROTO_UDP + static_cast<std::uint32_t>(bytes.size()), addresses), bytes);
  header.uh_sum = finish(sum);
  bytes.replace(0, sizeof header, reinterpret_cast<const char*>(&header), sizeof header);
  return bytes;
}

std::string network_v4(const Arguments& arguments, const Address& from, const Address& to) {
  iphdr header{};
  header.version = 4;
  header.ihl = 5;
  header.ttl = 64;
  header.protocol = IPPROTO_UDP;
  header.saddr = reinterpret_cast<const sockaddr_in*>(&from.storage)->sin_addr.s_addr;
  header.daddr = reinterpret_cast<const sockaddr_in*>(&to.storage)->sin_addr.s_addr;
  std::string addresses;
  append(addresses, header.saddr);
  append(addresses, header.daddr);
  const auto body = udp(arguments, addresses);
  header.tot_len = htons(static_cast<std::uint16_t>(sizeof header + body.size()));
  header.check = finish(add_words(0, {reinterpret_cast<const char*>(&header), sizeof header}));
  std::string bytes;
  append(bytes, header);
  return bytes + body;
}

std::string network_v6(const Arguments& arguments, const Address& from, const Address& to) {
  ip6_hdr header{};
  header.ip6_src = reinterpret_cast<const sockaddr_in6*>(&from.storage)->sin6_addr;
  header.ip6_dst = reinterpret_cast<const sockaddr_in6*>(&to.storage)->sin6_addr;
  std::string addresses;
  append(addresses, header.ip6_src);
  append(addresses, header.ip6_dst);
  const auto body = udp(arguments, addresses);
  header.ip6_flow = htonl(6U << 28U);
  header.ip6_plen = htons(static_cast<std::uint16_t>(body.size()));
  header.ip6_nxt = IPPROTO_UDP;
  header.ip6_hlim = 64;
  std::string bytes;
  append(bytes, header);
  return bytes + body;
}

std::array<unsigned char, 6> parse_mac(const std::string& text) {
  std::array<unsigned char, 6> mac{};
  if (std::sscanf(text.c_str(), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
                  &mac[5]) != 6) {
    errno = EINVAL;
    die("--mac " + text);
  }
  return mac;
}

}  // namespace

int send_packet(const Arguments& arguments) {
  const auto& device = arguments.positional[0];
  const int fd = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) die("packet socket");
  ifreq request{};
  std::strncpy(request.ifr_name, device.c_str(), IFNAMSIZ - 1);
  if (::ioctl(fd, SIOCGIFHWADDR, &request) != 0) die(device);
  const Address from = parse_address(arguments.text("source", "0.0.0.0"), 0);
  const Address to = parse_address(arguments.text("destination", "0.0.0.0"), 0);
  const bool v6 = to.family() == AF_INET6;
  ether_header ethernet{};
  const auto destination = parse_mac(arguments.text("mac", "ff:ff:ff:ff:ff:ff"));
  std::memcpy(ethernet.ether_dhost, destination.data(), destination.size());
  std::memcpy(ethernet.ether_shost, request.ifr_hwaddr.sa_data, ETH_ALEN);
  ethernet.ether_type = htons(v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
  std::string frame;
  const long vlan = arguments.number("vlan", -1);  // the tag's 16 bits: priority, identifier
  if (vlan >= 0) {
    const std::uint16_t tag[] = {ethernet.ether_type, htons(static_cast<std::uint16_t>(vlan))};
    ethernet.ether_type = htons(ETHERTYPE_VLAN);
    append(frame, ethernet);
    append(frame, tag[1]);
    append(frame, tag[0]);
  } else {
    append(frame, ethernet);
  }
  frame += v6 ? network_v6(arguments, from, to) : network_v4(arguments, from, to);
  sockaddr_ll link{};
  link.sll_family = AF_PACKET;
  link.sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
  for (long i = 0; i < arguments.number("count", 1); ++i)
    if (::sendto(fd, frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&link), sizeof link) < 0)
      die("send");
  fmt::print("sent\n");
  return 0;
}

}  // namespace weft::labtool
