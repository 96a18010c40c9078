// FRR's bgpd, and zebra where routes are taken, in a directory of their own.
#pragma once

#include <functional>
#include <string>

#include "speaker/files.h"
#include "speaker/speaker.h"

namespace weft::speaker {

class Frr : public Speaker {
 public:
  // The directory that has bgpd and zebra.
  Frr(std::string programs, std::string directory, std::function<void(const std::string& line)> log);

  [[nodiscard]] std::string_view name() const override { return "FRR"; }
  [[nodiscard]] std::vector<supervise::KeptProgram> programs(bool imports) const override;
  [[nodiscard]] std::optional<bool> earlier() const override;
  Result<void> configure(const control::BgpPlan& plan, const control::BgpPasswords& passwords) override;
  void withdraw() override;
  void forget() override;
  Result<std::vector<Peer>> peers() override;
  Result<std::vector<Route>> routes(const std::vector<IpAddress>& peers) override;

 private:
  [[nodiscard]] std::string path(const char* file) const { return directory_ + "/" + file; }
  [[nodiscard]] supervise::KeptProgram program(const std::string& name) const;
  Result<std::string> ask(const std::string& command) const;
  [[nodiscard]] Result<void> check(const std::string& file) const;
  Result<void> bring(const std::string& text);

  std::string programs_;
  std::string directory_;
  std::function<void(const std::string& line)> log_;
  std::optional<Account> account_;
};

}  // namespace weft::speaker
