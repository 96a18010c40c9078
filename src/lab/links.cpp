#include "lab/links.h"

#include <fmt/format.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <csignal>
#include <set>
#include <utility>

#include "lab/log.h"
#include "lab/relay.h"
#include "lab/switch.h"
#include "sys/netlink.h"
#include "sys/netns.h"
#include "sys/system.h"

namespace weft::lab {
namespace {

std::string tap_of(const NodeLayout& node) { return "tap-" + node.name; }
std::string bridge_of_group(unsigned group) { return fmt::format("cut{}", group); }

// A switch of its own, at which the world is not: it has no address there and answers for none of its others.
Result<void> ensure_cut_bridge(int netns, unsigned group) {
  const auto name = bridge_of_group(group);
  WEFT_CHECK(ensure_bridge(netns, name, {{0x02, 0, 0, 0, 0x02, static_cast<std::uint8_t>(group)}}));
  WEFT_TRY(const auto scope, sys::NetnsScope::enter(netns));
  WEFT_CHECK(sys::write_sysctl("net/ipv4/conf/" + name + "/arp_ignore", "1"));
  WEFT_CHECK(sys::write_sysctl("net/ipv6/conf/" + name + "/disable_ipv6", "1"));
  WEFT_TRY(const auto netlink, sys::open_netlink());
  WEFT_TRY(const auto device, netlink->device(name));
  return netlink->set_up(device.index, true);
}

}  // namespace

struct Links::Relay {
  Condition condition;
  std::unique_ptr<supervise::KeptProcess> process;
};

Links::Links(asio::io_context& loop, const Layout& layout, std::string weft, std::function<void()> changed)
    : loop_(loop),
      layout_(layout),
      weft_(std::move(weft)),
      changed_(std::move(changed)),
      conditions_(load_conditions(layout.conditions_file())) {}

Links::~Links() = default;

Condition Links::of(const std::string& node) const {
  const auto found = conditions_.find(node);
  return found == conditions_.end() ? Condition{} : found->second;
}

void Links::restore() {
  for (const auto& node : layout_.nodes())
    if (!of(node.name).ordinary_link())
      if (const auto applied = apply(node); !applied)
        log_line("the link of {}: {}", node.name, applied.error().message);
}

Result<void> Links::change(const std::vector<std::string>& nodes, const std::function<void(Condition&)>& change) {
  std::vector<const NodeLayout*> layouts;
  for (const auto& name : nodes) {
    WEFT_TRY(const auto* node, layout_.need_node(name));
    layouts.push_back(node);
  }
  for (const auto& name : nodes) {
    Condition condition = of(name);
    change(condition);
    if (condition == Condition{})
      conditions_.erase(name);
    else
      conditions_[name] = condition;
  }
  WEFT_CHECK(save_conditions(layout_.conditions_file(), conditions_));
  for (const auto* node : layouts) WEFT_CHECK(apply(*node));
  changed_();
  return {};
}

Result<void> Links::set_down(const std::string& node, Condition::Down down) {
  Condition condition = of(node);
  condition.down = down;
  if (condition == Condition{})
    conditions_.erase(node);
  else
    conditions_[node] = condition;
  return save_conditions(layout_.conditions_file(), conditions_);
}

Result<void> Links::partition(const std::vector<std::string>& nodes) {
  std::set<unsigned> taken;
  for (const auto& [name, condition] : conditions_)
    if (std::ranges::find(nodes, name) == nodes.end()) taken.insert(condition.group);
  unsigned group = 1;
  while (taken.contains(group)) ++group;
  return change(nodes, [group](Condition& condition) { condition.group = group; });
}

Result<void> Links::heal(std::vector<std::string> nodes) {
  if (nodes.empty())
    for (const auto& [name, condition] : conditions_)
      if (layout_.find_node(name) != nullptr) nodes.push_back(name);
  std::erase_if(nodes, [this](const std::string& name) {
    return layout_.find_node(name) != nullptr && of(name).ordinary_link();
  });
  return change(nodes, [](Condition& condition) { condition = {.down = condition.down}; });
}

void Links::stop() {
  for (auto& [name, relay] : relays_) relay->process->stop(SIGTERM);
}

Result<void> Links::apply(const NodeLayout& node) {
  const Condition condition = of(node.name);
  if (condition.down == Condition::Down::node) return end_relay(node);
  WEFT_TRY(const auto world, sys::open_netns(sys::named_netns_path(layout_.world_netns())));
  std::string bridge = layout_.networks()[node.network].bridge;
  if (condition.group != 0) {
    WEFT_CHECK(ensure_cut_bridge(world.get(), condition.group));
    bridge = bridge_of_group(condition.group);
  }
  if (condition.relayed()) {
    WEFT_CHECK(begin_relay(node, condition));
    return plug(tap_of(node), bridge);
  }
  WEFT_CHECK(end_relay(node));
  return plug(node.name, bridge);
}

Result<void> Links::plug(const std::string& port, const std::string& bridge) {
  WEFT_TRY(const auto world, sys::open_netns(sys::named_netns_path(layout_.world_netns())));
  return move_port(world.get(), bridge, port);
}

Result<void> Links::begin_relay(const NodeLayout& node, const Condition& condition) {
  WEFT_TRY(const auto world, sys::open_netns(sys::named_netns_path(layout_.world_netns())));
  WEFT_CHECK(ensure_tap(world.get(), tap_of(node)));
  // The relay alone hands on what arrives at the port from here on.
  WEFT_CHECK(move_port(world.get(), "", node.name));
  WEFT_CHECK(set_deaf(world.get(), node.name, true));
  WEFT_TRY(const auto netlink, sys::open_netlink_in(world.get()));
  WEFT_TRY(const auto tap, netlink->device(tap_of(node)));
  WEFT_CHECK(netlink->set_up(tap.index, true));
  auto& relay = relays_[node.name];
  if (relay && relay->condition.delay == condition.delay && relay->condition.loss_ppm == condition.loss_ppm &&
      relay->condition.cut_from_etcd == condition.cut_from_etcd)
    return {};
  if (relay) relay->process->stop(SIGTERM);
  std::vector<std::string> arguments = {weft_,
                                        "lab",
                                        "relay",
                                        node.name,
                                        tap_of(node),
                                        std::to_string(condition.delay.count()),
                                        std::to_string(condition.loss_ppm),
                                        std::to_string(condition.cut_from_etcd ? addresses::etcd_port : 0)};
  supervise::KeptProgram program{.what = "relay of " + node.name,
                                 .netns = layout_.world_netns(),
                                 .pid_file = node.run_dir + "/relay.pid",
                                 .log_file = node.run_dir + "/relay.log",
                                 .cgroup = {},
                                 .prepare = [arguments]() -> Result<std::vector<std::string>> { return arguments; },
                                 .log = log_text};
  relay = std::make_unique<Relay>(
      Relay{condition, std::make_unique<supervise::KeptProcess>(loop_, std::move(program), changed_)});
  relay->process->start();
  return {};
}

Result<void> Links::end_relay(const NodeLayout& node) {
  if (const auto found = relays_.find(node.name); found != relays_.end()) {
    found->second->process->stop(SIGTERM);
    relays_.erase(found);
  }
  WEFT_TRY(const auto world, sys::open_netns(sys::named_netns_path(layout_.world_netns())));
  WEFT_TRY(const auto netlink, sys::open_netlink_in(world.get()));
  if (const auto tap = netlink->device(tap_of(node))) WEFT_CHECK(netlink->delete_device(tap->index));
  return netlink->device(node.name) ? set_deaf(world.get(), node.name, false) : Result<void>();
}

}  // namespace weft::lab
