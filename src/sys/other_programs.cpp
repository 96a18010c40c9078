#include "sys/other_programs.h"

#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/fd.h"
#include "sys/rtnetlink_socket.h"
#include "sys/system.h"

namespace weft::sys {
namespace {

int take_chain(const nlmsghdr* message, void* into) {
  const Attributes<NFTA_CHAIN_MAX + 1> attributes(message, sizeof(nfgenmsg));
  FilterChain chain{attributes.text(NFTA_CHAIN_TABLE), attributes.text(NFTA_CHAIN_NAME), "nft"};
  if (!chain.chain.empty()) static_cast<std::vector<FilterChain>*>(into)->push_back(std::move(chain));
  return MNL_CB_OK;
}

Result<void> nftables(std::vector<FilterChain>& chains) {
  const std::unique_ptr<mnl_socket, int (*)(mnl_socket*)> socket(::mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC),
                                                                 &::mnl_socket_close);
  // A kernel without netfilter.
  if (!socket) return errno == EPROTONOSUPPORT ? Result<void>() : fail(errno_error("open netlink of netfilter", errno));
  if (::mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0)
    return fail(errno_error("bind netlink of netfilter", errno));
  std::vector<char> buffer(32 * 1024);
  auto* request = ::mnl_nlmsg_put_header(buffer.data());
  request->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN;
  request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request->nlmsg_seq = 1;
  auto* family = static_cast<nfgenmsg*>(::mnl_nlmsg_put_extra_header(request, sizeof(nfgenmsg)));
  family->nfgen_family = AF_UNSPEC;
  family->version = NFNETLINK_V0;
  if (::mnl_socket_sendto(socket.get(), request, request->nlmsg_len) < 0)
    return fail(errno_error("ask for the chains of nftables", errno));
  for (int more = MNL_CB_OK; more > MNL_CB_STOP;) {
    const auto got = ::mnl_socket_recvfrom(socket.get(), buffer.data(), buffer.size());
    more = got < 0 ? -1
                   : ::mnl_cb_run(buffer.data(), static_cast<std::size_t>(got), 1,
                                  ::mnl_socket_get_portid(socket.get()), &take_chain, &chains);
    // No nf_tables; or a change came in between, and the next look sees it.
    if (more < 0 && (errno == EINVAL || errno == EOPNOTSUPP || errno == EINTR)) return {};
    if (more < 0) return fail(errno_error("read the chains of nftables", errno));
  }
  return {};
}

// User-defined chains of a legacy table begin with an entry whose target is ERROR and names them.
template <class Entry>
void chains_of_blob(const std::vector<char>& blob, const std::string& table, const char* by,
                    std::vector<FilterChain>& chains) {
  std::size_t at = 0;
  while (at + sizeof(Entry) <= blob.size()) {
    Entry entry;
    std::memcpy(&entry, blob.data() + at, sizeof entry);
    if (entry.next_offset < sizeof(Entry) || at + entry.next_offset > blob.size()) return;
    xt_error_target target;
    if (entry.target_offset + sizeof target <= entry.next_offset) {
      std::memcpy(&target, blob.data() + at + entry.target_offset, sizeof target);
      const std::string_view kind(target.target.u.user.name, ::strnlen(target.target.u.user.name, 29));
      const std::string name(target.errorname, ::strnlen(target.errorname, sizeof target.errorname));
      if (kind == XT_ERROR_TARGET && name != XT_ERROR_TARGET) chains.push_back({table, name, by});
    }
    at += entry.next_offset;
  }
}

struct Legacy {
  int family;
  int level;
  const char* by;
  const char* tables;  // those in use: asking for another one would load it
};

template <class Info, class Entries, class Entry>
void legacy_tables(const Legacy& legacy, std::vector<FilterChain>& chains) {
  const auto names = read_file(legacy.tables);
  if (!names) return;
  const Fd socket(::socket(legacy.family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!socket.valid()) return;
  for (std::size_t begin = 0; begin < names->size();) {
    const auto end = std::min(names->find('\n', begin), names->size());
    const auto table = names->substr(begin, end - begin);
    begin = end + 1;
    Info info{};
    if (table.empty() || table.size() >= sizeof info.name) continue;
    std::memcpy(info.name, table.c_str(), table.size());
    socklen_t size = sizeof info;
    if (::getsockopt(socket.get(), legacy.level, IPT_SO_GET_INFO, &info, &size) != 0) continue;
    std::vector<char> answer(sizeof(Entries) + info.size);
    Entries head{};
    std::memcpy(head.name, info.name, sizeof head.name);
    head.size = info.size;
    std::memcpy(answer.data(), &head, sizeof head);
    size = static_cast<socklen_t>(answer.size());
    // It changed in between: the next look sees it.
    if (::getsockopt(socket.get(), legacy.level, IPT_SO_GET_ENTRIES, answer.data(), &size) != 0) continue;
    answer.erase(answer.begin(), answer.begin() + sizeof(Entries));
    chains_of_blob<Entry>(answer, table, legacy.by, chains);
  }
}

}  // namespace

Result<std::vector<FilterChain>> filter_chains() {
  std::vector<FilterChain> chains;
  WEFT_CHECK(nftables(chains));
  legacy_tables<ipt_getinfo, ipt_get_entries, ipt_entry>(
      {AF_INET, IPPROTO_IP, "iptables", "/proc/thread-self/net/ip_tables_names"}, chains);
  legacy_tables<ip6t_getinfo, ip6t_get_entries, ip6t_entry>(
      {AF_INET6, IPPROTO_IPV6, "ip6tables", "/proc/thread-self/net/ip6_tables_names"}, chains);
  std::ranges::sort(chains);
  chains.erase(std::unique(chains.begin(), chains.end()), chains.end());
  return chains;
}

Result<std::vector<std::string>> filter_programs(int ifindex) {
  WEFT_TRY(auto socket, RtnetlinkSocket::open());
  std::vector<std::string> names;
  for (const std::uint32_t hook : {TC_H_MIN_INGRESS, TC_H_MIN_EGRESS}) {
    Request request(RTM_GETTFILTER, NLM_F_DUMP);
    auto& header = request.header<tcmsg>();
    header.tcm_family = AF_UNSPEC;
    header.tcm_ifindex = ifindex;
    header.tcm_parent = TC_H_MAKE(TC_H_CLSACT, hook);
    // A device without such hooks has none: the error says no more.
    (void)socket.transact(request, [&](const nlmsghdr* message) {
      const Attributes<TCA_MAX + 1> filter(message, sizeof(tcmsg));
      if (filter.text(TCA_KIND) != "bpf" || filter[TCA_OPTIONS] == nullptr) return;
      const Attributes<TCA_BPF_MAX + 1> options(filter[TCA_OPTIONS]);
      if (auto name = options.text(TCA_BPF_NAME); !name.empty()) names.push_back(std::move(name));
    });
  }
  return names;
}

}  // namespace weft::sys
