// How a backend is chosen: the same code serves sockets and packets.
#include <arpa/inet.h>

#include <map>

#include "abi/hash.h"
#include "fixture.h"

namespace weft::test {
namespace {

constexpr std::uint16_t kFlows = 240;

using Check = std::function<void(Datapath&)>;

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

std::uint32_t backend_of(Datapath& d, const Packet& packet) {
  d.run(Hook::from_device, packet, {.ifindex = kUplink});
  d.events();
  return find_flow(d, packet).value().backend_id;
}

// Flows of each backend, of clients that differ in their port, or in their address.
std::map<std::uint32_t, int> shares(Datapath& d, const Net& net, bool by_address = false) {
  std::map<std::uint32_t, int> result;
  for (std::uint16_t i = 0; i < kFlows; ++i) {
    const auto client = by_address ? net.client.plus(i) : net.client;
    const auto packet = tcp(client, static_cast<std::uint16_t>(1000 + (by_address ? 0 : i)), net.service, 80, kSyn);
    ++result[backend_of(d, packet)];
  }
  return result;
}

Case choosing(const Net& net, const char* name, const ServiceOptions& options, const Check& check) {
  Rows rows{standard(net), serving_outside(), frontend(net.service, 80, kTcp, options)};
  for (const std::uint32_t id : {3u, 4u, 5u, 6u})
    rows.push_back(backend(id, net.b, static_cast<std::uint16_t>(8000 + id), kTcp));
  return {name, rows, {then([check](Datapath& d) {
            check(d);
            return Steps{};
          })}};
}

weft_addr abi(const IpAddress& address) { return to_abi(address); }

}  // namespace

Cases algorithm_cases(const Net& net) {
  const auto first = tcp(net.client, 1000, net.service, 80, kSyn);
  const auto set_active = [](Datapath& d, std::uint32_t id, std::uint32_t active) {
    weft_backend_stats stats{};
    stats.active = active;
    d.put("weft_bstat_v1", id, stats);
  };
  const auto seed = default_config().hash_seed;
  std::vector<std::uint32_t> table;  // 31 slots in no order
  for (std::uint32_t i = 0; i < 31; ++i) table.push_back(3 + i * 7 % 4);
  return {
      choosing(net, "random: each gets its share", {.backends = {3, 4, 5, 6}},
               [=](Datapath& d) {
                 const auto found = shares(d, net);
                 for (const std::uint32_t id : {3u, 4u, 5u, 6u}) {
                   require(found.contains(id), "a backend got nothing");
                   require(found.at(id) > kFlows / 8 && found.at(id) < kFlows / 2, "far from its share");
                 }
               }),
      choosing(net, "round robin: each in its turn", {.backends = {3, 4, 5}, .algorithm = WEFT_ALGORITHM_ROUND_ROBIN},
               [=](Datapath& d) {
                 std::uint32_t last = 0;
                 for (std::uint16_t i = 0; i < 30; ++i) {
                   const auto id =
                       backend_of(d, tcp(net.client, static_cast<std::uint16_t>(1000 + i), net.service, 80, kSyn));
                   require(last == 0 || id == (last == 5 ? 3 : last + 1), "out of turn");
                   last = id;
                 }
               }),
      choosing(net, "weighted round robin: by repeated slots",
               {.backends = {3, 4, 3, 3}, .algorithm = WEFT_ALGORITHM_ROUND_ROBIN},
               [=](Datapath& d) {
                 const auto found = shares(d, net);
                 require(found.at(3) == kFlows * 3 / 4 && found.at(4) == kFlows / 4, "not by weight");
               }),
      choosing(net, "least connections: to the idle one",
               {.backends = {3, 4, 5, 6}, .algorithm = WEFT_ALGORITHM_LEAST_CONNECTIONS},
               [=](Datapath& d) {
                 for (const std::uint32_t id : {3u, 4u, 5u, 6u}) set_active(d, id, id == 5 ? 0 : 200);
                 const auto found = shares(d, net);
                 require(found.at(5) >= 200, "not to the idle one");
                 for (const std::uint32_t id : {3u, 4u, 5u, 6u})
                   require(backend_stats(d, id).active >= 200 && backend_stats(d, id).active <= 212,
                           "uneven in the end");
               }),
      choosing(net, "least connections: of many, the better of a few",
               {.backends =
                    [] {
                      std::vector<std::uint32_t> many;
                      for (int i = 0; i < 32; ++i) many.push_back(i % 2 ? 3u : 4u);
                      return many;
                    }(),
                .algorithm = WEFT_ALGORITHM_LEAST_CONNECTIONS},
               [=](Datapath& d) {
                 set_active(d, 4, 1000);
                 require(shares(d, net)[3] > kFlows * 8 / 10, "not to the better of four");
               }),
      choosing(net, "Maglev: as the table and the hash say", {.backends = table, .algorithm = WEFT_ALGORITHM_MAGLEV},
               [=](Datapath& d) {
                 for (std::uint16_t i = 0; i < 50; ++i) {
                   const auto packet =
                       tcp(net.client.plus(i), static_cast<std::uint16_t>(1000 + 3 * i), net.service, 80, kSyn);
                   const auto client = abi(packet.source);
                   const auto hash = weft_hash_flow(seed, &client, htons(packet.source_port), kTcp);
                   require(backend_of(d, packet) == table[weft_hash_slot(hash, 31)], "another slot");
                 }
               }),
      choosing(net, "source hash: a client's flows stay together",
               {.backends = table, .algorithm = WEFT_ALGORITHM_SOURCE_HASH},
               [=](Datapath& d) {
                 require(shares(d, net).size() == 1, "one client, several backends");
                 require(shares(d, net, true).size() == 4, "many clients, not all backends");
                 const auto client = abi(net.client);
                 require(find_flow(d, first).value().backend_id ==
                             table[weft_hash_slot(weft_hash_client(seed, &client), 31)],
                         "another slot");
               }),
      choosing(
          net, "affinity of a client outside is by its address", {.backends = {3, 4, 5, 6}, .affinity_seconds = 600},
          [=](Datapath& d) {
            require(shares(d, net).size() == 1, "one client, several backends");
            require(shares(d, net, true).size() == 4, "many clients, not all backends");
            const weft_affinity_key key{to_abi(net.client), kService, 0};
            const auto found = d.get<weft_affinity>("weft_affin_v2", key);
            require(found && found->backend_id == find_flow(d, first).value().backend_id, "not remembered");
            // draining: no new flows
            backend(found->backend_id, net.b, 8000, kTcp, WEFT_BACKEND_DRAINING)(d);
            frontend(net.service, 80, kTcp,
                     {.backends = {found->backend_id == 3 ? 4u : 3u}, .affinity_seconds = 600, .first_slot = 50})(d);
            require(backend_of(d, tcp(net.client, 7, net.service, 80, kSyn)) != found->backend_id,
                    "affinity to a draining backend");
          }),
  };
}

}  // namespace weft::test
