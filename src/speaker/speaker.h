// A program that speaks BGP: which processes it is, how it is told a plan, what it says. A fake has the same face.
// Everything but `programs` and `earlier` blocks and is called on one thread; these on the thread that keeps them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "control/bgp/configuration.h"
#include "speaker/peer.h"
#include "supervise/kept_process.h"

namespace weft::speaker {

class Speaker {
 public:
  Speaker() = default;
  virtual ~Speaker() = default;
  Speaker(const Speaker&) = delete;
  Speaker& operator=(const Speaker&) = delete;

  [[nodiscard]] virtual std::string_view name() const = 0;  // "BIRD"
  // What is to be kept running for the plan that was configured last, in order of their start.
  [[nodiscard]] virtual std::vector<supervise::KeptProgram> programs(bool imports) const = 0;
  // An agent before this one configured it: whether with imports. Nothing: none did, or it was forgotten.
  [[nodiscard]] virtual std::optional<bool> earlier() const = 0;
  // Lets the program check the plan, writes it where it is read at a start, and brings one that runs to it without
  // ending a session whose configuration stays. After an error all is as before, unless the error says otherwise.
  virtual Result<void> configure(const control::BgpPlan& plan, const control::BgpPasswords& passwords) = 0;
  // Takes everything back at the routers, before its programs are ended: some would keep the routes of one that goes.
  virtual void withdraw() = 0;
  // Its programs have ended, and so has what they were told.
  virtual void forget() = 0;
  // not_found: it does not run.
  virtual Result<std::vector<Peer>> peers() = 0;
  // Those exchanged with these peers.
  virtual Result<std::vector<Route>> routes(const std::vector<IpAddress>& peers) = 0;
};

enum class Choice { automatic, bird, frr };

// `directory` is made when something is configured; nothing outside it is touched. not_found names what is not
// installed.
Result<std::unique_ptr<Speaker>> open_speaker(Choice choice, const std::string& directory,
                                              std::function<void(const std::string& line)> log);

// Ends what an agent left running in the directory, but not that in its folder `except`; how many processes.
std::size_t end_speakers(const std::string& directory, const std::string& except = {});

}  // namespace weft::speaker
