#include "lab/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <csignal>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "api/answer.h"
#include "api/server.h"
#include "lab/links.h"
#include "lab/log.h"
#include "lab/machine.h"
#include "lab/pod_keeper.h"
#include "lab/pod_watcher.h"
#include "lab/presence.h"
#include "lab/programs.h"
#include "lab/world.h"
#include "supervise/kept_process.h"
#include "supervise/process.h"
#include "sys/netlink.h"
#include "sys/netns.h"

namespace weft::lab {
namespace {

using nlohmann::json;
constexpr std::chrono::milliseconds watch_interval{500};

Result<void> add_routes_in(const std::string& netns_name, const Layout& layout, const NodeLayout& node,
                           const std::vector<IpAddress>& addresses) {
  WEFT_TRY(const auto netns, sys::open_netns(sys::named_netns_path(netns_name)));
  WEFT_TRY(const auto netlink, sys::open_netlink_in(netns.get()));
  for (const auto& address : addresses)
    WEFT_CHECK(
        add_pod_route(*netlink, layout, node, fmt::format("{}/{}", address.to_string(), address.is_v6() ? 128 : 32)));
  return {};
}

Result<void> remove_namespace(const std::string& name) {
  supervise::terminate(supervise::processes_in_named_netns(name), std::chrono::milliseconds(0), SIGKILL);
  return sys::delete_named_netns(name);
}

// A node and what keeps it going.
struct Node {
  Node(asio::io_context& loop, const Layout& lab, const NodeLayout& its_layout, const std::string& binary,
       const std::function<void()>& changed, std::function<void()> presence_changed)
      : layout(its_layout),
        agent(loop, agent_program(lab, its_layout, binary), changed),
        presence(loop, its_layout.socket(), std::move(presence_changed)) {}
  const NodeLayout layout;
  supervise::KeptProcess agent;
  Presence presence;
};

// The program whose `lab relay` a relay is: this one.
std::string own_program() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).string();
}

class Supervisor {
 public:
  Supervisor(const Layout& layout, const std::string& binaries)
      : layout_(layout),
        agent_binary_(find_program(binaries, "weftd")),
        operator_binary_(find_program(binaries, "weft-operator")),
        signals_(loop_, SIGTERM, SIGINT),
        tick_(loop_),
        world_(loop_),
        links_(loop_, layout_, own_program(), [this] { changed(); }),
        keeper_(loop_, layout_, find_program(binaries, "weft-cni"),
                {.changed = [this] { changed(); },
                 .attached = [this](const std::string& node,
                                    const std::vector<IpAddress>& addresses) { add_pod_routes(node, addresses); }}) {}

  Result<void> start() {
    WEFT_TRY(server_, api::Server::listen(loop_, {.path = layout_.supervisor_socket()}));
    server_->handle("lab.status", [this](const json&) -> api::Answer { return status(); });
    server_->handle("lab.reload", [this](const json&) -> api::Answer { return reload(); });
    server_->handle("lab.net", [this](const json& params) { return change_net(params); });
    server_->handle("lab.node", [this](const json& params) { return change_node(params); });
    server_->handle_stream("lab.watch", [this](const json&, const api::Stream& stream) {
      stream.send(status());
      streams_.push_back(stream);
    });
    WEFT_TRY(const auto self, supervise::identify(::getpid()));
    WEFT_CHECK(supervise::write_pid_file(layout_.supervisor_pid_file(), self));
    WEFT_CHECK(open_world());
    links_.restore();
    for (const auto& member : layout_.etcd()) {
      auto& kept =
          etcd_.try_emplace(member.name, loop_, etcd_program(layout_, member), [this] { changed(); }).first->second;
      if (links_.of(member.name).down == Condition::Down::no) kept.start();
    }
    add_nodes();
    add_operators();
    signals_.async_wait([this](const asio::error_code& error, int) {
      if (!error) stop();
    });
    tick();
    return {};
  }

  void run() { loop_.run(); }

 private:
  Result<void> open_world() {
    WEFT_TRY(const auto netns, sys::open_netns(sys::named_netns_path(layout_.world_netns())));
    const auto opened = world_.open("world", netns.get(), "world",
                                    {{80, Protocol::tcp, true},
                                     {443, Protocol::tcp, false},
                                     {53, Protocol::tcp, false},
                                     {53, Protocol::udp, false}});
    for (const auto& [port, error] : opened)
      if (!error.empty()) log_line("world: port {}: {}", port.port, error);
    return {};
  }

  void add_nodes() {
    for (const auto& node : layout_.nodes()) {
      if (find(node.name) != nullptr) continue;
      auto& added = *nodes_.emplace_back(std::make_unique<Node>(
          loop_, layout_, node, agent_binary_, [this] { changed(); },
          [this, name = node.name] { presence_changed(name); }));
      const auto down = links_.of(node.name).down;
      keeper_.set_away(node.name, down != Condition::Down::no, false);
      if (down == Condition::Down::no) added.agent.start();
    }
  }

  void add_operators() {
    for (const auto& its : layout_.operators()) {
      const auto [kept, added] = operators_.try_emplace(
          its.name, loop_, operator_program(layout_, its, operator_binary_), [this] { changed(); });
      if (added && links_.of(its.name).down == Condition::Down::no) kept->second.start();
    }
  }

  // One that serves the whole lab; null: there is none of that name.
  supervise::KeptProcess* find_program_beside(const std::string& name) {
    for (auto* programs : {&etcd_, &operators_})
      if (const auto found = programs->find(name); found != programs->end()) return &found->second;
    return nullptr;
  }

  Node* find(std::string_view name) {
    const auto found = std::ranges::find_if(nodes_, [name](const auto& node) { return node->layout.name == name; });
    return found == nodes_.end() ? nullptr : found->get();
  }

  api::Answer reload() {
    WEFT_TRY(const auto settings, load_settings(layout_.settings_file()));
    layout_ = Layout(layout_.name(), layout_.roots(), settings);
    keeper_.layout_changed();
    add_nodes();
    add_operators();
    changed();
    return json::object();
  }

  void presence_changed(const std::string& name) {
    Node* node = find(name);
    if (node != nullptr && node->presence.serving()) {
      node->agent.served();
      keeper_.agent_answers();
    }
    choose_source();
    changed();
  }

  // Pods are followed at one agent. Where nodes share objects any that serves will do, best one that reaches etcd, and
  // one that stays is kept.
  void choose_source() {
    const auto serves = [](const auto& node) { return node->presence.serving(); };
    const auto follows = [&](const auto& node) { return serves(node) && !links_.of(node->layout.name).without_etcd(); };
    const auto last = layout_.settings().shares_objects() ? nodes_.end() : nodes_.begin() + 1;
    auto next = std::find_if(nodes_.begin(), last, follows);
    if (next == last) next = std::find_if(nodes_.begin(), last, serves);
    Node* present = find(source_);
    if (present != nullptr && serves(present) && (follows(present) || next == last || !follows(*next))) return;
    watcher_.reset();
    ++watch_number_;
    source_.clear();
    if (next == last) return;
    source_ = (*next)->layout.name;
    watch_pods((*next)->layout.socket());
  }

  api::Answer change_net(const json& params) {
    const auto action = params.at("action").get<std::string>();
    const auto nodes = params.value("nodes", std::vector<std::string>{});
    const auto value = params.value("value", std::int64_t{0});
    Result<void> done = fail(ErrorCode::invalid, "lab.net: no action \"" + action + "\"");
    if (action == "partition") done = links_.partition(nodes);
    if (action == "heal") done = links_.heal(nodes);
    if (action == "cut-etcd") done = links_.change(nodes, [](Condition& one) { one.cut_from_etcd = true; });
    if (action == "delay")
      done = links_.change(nodes, [value](Condition& one) { one.delay = std::chrono::microseconds(value); });
    if (action == "loss")
      done = links_.change(nodes, [value](Condition& one) { one.loss_ppm = static_cast<std::uint32_t>(value); });
    if (!done) return fail(std::move(done.error()));
    choose_source();
    return json{{"conditions", conditions_to_json(links_.conditions())}};
  }

  api::Answer change_node(const json& params) {
    const auto action = params.at("action").get<std::string>();
    if (auto* program = find_program_beside(params.at("node").get<std::string>()))
      return change_program(action, params.at("node").get<std::string>(), *program);
    WEFT_TRY(const auto* wanted, layout_.need_node(params.at("node").get<std::string>()));
    const std::string name = wanted->name;
    if (find(name) == nullptr) return fail(ErrorCode::internal, name + " is not kept");
    Result<void> done = fail(ErrorCode::invalid, "lab.node: no action \"" + action + "\"");
    if (action == "kill") done = take_down(name, Condition::Down::agent);
    if (action == "crash") done = take_down(name, Condition::Down::node);
    if (action == "start") done = bring_back(name);
    if (!done) return fail(std::move(done.error()));
    choose_source();
    changed();
    return json::object();
  }

  api::Answer change_program(const std::string& action, const std::string& name, supervise::KeptProcess& program) {
    if (action == "crash")
      return fail(ErrorCode::invalid, name + " is no node", "to end that program: weft lab kill " + name);
    WEFT_CHECK(links_.set_down(name, action == "kill" ? Condition::Down::agent : Condition::Down::no));
    if (action == "kill")
      program.stop(SIGKILL);
    else
      program.start();
    changed();
    return json::object();
  }

  // As when the agent is killed and nobody starts it, or as when the machine loses power: its disk stays.
  Result<void> take_down(const std::string& name, Condition::Down how) {
    Node& node = *find(name);
    WEFT_CHECK(links_.set_down(name, how));
    node.agent.stop(SIGKILL);
    keeper_.set_away(name, true, how == Condition::Down::node);
    if (how != Condition::Down::node) return {};
    WEFT_CHECK(links_.change({name}, [](Condition&) {}));
    for (const auto& pod : keeper_.namespaces_on(name)) WEFT_CHECK(remove_namespace(pod));
    WEFT_CHECK(remove_namespace(node.layout.netns));
    std::error_code error;
    std::filesystem::remove_all(node.layout.bpffs, error);
    return error ? fail(errno_error("remove " + node.layout.bpffs, error.value())) : Result<void>();
  }

  Result<void> bring_back(const std::string& name) {
    const auto how = links_.of(name).down;
    if (how == Condition::Down::no) return {};
    if (how == Condition::Down::node) WEFT_CHECK(build_node(layout_, *layout_.find_node(name)));
    WEFT_CHECK(links_.set_down(name, Condition::Down::no));
    WEFT_CHECK(links_.change({name}, [](Condition&) {}));
    // With the address it has now.
    std::erase_if(nodes_, [&name](const auto& node) { return node->layout.name == name; });
    add_nodes();
    return {};
  }

  // The watcher has its own thread; everything it says is taken up in the loop, if it is still the watcher then.
  void watch_pods(const std::string& socket) {
    const auto in_loop = [this, number = watch_number_](auto action) {
      asio::post(loop_, [this, number, action = std::move(action)] {
        if (number == watch_number_) action();
      });
    };
    PodWatcher::Callbacks callbacks;
    callbacks.connected = [this, in_loop] { in_loop([this] { keeper_.begin_sync(); }); };
    callbacks.event = [this, in_loop](const json& event) { in_loop([this, event] { pod_event(event); }); };
    callbacks.disconnected = [in_loop](const std::string& why) {
      in_loop([why] { log_line("the pods cannot be watched: {}", why); });
    };
    watcher_.emplace(socket, std::move(callbacks));
  }

  // Who has which address of a shared pool is known pod by pod.
  void add_pod_routes(const std::string& node_name, const std::vector<IpAddress>& addresses) {
    if (!layout_.settings().shared()) return;
    const NodeLayout& node = *layout_.find_node(node_name);
    for (const auto& name : {layout_.world_netns(), layout_.neighbour_netns()})
      if (const auto added = add_routes_in(name, layout_, node, addresses); !added)
        log_line("routes of {} to pods of {}: {}", name, node.name, added.error().message);
  }

  void pod_event(const json& event) {
    const auto type = event.find("type");
    if (type == event.end()) return;
    if (*type == "synced") {
      keeper_.end_sync();
      synced_ = true;
      return changed();
    }
    const auto object = event.find("object");
    auto plan = pod_plan_from_json(object == event.end() ? json() : *object);
    if (!plan)
      log_line("a pod event is not understood: {}", plan.error().message);
    else if (*type == "deleted")
      keeper_.remove(plan->key());
    else
      keeper_.set(std::move(*plan));
  }

  static json program_status(const supervise::KeptProcess& program) {
    return {{"pid", program.pid()},
            {"restarts", program.restarts()},
            {"failures", program.failures()},
            {"problem", program.problem()}};
  }

  [[nodiscard]] json beside_status(const std::string& name, const supervise::KeptProcess& program) const {
    json one = program_status(program);
    one.update({{"name", name}, {"down", links_.of(name).down != Condition::Down::no}});
    return one;
  }

  [[nodiscard]] json status() const {
    json nodes = json::array();
    for (const auto& node : nodes_) {
      json one = program_status(node->agent);
      one.update({{"name", node->layout.name},
                  {"address", node->layout.address_v4},
                  {"address_v6", node->layout.address_v6},
                  {"down", links_.of(node->layout.name).down != Condition::Down::no},
                  {"serving", node->presence.serving()}});
      nodes.push_back(std::move(one));
    }
    json operators = json::array();
    for (const auto& [name, program] : operators_) operators.push_back(beside_status(name, program));
    json etcd = json::array();
    for (const auto& [name, member] : etcd_) etcd.push_back(beside_status(name, member));
    return {{"lab", layout_.name()},
            {"pid", ::getpid()},
            {"operators", std::move(operators)},
            {"nodes", std::move(nodes)},
            {"etcd", std::move(etcd)},
            {"source", source_},
            {"conditions", conditions_to_json(links_.conditions())},
            {"synced", synced_ && keeper_.collected()},
            {"pods", keeper_.status()}};
  }

  // Many changes of one turn of the loop become one event.
  void changed() {
    if (streams_.empty() || std::exchange(announcing_, true)) return;
    asio::post(loop_, [this] {
      announcing_ = false;
      announce();
    });
  }

  void announce() {
    const json now = status();
    streams_.remove_if([&now](const api::Stream& stream) { return !stream.send(now); });
  }

  void tick() {
    tick_.expires_after(watch_interval);
    tick_.async_wait([this](const asio::error_code& error) {
      if (error) return;
      if (!streams_.empty()) announce();
      tick();
    });
  }

  void stop() {
    log_line("stopping");
    server_->stop();
    streams_.clear();
    tick_.cancel();
    // The agents first: plugin calls in progress end as soon as they are gone.
    watcher_.reset();
    ++watch_number_;
    for (auto& node : nodes_) node->agent.signal(SIGTERM);
    for (auto& [name, program] : operators_) program.signal(SIGTERM);
    for (auto& node : nodes_) node->agent.stop(SIGTERM);
    for (auto& [name, program] : operators_) program.stop(SIGTERM);
    for (auto& [name, member] : etcd_) member.signal(SIGTERM);
    for (auto& [name, member] : etcd_) member.stop(SIGTERM);
    links_.stop();
    keeper_.stop();
    world_.close("world");
    ::unlink(layout_.supervisor_pid_file().c_str());
    loop_.stop();
  }

  Layout layout_;
  const std::string agent_binary_;
  const std::string operator_binary_;
  asio::io_context loop_;
  asio::signal_set signals_;
  asio::steady_timer tick_;
  Responders world_;
  std::map<std::string, supervise::KeptProcess> etcd_;  // by the member's name
  Links links_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<std::string, supervise::KeptProcess> operators_;
  PodKeeper keeper_;
  std::unique_ptr<api::Server> server_;
  std::list<api::Stream> streams_;
  std::string source_;              // the node whose agent tells of pods; empty: none serves
  std::uint64_t watch_number_ = 0;  // of the watcher in use
  bool synced_ = false;
  bool announcing_ = false;
  std::optional<PodWatcher> watcher_;  // last: its thread posts to all of the above
};

// A lab of many pods has thousands of sockets.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void report(int fd, const std::string& line) {
  if (::write(fd, line.data(), line.size()) < 0) log_line("nobody waits for: {}", line);
  const Fd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  ::dup2(null.get(), fd);  // keeps the number taken: it may be standard output
}

}  // namespace

int supervise(const Layout& layout, const std::string& binary_directory, int ready_fd) {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  raise_descriptor_limit();
  if (::chdir("/") != 0) log_line("cannot change to /");
  log_line("supervising lab {}, process {}", layout.name(), ::getpid());
  Supervisor supervisor(layout, binary_directory);
  if (const auto started = supervisor.start(); !started) {
    log_line("cannot start: {}", started.error().message);
    report(ready_fd, started.error().message + "\n");
    return 1;
  }
  report(ready_fd, "ready\n");
  supervisor.run();
  log_line("stopped");
  return 0;
}

}  // namespace weft::lab
