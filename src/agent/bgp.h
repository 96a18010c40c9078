// BGP on this node: keeps a speaker running, tells it what is to be said, knows how its peers are. The speaker goes on
// while the agent is away. On the agent's loop; what would hold it runs on a thread of its own.
#pragma once

#include <asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "agent/background.h"
#include "agent/faults.h"
#include "base/result.h"
#include "control/bgp/bgp.h"
#include "control/bgp/configuration.h"
#include "speaker/speaker.h"
#include "supervise/kept_process.h"

namespace weft::agent {

class Bgp {
 public:
  // Why there is none is told once one is needed.
  using Open = std::function<Result<std::shared_ptr<speaker::Speaker>>()>;
  using Answered = std::function<void(Result<std::vector<speaker::Route>>)>;

  Bgp(asio::io_context& loop, Faults& faults, Open open);
  ~Bgp();
  Bgp(const Bgp&) = delete;
  Bgp& operator=(const Bgp&) = delete;

  // An agent before this one left a speaker: it is kept running as it is until the first want().
  void adopt();
  // What is to be said; cheap when it is what was wanted before. An empty plan ends the speaker, which withdraws all.
  void want(control::BgpOutcome outcome);
  // Once a second: asks the speaker how its peers are, tries again what failed.
  void check();

  [[nodiscard]] nlohmann::json status_json() const;
  [[nodiscard]] nlohmann::json peers_json() const;
  // What is exchanged with the peers, or with this one.
  void routes(const std::optional<IpAddress>& peer, Answered answered);

 private:
  using Clock = std::chrono::steady_clock;
  struct Seen {
    Clock::time_point since = Clock::now();  // without a session
  };

  [[nodiscard]] bool open();
  void configure();
  void configured(std::uint64_t turn, const Result<void>& done);
  void keep(bool imports);
  void end();
  void ended();
  void read_passwords();
  void heard(Result<std::vector<speaker::Peer>> peers);
  void tell_faults();
  [[nodiscard]] std::string fault_of(const std::string& group, const model::BgpPeer& peer) const;
  [[nodiscard]] const speaker::Peer* said_of(const IpAddress& address) const;

  asio::io_context& loop_;
  Faults& faults_;
  Open open_;
  std::shared_ptr<speaker::Speaker> speaker_;
  std::optional<Error> open_error_;
  control::BgpPlan plan_;
  std::map<std::string, std::string> problems_;
  bool wanted_ = false;  // once
  control::BgpPasswords passwords_;
  std::map<std::string, std::string> password_problems_;  // by file
  std::map<std::string, std::unique_ptr<supervise::KeptProcess>> kept_;
  std::uint64_t turn_ = 0;     // of the configuration wanted last
  std::uint64_t applied_ = 0;  // of that which the speaker has
  bool configuring_ = false;
  bool asking_ = false;
  bool ending_ = false;
  bool reached_ = false;     // the speaker answered when it was asked last
  std::string problem_;      // why it is not told what it should be
  std::string silence_;      // why it does not answer
  unsigned unanswered_ = 0;  // times in a row
  std::vector<speaker::Peer> peers_;
  std::map<IpAddress, Seen> without_session_;
  std::uint64_t checks_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::optional<Background> background_;  // from the first use on; first to go
};

}  // namespace weft::agent
