#include "speaker/bird.h"

#include <fmt/format.h>
#include <unistd.h>

#include "sys/system.h"

namespace weft::speaker {
namespace {

constexpr auto patience = std::chrono::seconds(5);

class Client {
 public:
  static Result<Client> connect(const std::string& path) {
    WEFT_TRY(auto conversation, Conversation::connect(path, patience));
    Client client(std::move(conversation));
    WEFT_TRY(const auto hello, client.answer());
    if (!hello.good()) return fail(ErrorCode::unavailable, "BIRD: " + hello.text);
    return client;
  }
  // An answer that says no is an error with BIRD's words.
  Result<BirdAnswer> ask(const std::string& command) {
    WEFT_CHECK(conversation_.send(command + "\n"));
    WEFT_TRY(auto said, answer());
    if (!said.good()) return fail(ErrorCode::unavailable, fmt::format("BIRD: {}: {}", command, said.text));
    return said;
  }

 private:
  explicit Client(Conversation conversation) : conversation_(std::move(conversation)) {}
  Result<BirdAnswer> answer() {
    while (true) {
      if (auto whole = reader_.take()) return std::move(*whole);
      WEFT_TRY(const auto bytes, conversation_.receive());
      if (auto fed = reader_.feed(bytes); !fed) return fail(fed.error().in("BIRD"));
    }
  }

  Conversation conversation_;
  BirdReader reader_;
};

}  // namespace

Bird::Bird(std::string program, std::string directory, std::function<void(const std::string& line)> log)
    : program_(std::move(program)),
      directory_(std::move(directory)),
      log_(std::move(log)),
      account_(find_account("bird")) {}

std::vector<supervise::KeptProgram> Bird::programs(bool /*imports*/) const {
  supervise::KeptProgram program;
  program.what = "BIRD";
  program.pid_file = path("bird.pid");
  program.log_file = path("bird.log");
  program.environment = {{"TZ", "UTC"}};  // its times are read
  program.log = log_;
  program.prepare = [this]() -> Result<std::vector<std::string>> {
    end_listener(path("bird.ctl"));
    std::vector<std::string> arguments{program_, "-f", "-c", path("bird.conf"), "-s", path("bird.ctl")};
    if (account_) arguments.insert(arguments.end(), {"-u", "bird", "-g", "bird"});
    // One that follows another has routes to take over, in the kernel and at the routers.
    if (::access(path("bird.started").c_str(), F_OK) == 0) arguments.emplace_back("-R");
    WEFT_CHECK(sys::write_file_atomically(path("bird.started"), "", 0644));
    return arguments;
  };
  return {std::move(program)};
}

std::optional<bool> Bird::earlier() const {
  if (::access(path("bird.conf").c_str(), F_OK) != 0) return std::nullopt;
  return false;  // it is one program with imports or without
}

void Bird::forget() {
  end_listener(path("bird.ctl"));
  remove_directory(directory_);
}

Result<void> Bird::configure(const control::BgpPlan& plan, const control::BgpPasswords& passwords) {
  const auto text = control::bird_configuration(plan, passwords);
  WEFT_CHECK(make_directory(directory_, {}));
  const auto known = sys::read_file(path("bird.conf"));
  if (!known || *known != text) {
    WEFT_CHECK(write_private(path("bird.checked"), text, account_));
    WEFT_CHECK(run_check({program_, "-p", "-c", path("bird.checked")}, "BIRD"));
    WEFT_CHECK(write_private(path("bird.conf"), text, account_));
    ::unlink(path("bird.checked").c_str());
  }
  auto client = Client::connect(path("bird.ctl"));
  if (!client) return client.error().code == ErrorCode::not_found ? Result<void>() : fail(client.error());
  WEFT_TRY(const auto said, client->ask(fmt::format("configure \"{}\"", path("bird.conf"))));
  return {};
}

Result<std::vector<Peer>> Bird::peers() {
  WEFT_TRY(auto client, Client::connect(path("bird.ctl")));
  WEFT_TRY(const auto said, client.ask("show protocols all"));
  return parse_bird_peers(said);
}

Result<std::vector<Route>> Bird::routes(const std::vector<IpAddress>& peers) {
  WEFT_TRY(auto client, Client::connect(path("bird.ctl")));
  std::vector<Route> all;
  for (const auto& peer : peers)
    for (const bool advertised : {true, false}) {
      const auto said = client.ask(
          fmt::format("show route all {} {}", advertised ? "export" : "protocol", control::bird_protocol(peer)));
      // Without a session its channels have no tables yet; nothing is exchanged.
      if (!said && said.error().message.ends_with("No valid tables")) continue;
      if (!said) return fail(said.error());
      std::ranges::move(parse_bird_routes(*said, peer, advertised), std::back_inserter(all));
    }
  return all;
}

}  // namespace weft::speaker
