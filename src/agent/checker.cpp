#include "agent/checker.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <asio/connect.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>
#include <tuple>

#include "agent/health_http.h"

namespace weft::agent {
namespace {

auto fields(const CheckTarget& target) {
  const auto& check = target.check;
  return std::tie(target.address, target.port, check.kind, check.path, check.host, check.interval, check.timeout,
                  check.rise, check.fall);
}

asio::ip::tcp::endpoint endpoint_of(const CheckTarget& target) {
  if (target.address.is_v4()) return {asio::ip::address_v4(target.address.to_v4()), target.port};
  return {asio::ip::address_v6(target.address.bytes()), target.port};
}

std::string request_of(const CheckTarget& target) {
  auto host = target.check.host;
  if (host.empty()) {
    host = target.address.is_v4() ? target.address.to_string() : fmt::format("[{}]", target.address.to_string());
    if (target.port != 80) host += fmt::format(":{}", target.port);
  }
  return fmt::format(
      "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: weft-health-check\r\nAccept: */*\r\nConnection: close\r\n\r\n",
      target.check.path, host);
}

}  // namespace

bool CheckTarget::operator<(const CheckTarget& other) const { return fields(*this) < fields(other); }

// One probe: connects, asks when it is to, and tells what came of it once.
class Checker::Probe : public std::enable_shared_from_this<Probe> {
 public:
  using Done = std::function<void(const std::string& error)>;  // empty: a success

  Probe(asio::io_context& loop, const CheckTarget& target, Done done)
      : target_(target), done_(std::move(done)), socket_(loop), deadline_(loop) {}

  void start() {
    deadline_.expires_after(target_.check.timeout);
    deadline_.async_wait([self = shared_from_this()](const std::error_code& error) {
      if (!error) self->finish(fmt::format("no answer within {} ms", self->target_.check.timeout.count()));
    });
    const auto endpoint = endpoint_of(target_);
    std::error_code error;
    socket_.open(endpoint.protocol(), error);
    // A reset ends the connection at both sides at once: probes leave nothing waiting behind them.
    if (!error) socket_.set_option(asio::socket_base::linger(true, 0), error);
    if (error) {
      asio::post(socket_.get_executor(), [self = shared_from_this(), error] { self->finish(error.message()); });
      return;
    }
    socket_.async_connect(endpoint,
                          [self = shared_from_this()](const std::error_code& failed) { self->connected(failed); });
  }

  // Nobody wants to know any more.
  void abandon() {
    done_ = nullptr;
    close();
  }

 private:
  void connected(const std::error_code& error) {
    if (!done_) return;
    if (error) return finish("connect: " + error.message());
    if (target_.check.kind == model::HealthCheck::Kind::tcp) return finish({});
    request_ = request_of(target_);
    asio::async_write(socket_, asio::buffer(request_),
                      [self = shared_from_this()](const std::error_code& failed, std::size_t) {
                        if (!self->done_) return;
                        if (failed) return self->finish("sending the request: " + failed.message());
                        self->read();
                      });
  }

  void read() {
    socket_.async_read_some(
        asio::buffer(buffer_),
        [self = shared_from_this()](const std::error_code& error, std::size_t size) { self->received(error, size); });
  }

  void received(const std::error_code& error, std::size_t size) {
    if (!done_) return;
    if (error)
      return finish(error == asio::error::eof ? "it closed the connection without an answer" : error.message());
    switch (head_.feed({buffer_.data(), size})) {
      case HttpProgress::more:
        return read();
      case HttpProgress::malformed:
        return finish("its answer is not HTTP: " + head_.problem());
      case HttpProgress::done:
        break;
    }
    const bool good = head_.status() >= 200 && head_.status() < 400;
    finish(good ? std::string() : fmt::format("it answered {}", head_.status()));
  }

  void finish(const std::string& error) {
    if (!done_) return;
    const auto done = std::exchange(done_, nullptr);
    close();
    done(error);
  }

  void close() {
    std::error_code ignored;
    deadline_.cancel();
    socket_.close(ignored);
  }

  CheckTarget target_;
  Done done_;
  asio::ip::tcp::socket socket_;
  asio::steady_timer deadline_;
  std::string request_;
  std::array<char, 2048> buffer_{};
  HttpResponseHead head_;
};

Checker::Checker(asio::io_context& loop, Report report, Options options)
    : loop_(loop),
      report_(std::move(report)),
      options_(options),
      timer_(loop),
      random_(options.seed != 0 ? options.seed : std::random_device()()),
      alive_(std::make_shared<Checker*>(this)) {}

Checker::~Checker() {
  for (auto& [target, entry] : entries_)
    if (entry.probe) entry.probe->abandon();
}

// Between nine and eleven tenths, so that probes begun together drift apart.
std::chrono::nanoseconds Checker::jittered(std::chrono::milliseconds interval) {
  std::uniform_real_distribution<double> factor(0.9, 1.1);
  return std::chrono::duration_cast<std::chrono::nanoseconds>(interval * factor(random_));
}

void Checker::want(const CheckTargets& targets) {
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto entry = at++;
    if (!targets.contains(entry->first)) forget(entry);
  }
  const auto now = std::chrono::steady_clock::now();
  for (const auto& [target, backends] : targets) {
    const auto [at, added] = entries_.try_emplace(target);
    auto& entry = at->second;
    std::set<CheckedBackend> changed;
    std::ranges::set_symmetric_difference(entry.backends, backends, std::inserter(changed, changed.end()));
    entry.backends = backends;
    for (const auto& backend : changed) {
      if (backends.contains(backend))
        by_backend_[backend].insert(target);
      else
        by_backend_[backend].erase(target);
      settle(backend);
    }
    if (!added) continue;
    // The first round is spread over one interval.
    std::uniform_real_distribution<double> part(0.0, 1.0);
    schedule(*at, now + std::chrono::duration_cast<std::chrono::nanoseconds>(target.check.interval * part(random_)));
  }
  arm();
}

void Checker::forget(Entries::iterator at) {
  auto& entry = at->second;
  if (entry.probe) {
    entry.probe->abandon();
    --in_flight_;
  }
  if (entry.due) {
    auto [first, last] = due_.equal_range(*entry.due);
    for (; first != last; ++first)
      if (!(first->second < at->first) && !(at->first < first->second)) {
        due_.erase(first);
        break;
      }
  }
  const auto target = at->first;
  const auto backends = std::move(entry.backends);
  entries_.erase(at);
  for (const auto& backend : backends) {
    by_backend_[backend].erase(target);
    settle(backend);
  }
}

// Reports what the targets of a backend make of it, if that is news.
void Checker::settle(const CheckedBackend& backend) {
  const auto found = by_backend_.find(backend);
  if (found != by_backend_.end() && found->second.empty()) by_backend_.erase(found);
  const auto now = state(backend);
  const bool healthy = !now || now->healthy;
  const bool changed = healthy ? unhealthy_.erase(backend) != 0 : unhealthy_.insert(backend).second;
  if (!changed) return;
  asio::post(loop_, [alive = std::weak_ptr(alive_), backend, healthy] {
    const auto checker = alive.lock();
    // It may have changed again since; the last word counts.
    if (checker && (*checker)->unhealthy_.contains(backend) != healthy) (*checker)->report_(backend, healthy);
  });
}

std::optional<Checker::State> Checker::state(const CheckedBackend& backend) const {
  const auto found = by_backend_.find(backend);
  if (found == by_backend_.end()) return std::nullopt;
  std::optional<State> worst;
  for (const auto& target : found->second) {
    const auto& state = entries_.at(target).state;
    if (!worst || (worst->healthy && !state.healthy)) worst = state;
  }
  return worst;
}

void Checker::schedule(Entries::value_type& entry, Time due) {
  entry.second.due = due;
  due_.emplace(due, entry.first);
}

void Checker::arm() {
  if (due_.empty() || in_flight_ >= options_.in_flight) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(due_.begin()->first);
  timer_.async_wait([alive = std::weak_ptr(alive_)](const std::error_code& error) {
    if (const auto checker = alive.lock(); checker && !error) (*checker)->start_due();
  });
}

void Checker::start_due() {
  const auto now = std::chrono::steady_clock::now();
  while (!due_.empty() && due_.begin()->first <= now && in_flight_ < options_.in_flight) {
    const auto found = entries_.find(due_.begin()->second);
    due_.erase(due_.begin());
    start(*found);
  }
  arm();
}

void Checker::start(Entries::value_type& entry) {
  entry.second.due.reset();
  ++in_flight_;
  entry.second.probe = std::make_shared<Probe>(
      loop_, entry.first, [this, target = entry.first](const std::string& error) { finished(target, error); });
  entry.second.probe->start();
}

void Checker::finished(const CheckTarget& target, const std::string& error) {
  const auto found = entries_.find(target);
  auto& entry = found->second;
  auto& state = entry.state;
  --in_flight_;
  entry.probe.reset();
  ++state.probes;
  state.last_error = error;
  state.successes = error.empty() ? state.successes + 1 : 0;
  state.failures = error.empty() ? 0 : state.failures + 1;
  const bool turns = state.healthy ? state.failures >= target.check.fall : state.successes >= target.check.rise;
  if (turns) state.healthy = !state.healthy;
  schedule(*found, std::chrono::steady_clock::now() + jittered(target.check.interval));
  if (turns)
    for (const auto& backend : std::set(entry.backends)) settle(backend);
  start_due();
}

}  // namespace weft::agent
