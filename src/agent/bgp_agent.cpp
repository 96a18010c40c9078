// The agent and BGP: what is known becomes a plan; what the speaker says is answered.
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "agent/address_pools.h"
#include "agent/agent.h"
#include "agent/bgp.h"
#include "agent/bgp_input.h"

namespace weft::agent {
namespace {

using nlohmann::json;

Bgp::Open speaker_of(const Config& config) {
  return [&config]() -> Result<std::shared_ptr<speaker::Speaker>> {
    if (config.bgp_speaker == Config::BgpSpeaker::none)
      return weft::fail(ErrorCode::unsupported, "bgp_speaker is none in the configuration",
                        "set it to auto, bird or frr");
    const auto choice = config.bgp_speaker == Config::BgpSpeaker::bird  ? speaker::Choice::bird
                        : config.bgp_speaker == Config::BgpSpeaker::frr ? speaker::Choice::frr
                                                                        : speaker::Choice::automatic;
    WEFT_TRY(auto opened, speaker::open_speaker(choice, config.bgp_path(),
                                                [](const std::string& line) { spdlog::info("{}", line); }));
    // Two would contend for the port, and for the routers.
    if (speaker::end_speakers(config.bgp_path(), opened->name() == "BIRD" ? "bird" : "frr") > 0)
      spdlog::info("the BGP speaker of before has ended: {} follows it", opened->name());
    return std::shared_ptr<speaker::Speaker>(std::move(opened));
  };
}

json texts_of(const std::vector<IpAddress>& addresses) {
  auto texts = json::array();
  for (const auto& address : addresses) texts.push_back(address.to_string());
  return texts;
}

json route_json(const speaker::Route& route) {
  return {{"prefix", route.prefix.to_string()},
          {"peer", route.peer.to_string()},
          {"direction", route.advertised ? "advertised" : "received"},
          {"next_hops", texts_of(route.next_hops)},
          {"as_path", route.as_path},
          {"communities", route.communities},
          {"large_communities", route.large_communities}};
}

}  // namespace

void Agent::open_bgp() {
  bgp_ = std::make_unique<Bgp>(loop_, faults_, speaker_of(config_));
  if (config_.bgp_speaker == Config::BgpSpeaker::none)
    speaker::end_speakers(config_.bgp_path());
  else
    bgp_->adopt();
  refresh_bgp();
}

namespace {

// Of a node by itself, which has the whole of each pool.
std::vector<Cidr> all_of_pools(const Config& config, const Objects& objects) {
  auto all = config.pod_cidrs;
  const auto further = further_cidrs(config, objects);
  all.insert(all.end(), further.begin(), further.end());
  return all;
}

}  // namespace

// What is known only in part is not told: the speaker goes on with what it had.
void Agent::refresh_bgp() {
  if (!bgp_ || !taken_over_) return;
  if (cluster_ && !publisher_->cluster().known) return;
  if (bgp_seen_ == publisher_->service_revision()) return;
  bgp_seen_ = publisher_->service_revision();
  const auto input = bgp_input(*objects_, publisher_->service_facts(), services(), node_, config_,
                               cluster_ ? cluster_->blocks() : all_of_pools(config_, *objects_));
  bgp_->want(control::plan_bgp(input));
}

void Agent::register_bgp() {
  server_->handle("bgp.status", [this](const json&) -> api::Answer { return bgp_->status_json(); });
  server_->handle("bgp.peers", [this](const json&) -> api::Answer { return json{{"items", bgp_->peers_json()}}; });
  server_->handle_async("bgp.routes", [this](const json& params, const api::Responder& responder) {
    std::optional<IpAddress> peer;
    if (const auto given = params.find("peer"); given != params.end()) {
      const auto parsed = given->is_string() ? IpAddress::parse(given->get<std::string>())
                                             : Result<IpAddress>(weft::fail(ErrorCode::invalid, "peer: expected text"));
      if (!parsed) return responder.answer(weft::fail(parsed.error()));
      peer = *parsed;
    }
    bgp_->routes(peer, [responder](const Result<std::vector<speaker::Route>>& routes) {
      if (!routes) return responder.answer(weft::fail(routes.error()));
      json items = json::array();
      for (const auto& route : *routes) items.push_back(route_json(route));
      responder.answer(json{{"items", std::move(items)}});
    });
  });
}

}  // namespace weft::agent
