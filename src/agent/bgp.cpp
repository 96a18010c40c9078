#include "agent/bgp.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "sys/system.h"

namespace weft::agent {
namespace {

using nlohmann::json;

constexpr std::uint64_t again = 10;                         // checks until what failed is tried again
constexpr unsigned few_answers = 5;                         // that failed, until it is told
constexpr auto session_patience = std::chrono::seconds(5);  // for a session to come about

Result<std::string> read_password(const std::string& file) {
  constexpr std::size_t longest = 4096;
  struct stat found {};
  if (::stat(file.c_str(), &found) < 0) return fail(errno_error(file, errno));
  // To open something else may wait for ever, or do something.
  if (!S_ISREG(found.st_mode)) return fail(ErrorCode::invalid, file + ": it is no ordinary file");
  if (found.st_size > static_cast<off_t>(longest))
    return fail(ErrorCode::invalid, file + ": it is no password, it has a page of text");
  if ((found.st_mode & S_IRWXO) != 0)
    return fail(ErrorCode::denied, file + ": everybody may read it or write to it", "chmod 600 " + file);
  WEFT_TRY(auto text, sys::read_file(file));
  if (text.size() > longest) return fail(ErrorCode::invalid, file + ": it is no password, it has a page of text");
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (auto usable = control::check_password(text); !usable) return fail(usable.error().in(file));
  return text;
}

std::string family_name(Family family) { return family == Family::v4 ? "IPv4" : "IPv6"; }

}  // namespace

Bgp::Bgp(asio::io_context& loop, Faults& faults, Open open) : loop_(loop), faults_(faults), open_(std::move(open)) {}

Bgp::~Bgp() { *alive_ = false; }

bool Bgp::open() {
  if (speaker_) return true;
  auto opened = open_();
  if (!opened) {
    open_error_ = opened.error();
    return false;
  }
  open_error_.reset();
  speaker_ = std::move(*opened);
  if (!background_) background_.emplace(loop_);
  return true;
}

void Bgp::adopt() {
  if (!open()) {
    open_error_.reset();  // nobody has asked for one
    return;
  }
  if (const auto imports = speaker_->earlier()) keep(*imports);
}

void Bgp::want(control::BgpOutcome outcome) {
  problems_ = std::move(outcome.problems);
  const bool same = std::exchange(wanted_, true) && outcome.plan == plan_;
  if (same) return;
  plan_ = std::move(outcome.plan);
  std::erase_if(without_session_, [&](const auto& entry) { return plan_.peer(entry.first) == nullptr; });
  for (const auto& [name, group] : plan_.groups)
    for (const auto& peer : group.peers) without_session_.try_emplace(peer.address);
  if (plan_.empty()) return end();
  read_passwords();
  ++turn_;
  configure();
  tell_faults();
}

void Bgp::end() {
  problem_.clear();
  open_error_.reset();
  peers_.clear();
  ++turn_;
  applied_ = turn_;
  tell_faults();
  if (!speaker_ || ending_) return;
  ending_ = true;
  background_->run([this, alive = alive_, speaker = speaker_]() -> Background::Done {
    speaker->withdraw();
    return [this, alive] {
      if (*alive) ended();
    };
  });
}

void Bgp::ended() {
  for (const auto& [name, process] : kept_) process->signal(SIGTERM);
  for (const auto& [name, process] : kept_) process->stop(SIGTERM);
  if (!kept_.empty()) spdlog::info("no BGPPeering is for this node any more: the speaker has ended");
  kept_.clear();
  reached_ = false;
  unanswered_ = 0;
  background_->run([this, alive = alive_, speaker = speaker_]() -> Background::Done {
    speaker->forget();
    return [this, alive] {
      if (!*alive) return;
      ending_ = false;
      configure();  // if one was wanted meanwhile
    };
  });
}

void Bgp::read_passwords() {
  control::BgpPasswords now;
  std::map<std::string, std::string> problems;
  for (const auto& [name, group] : plan_.groups)
    for (const auto& peer : group.peers) {
      if (peer.password_file.empty() || now.contains(peer.password_file)) continue;
      if (auto password = read_password(peer.password_file))
        now.emplace(peer.password_file, std::move(*password));
      else
        problems.emplace(peer.password_file, fmt::format("BGPPeering {}: passwordFile: {}; the router {} refuses this "
                                                         "node until it can be read",
                                                         name, password.error().text(), peer.address.to_string()));
    }
  password_problems_ = std::move(problems);
  passwords_ = std::move(now);
}

void Bgp::configure() {
  if (configuring_ || ending_ || plan_.empty() || !open()) return;
  configuring_ = true;
  background_->run([this, alive = alive_, speaker = speaker_, plan = plan_, passwords = passwords_,
                    turn = turn_]() -> Background::Done {
    auto done = speaker->configure(plan, passwords);
    return [this, alive, turn, done = std::move(done)] {
      if (*alive) configured(turn, done);
    };
  });
}

void Bgp::configured(std::uint64_t turn, const Result<void>& done) {
  configuring_ = false;
  if (plan_.empty() || ending_) return;
  problem_ = done ? "" : done.error().text();
  if (done) {
    applied_ = turn;
    keep(plan_.imports());
  }
  if (turn != turn_) configure();  // something else is wanted meanwhile
  tell_faults();
}

void Bgp::keep(bool imports) {
  std::set<std::string> wanted;
  for (auto& program : speaker_->programs(imports)) {
    const auto what = program.what;
    wanted.insert(what);
    auto& process = kept_[what];
    if (process) continue;
    process = std::make_unique<supervise::KeptProcess>(loop_, std::move(program), [this] {
      reached_ = false;
      tell_faults();
    });
    process->start();
  }
  std::erase_if(kept_, [&](const auto& entry) {
    if (wanted.contains(entry.first)) return false;
    entry.second->stop(SIGTERM);
    return true;
  });
}

void Bgp::check() {
  ++checks_;
  if (!speaker_ && wanted_ && !plan_.empty() && checks_ % again == 0) configure();  // it may be installed by now
  if (kept_.empty()) {
    if (!plan_.empty() && checks_ % again == 0) configure();
    return tell_faults();
  }
  if (checks_ % again == 0) {
    const auto before = passwords_;
    read_passwords();
    if (passwords_ != before) ++turn_;
    if (applied_ != turn_) configure();
  }
  if (std::exchange(asking_, true)) return;
  background_->run([this, alive = alive_, speaker = speaker_]() -> Background::Done {
    auto peers = speaker->peers();
    return [this, alive, peers = std::move(peers)]() mutable {
      if (*alive) heard(std::move(peers));
    };
  });
}

void Bgp::heard(Result<std::vector<speaker::Peer>> peers) {
  asking_ = false;
  if (kept_.empty()) return;
  const bool before = std::exchange(reached_, peers.has_value());
  silence_ = peers ? "" : peers.error().text();
  unanswered_ = peers ? 0 : unanswered_ + 1;
  peers_ = peers ? std::move(*peers) : std::vector<speaker::Peer>();
  // It has just begun to listen: what was wanted while it started may have come too late for it.
  if (reached_ && !before) configure();
  if (reached_)
    for (const auto& [name, process] : kept_) process->served();
  for (auto& [address, seen] : without_session_)
    if (const auto* said = said_of(address); said != nullptr && said->established) seen.since = Clock::now();
  tell_faults();
}

const speaker::Peer* Bgp::said_of(const IpAddress& address) const {
  const auto found = std::ranges::find(peers_, address, &speaker::Peer::address);
  return found == peers_.end() ? nullptr : &*found;
}

std::string Bgp::fault_of(const std::string& group, const model::BgpPeer& peer) const {
  const auto* said = said_of(peer.address);
  if (said != nullptr && said->established) return {};
  const auto seen = without_session_.find(peer.address);
  if (seen != without_session_.end() && Clock::now() - seen->second.since < session_patience) return {};
  return fmt::format("BGP: no session with the router {} of BGPPeering {}, AS {}: {}", peer.address.to_string(), group,
                     peer.as, said == nullptr || said->last_error.empty() ? "it does not answer" : said->last_error);
}

void Bgp::tell_faults() {
  std::map<std::string, std::string> faults;
  for (const auto& [name, why] : problems_)
    faults["bgp peering " + name] = fmt::format("BGPPeering {} is not followed as it stands: {}", name, why);
  if (!plan_.empty()) {
    if (open_error_) faults["bgp speaker"] = fmt::format("BGP: nobody speaks it here: {}", open_error_->text());
    if (!problem_.empty())
      faults["bgp configuration"] = fmt::format("BGP: the speaker goes on as it was: {}", problem_);
    for (const auto& [file, why] : password_problems_) faults["bgp password " + file] = why;
    for (const auto& [what, process] : kept_)
      if (process->pid() == 0 || process->failures() > 2)
        faults["bgp process " + what] =
            fmt::format("BGP: {} does not run: {}", what,
                        process->problem().empty() ? "it ends again and again" : process->problem());
    if (unanswered_ >= few_answers)
      faults["bgp silence"] = fmt::format("BGP: the speaker runs and does not answer: {}", silence_);
    if (reached_)
      for (const auto& [name, group] : plan_.groups)
        for (const auto& peer : group.peers)
          if (auto text = fault_of(name, peer); !text.empty()) faults["bgp peer " + peer.address.to_string()] = text;
  }
  faults_.replace("bgp ", faults);
}

json Bgp::status_json() const {
  json processes = json::array();
  bool running = !kept_.empty();
  for (const auto& [what, process] : kept_) {
    running = running && process->pid() != 0;
    processes.push_back({{"name", what}, {"pid", process->pid()}, {"restarts", process->restarts()}});
  }
  std::size_t peers = 0;
  std::size_t established = 0;
  for (const auto& [name, group] : plan_.groups) peers += group.peers.size();
  for (const auto& peer : peers_) established += peer.established && plan_.peer(peer.address) != nullptr ? 1 : 0;
  json status{{"speaker", speaker_ ? std::string(speaker_->name()) : ""},
              {"running", running},
              {"answers", reached_},
              {"configured", !plan_.empty() && applied_ == turn_},
              {"processes", processes},
              {"local_as", plan_.local_as},
              {"router_id", plan_.empty() ? "" : plan_.router_id.to_string()},
              {"peers", peers},
              {"established", established},
              {"advertised", plan_.advertised().size()},
              {"imports", plan_.imports()},
              {"problems", json::array()}};
  for (const auto& [about, text] : faults_.texts())
    if (about.starts_with("bgp ")) status["problems"].push_back(text);
  return status;
}

json Bgp::peers_json() const {
  auto items = json::array();
  for (const auto& [name, group] : plan_.groups)
    for (const auto& peer : group.peers) {
      const auto* said = said_of(peer.address);
      json item{{"address", peer.address.to_string()},
                {"as", peer.as},
                {"peering", name},
                {"state", said == nullptr ? "unknown" : said->state},
                {"established", said != nullptr && said->established},
                {"since", said == nullptr ? "" : said->since},
                {"last_error", said == nullptr ? silence_ : said->last_error},
                {"families", json::object()}};
      if (said != nullptr)
        for (const auto& [family, counts] : said->routes)
          item["families"][family_name(family)] = {{"received", counts.received}, {"advertised", counts.advertised}};
      items.push_back(std::move(item));
    }
  return items;
}

void Bgp::routes(const std::optional<IpAddress>& peer, Answered answered) {
  std::vector<IpAddress> wanted;
  for (const auto& [name, group] : plan_.groups)
    for (const auto& one : group.peers)
      if (!peer || one.address == *peer) wanted.push_back(one.address);
  if (peer && wanted.empty())
    return answered(fail(ErrorCode::not_found,
                         fmt::format("{} is no router of a BGPPeering for this node", peer->to_string()),
                         "weft bgp peers lists them"));
  if (wanted.empty() || !speaker_) return answered(std::vector<speaker::Route>());
  background_->run(
      [speaker = speaker_, wanted = std::move(wanted), answered = std::move(answered)]() mutable -> Background::Done {
        auto routes = speaker->routes(wanted);
        return [routes = std::move(routes), answered = std::move(answered)]() mutable { answered(std::move(routes)); };
      });
}

}  // namespace weft::agent
