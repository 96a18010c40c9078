#include "speaker/frr.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "speaker/conversation.h"
#include "speaker/frr_text.h"
#include "sys/system.h"

namespace weft::speaker {
namespace {

constexpr auto patience = std::chrono::seconds(10);
constexpr std::size_t most = 64UL << 20;  // bytes of one answer

// As it may be told: "neighbor 192.0.2.1 password ...".
std::string without_password(const std::string& command) {
  constexpr std::string_view word = " password ";
  const auto at = command.find(word);
  return at == std::string::npos ? command : command.substr(0, at + word.size()) + "...";
}

// The protocol of vtysh: a command and a zero; the answer, three zeros and a number, 0 for success (lib/vty.c and
// vtysh/vtysh.c of FRR).
class Client {
 public:
  static Result<Client> connect(const std::string& path) {
    WEFT_TRY(auto conversation, Conversation::connect(path, patience));
    Client client(std::move(conversation));
    WEFT_CHECK(client.ask("enable"));
    return client;
  }

  Result<std::string> ask(const std::string& command) {
    WEFT_TRY(auto answer, say(command));
    if (answer.code == 0) return std::move(answer.text);
    std::ranges::replace(answer.text, '\n', ' ');
    return fail(ErrorCode::invalid, fmt::format("bgpd: {}: {}", without_password(command), answer.text.substr(0, 200)));
  }

  struct Answer {
    std::string text;
    int code = 0;
  };
  Result<Answer> say(const std::string& command) {
    WEFT_CHECK(conversation_.send(std::string_view(command.c_str(), command.size() + 1)));
    constexpr std::string_view end("\0\0\0", 3);
    std::string text;
    while (true) {
      if (const auto at = text.find(end); at != std::string::npos && text.size() > at + end.size()) {
        const int code = static_cast<unsigned char>(text[at + end.size()]);
        text.resize(at);
        return Answer{std::move(text), code};
      }
      if (text.size() > most)
        return fail(ErrorCode::exhausted, fmt::format("bgpd: an answer of more than {} bytes", most));
      WEFT_TRY(const auto bytes, conversation_.receive());
      text += bytes;
    }
  }

 private:
  explicit Client(Conversation conversation) : conversation_(std::move(conversation)) {}
  Conversation conversation_;
};

}  // namespace

Frr::Frr(std::string programs, std::string directory, std::function<void(const std::string& line)> log)
    : programs_(std::move(programs)),
      directory_(std::move(directory)),
      log_(std::move(log)),
      account_(find_account("frr")) {}

supervise::KeptProgram Frr::program(const std::string& name) const {
  supervise::KeptProgram program;
  program.what = name + " of FRR";
  program.pid_file = fmt::format("{}/{}.kept", directory_, name);
  program.log_file = fmt::format("{}/{}.log", directory_, name);
  program.environment = {{"TZ", "UTC"}};
  program.log = log_;
  program.prepare = [this, name]() -> Result<std::vector<std::string>> {
    end_listener(fmt::format("{}/vty/{}.vty", directory_, name));
    std::vector<std::string> arguments{fmt::format("{}/{}", programs_, name),
                                       "-i",
                                       fmt::format("{}/vty/{}.pid", directory_, name),
                                       "-z",
                                       path("vty/zserv.api"),
                                       "--vty_socket",
                                       path("vty"),
                                       "-P",  // no terminal by TCP
                                       "0",
                                       "-f"};
    if (name == "bgpd") {
      // What it begins with.
      WEFT_TRY(const auto text, sys::read_file(path("frr.conf")));
      WEFT_CHECK(write_private(path("frr.applied"), text, account_));
      ::unlink(path("frr.applying").c_str());
      arguments.push_back(path("frr.conf"));
    } else {
      arguments.push_back(path("zebra.conf"));
      // Routes of a zebra before it stay until bgpd has said which are still wanted.
      arguments.insert(arguments.end(), {"-K", fmt::format("{}", control::bgp_restart_seconds)});
    }
    return arguments;
  };
  return program;
}

std::vector<supervise::KeptProgram> Frr::programs(bool imports) const {
  std::vector<supervise::KeptProgram> all;
  if (imports) all.push_back(program("zebra"));
  all.push_back(program("bgpd"));
  return all;
}

std::optional<bool> Frr::earlier() const {
  if (::access(path("frr.conf").c_str(), F_OK) != 0) return std::nullopt;
  return ::access(path("zebra.conf").c_str(), F_OK) == 0;
}

// With graceful restart bgpd says nothing when it ends, as though it came back.
void Frr::withdraw() {
  auto client = Client::connect(path("vty/bgpd.vty"));
  if (!client) return;
  const auto text = sys::read_file(path("frr.applied")).value_or("");
  const auto known = peers();
  const auto router = text.find("router bgp ");
  if (!known || router == std::string::npos) return;
  std::vector<std::string> lines{text.substr(router, text.find('\n', router) - router)};
  for (const auto& peer : *known) lines.push_back(fmt::format("neighbor {} shutdown", peer.address.to_string()));
  // Where the end is cut short, a later change takes these lines back.
  if (auto noted = write_private(path("frr.applying"), fmt::format("{}\nexit\n", fmt::join(lines, "\n")), account_);
      !noted)
    return;
  (void)client->say("configure terminal");
  for (const auto& line : lines) (void)client->say(line);
  (void)client->say("end");
}

void Frr::forget() {
  end_listener(path("vty/bgpd.vty"));
  end_listener(path("vty/zebra.vty"));
  remove_directory(directory_);
}

// A running bgpd was given what `applied` has and, where that was cut short, some of what `applying` has.
Result<void> Frr::bring(const std::string& text) {
  auto client = Client::connect(path("vty/bgpd.vty"));
  if (!client) return client.error().code == ErrorCode::not_found ? Result<void>() : fail(client.error());
  auto before = sys::read_file(path("frr.applied")).value_or("");
  if (const auto half = sys::read_file(path("frr.applying"))) before += *half;
  const auto commands = control::frr_changes(before, text);
  if (!commands) {
    withdraw();
    end_listener(path("vty/bgpd.vty"), SIGTERM);  // whoever keeps it starts it with the new one
    return {};
  }
  if (commands->empty()) return {};
  WEFT_CHECK(write_private(path("frr.applying"), text, account_));
  std::optional<Error> problem;
  for (const auto& command : *commands) {
    auto said = client->say(command);
    const auto shown = without_password(command);
    if (!said) return fail(said.error());
    // What is to go may be gone with something else.
    if (said->code == 0 || command.starts_with("no ") || problem) continue;
    // A warning: a session that is to be reset for the change, say.
    constexpr int warning = 1;
    constexpr int not_now = 13;  // so bgpd calls that, too
    std::ranges::replace(said->text, '\n', ' ');
    if (said->code != warning && !(said->code == not_now && command.contains("graceful-restart")))
      problem = Error{ErrorCode::invalid, fmt::format("bgpd: {}: {}", shown, said->text.substr(0, 200)), {}};
    else if (log_)
      log_(fmt::format("bgpd: {}: {}", shown, said->text.substr(0, 200)));
  }
  if (problem) return fail(*problem);
  WEFT_CHECK(write_private(path("frr.applied"), text, account_));
  ::unlink(path("frr.applying").c_str());
  return {};
}

// bgpd ends well whatever it has read, and says what it did not understand.
Result<void> Frr::check(const std::string& file) const {
  WEFT_TRY(const auto said, run_check({programs_ + "/bgpd", "-C", "-f", file}, "FRR"));
  for (const auto* wrong : {"No such command", "Ambiguous command", "Command incomplete", "There is no such"})
    if (said.contains(wrong)) return fail(refused_configuration("FRR", said));
  return {};
}

Result<void> Frr::configure(const control::BgpPlan& plan, const control::BgpPasswords& passwords) {
  const auto text = control::frr_configuration(plan, passwords);
  WEFT_CHECK(make_directory(directory_, {}));
  WEFT_CHECK(make_directory(path("vty"), account_));
  const auto known = sys::read_file(path("frr.conf"));
  if (!known || *known != text) {
    WEFT_CHECK(write_private(path("frr.checked"), text, account_));
    WEFT_CHECK(check(path("frr.checked")));
    WEFT_CHECK(write_private(path("frr.conf"), text, account_));
    ::unlink(path("frr.checked").c_str());
  }
  if (plan.imports())
    WEFT_CHECK(write_private(path("zebra.conf"), "log stdout warnings\n", account_));
  else
    ::unlink(path("zebra.conf").c_str());
  return bring(text);
}

Result<std::string> Frr::ask(const std::string& command) const {
  WEFT_TRY(auto client, Client::connect(path("vty/bgpd.vty")));
  return client.ask(command);
}

Result<std::vector<Peer>> Frr::peers() {
  WEFT_TRY(const auto said, ask("show bgp neighbors json"));
  return parse_frr_peers(said);
}

Result<std::vector<Route>> Frr::routes(const std::vector<IpAddress>& peers) {
  WEFT_TRY(const auto known, this->peers());
  std::vector<Route> all;
  for (const auto& peer : known) {
    if (std::ranges::find(peers, peer.address) == peers.end()) continue;
    for (const auto& [family, counts] : peer.routes)
      for (const bool advertised : {true, false}) {
        WEFT_TRY(const auto said,
                 ask(fmt::format("show bgp {} unicast neighbors {} {} json", family == Family::v4 ? "ipv4" : "ipv6",
                                 peer.address.to_string(), advertised ? "advertised-routes" : "routes")));
        WEFT_TRY(auto routes, parse_frr_routes(said, peer.address, advertised));
        std::ranges::move(routes, std::back_inserter(all));
      }
  }
  return all;
}

}  // namespace weft::speaker
