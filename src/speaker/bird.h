// BIRD 2 in a directory of its own.
#pragma once

#include <functional>
#include <string>

#include "speaker/bird_text.h"
#include "speaker/conversation.h"
#include "speaker/files.h"
#include "speaker/speaker.h"

namespace weft::speaker {

class Bird : public Speaker {
 public:
  Bird(std::string program, std::string directory, std::function<void(const std::string& line)> log);

  [[nodiscard]] std::string_view name() const override { return "BIRD"; }
  [[nodiscard]] std::vector<supervise::KeptProgram> programs(bool imports) const override;
  [[nodiscard]] std::optional<bool> earlier() const override;
  Result<void> configure(const control::BgpPlan& plan, const control::BgpPasswords& passwords) override;
  void withdraw() override {}  // it does so when it is told to end
  void forget() override;
  Result<std::vector<Peer>> peers() override;
  Result<std::vector<Route>> routes(const std::vector<IpAddress>& peers) override;

 private:
  [[nodiscard]] std::string path(const char* file) const { return directory_ + "/" + file; }

  std::string program_;
  std::string directory_;
  std::function<void(const std::string& line)> log_;
  std::optional<Account> account_;
};

}  // namespace weft::speaker
