// Claims addresses of Services on a device's link: asks whether another host has them, tells the neighbours, unasked,
// that they are here now, and yields to whoever has them too. Answers to the neighbours' questions are the datapath's.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "agent/l2_frames.h"
#include "base/ip.h"
#include "base/result.h"
#include "datapath/rows.h"

namespace weft::agent {

struct L2Timing {
  using Span = std::chrono::milliseconds;
  // RFC 5227 waits for seconds, because its hosts have all just been switched on and nobody waits for them. Here
  // clients wait, and a host of the link answers within milliseconds.
  Span probe{150};      // from a probe to the next of three, and from the last until nobody has answered
  Span announce{1000};  // from an announcement to the next of three
  Span defend{10'000};  // DEFEND_INTERVAL: who claims the address twice within it gets it
  Span again{30'000};   // until an address that another host has is asked for again, and up to a quarter more
  // Between reminders of what is held, and up to a quarter more: who answers for it still, because it could not hear
  // that it has gone elsewhere, yields to one or is overruled by it. 0: none.
  Span remind{60'000};
};

class L2Announcer {
 public:
  using Rows = datapath::Rows<weft_l2_key, weft_l2>;
  using Send = std::function<Result<void>(std::uint32_t ifindex, std::span<const std::uint8_t> frame)>;
  // may_announce() has another answer for some address, of itself: not told from within want().
  using Changed = std::function<void()>;
  L2Announcer(asio::io_context& loop, Send send, Changed changed, L2Timing timing = {});

  // Of a cluster, whose nodes agree among themselves on who announces an address: they are no strangers to each other.
  struct Cluster {
    // A device of another node of the cluster.
    std::function<bool(const MacAddress& mac)> is_node;
    // It is agreed that this node announces it, and no other node can have been agreed on since.
    std::function<bool(const IpAddress& address)> is_agreed;
  };
  // Against another node the agreement counts, not who was first: one that still answers is told, not yielded to, and
  // a node that does not know whether the agreement holds yields to another node at once.
  void set_cluster(Cluster cluster) { cluster_ = std::move(cluster); }
  // Before the first want(): the datapath answers for these, from the agent's last run. They are ours until another
  // host claims them.
  void adopt(const Rows& rows) { adopted_ = rows; }
  // The addresses to be claimed. Rows that were not in the last call are asked for; those whose device has another MAC
  // address now are announced anew.
  void want(const Rows& rows);
  // A neighbour has said something on the device.
  void heard(std::uint32_t ifindex, const Heard& said);

  // Nobody else has it, as far as is known: the datapath may answer for it.
  [[nodiscard]] bool may_announce(const weft_l2_key& key) const;
  struct Conflict {
    IpAddress address;
    std::uint32_t ifindex = 0;
    MacAddress other;
    bool operator==(const Conflict&) const = default;
  };
  // Addresses that another host has; not those that another node of the cluster has.
  [[nodiscard]] std::vector<Conflict> conflicts() const;
  // Of the last frame that could not be sent; empty: all were.
  [[nodiscard]] const std::string& last_error() const { return last_error_; }

 private:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;
  enum class State { probing, held, yielded };
  struct Claim {
    weft_l2 row{};
    State state = State::probing;
    unsigned left = 0;     // probes or announcements
    bool adopted = false;  // never asked for: each announcement goes with a probe
    Time due;
    Time defended;  // the last time; the epoch: never
    MacAddress other;
    bool to_node = false;  // it yielded to a node of the cluster
  };
  using Claims = std::map<weft_l2_key, Claim, reconcile::BytesLess>;

  void begin(Claim& claim, State state, unsigned left) const;
  void schedule(const weft_l2_key& key, Claim& claim, Time due);
  [[nodiscard]] Time about(L2Timing::Span time);
  void step(const weft_l2_key& key, Claim& claim, Time now);
  bool heard_node(const weft_l2_key& key, Claim& claim, const Heard& said);
  void yield(const weft_l2_key& key, Claim& claim, const MacAddress& other);
  bool send(const weft_l2_key& key, const Claim& claim, bool probe);
  [[nodiscard]] bool is_own(const weft_l2_key& key, const MacAddress& mac) const;
  void run_due();
  void arm();

  Send send_;
  Changed changed_;
  L2Timing timing_;
  Cluster cluster_;
  asio::steady_timer timer_;
  Rows adopted_;
  Claims claims_;
  std::multimap<Time, weft_l2_key> due_;  // an entry counts when its claim is due then
  bool told_ = false;                     // `changed_` is owed
  std::minstd_rand random_{std::random_device{}()};
  std::string last_error_;
  std::shared_ptr<L2Announcer*> alive_;
};

}  // namespace weft::agent
