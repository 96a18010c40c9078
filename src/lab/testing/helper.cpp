// Programs the lifecycle test starts instead of the real ones, told apart by the first argument:
// `supervise LAB ROOT BINARIES` is the real supervisor in directories of the test's own; `--config
// FILE` is a stand-in for weftd that keeps pods and attachments but no datapath.
#include <fmt/format.h>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <csignal>
#include <list>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "api/answer.h"
#include "api/server.h"
#include "lab/machine.h"
#include "lab/supervisor.h"
#include "model/parse.h"
#include "sys/system.h"

namespace weft::lab {
namespace {

using nlohmann::json;

class FakeAgent {
 public:
  FakeAgent(std::string run_dir, std::string state_dir)
      : state_(std::move(state_dir) + "/state.json"), run_(std::move(run_dir)) {
    if (const auto saved = sys::read_file(state_)) {
      const json state = json::parse(*saved);
      pods_ = state["pods"].get<std::map<std::string, json>>();
      attached_ = state["attached"].get<std::map<std::string, bool>>();
    }
  }

  int run() {
    auto server = api::Server::listen(loop_, {.path = run_ + "/weft.sock"});
    if (!server) {
      fmt::print(stderr, "{}\n", server.error().message);
      return 1;
    }
    serve(**server);
    asio::signal_set signals(loop_, SIGTERM);
    signals.async_wait([this](const asio::error_code&, int) { loop_.stop(); });
    loop_.run();
    return 0;
  }

 private:
  void serve(api::Server& server) {
    server.handle("apply", [this](const json& params) { return apply(params); });
    server.handle("delete", [this](const json& params) { return remove(params); });
    server.handle("get", [this](const json&) -> api::Answer {
      json items = json::array();
      for (const auto& [key, pod] : pods_) items.push_back(pod);
      return json{{"items", items}};
    });
    server.handle_stream("watch", [this](const json&, const api::Stream& stream) {
      for (const auto& [key, pod] : pods_) stream.send({{"type", "added"}, {"object", pod}});
      stream.send({{"type", "synced"}});
      watchers_.push_back(stream);
    });
    server.handle("cni.add", [this](const json& params) -> api::Answer {
      const auto id = params.at("container_id").get<std::string>();
      if (attached_.contains(id) && attached_[id]) return fail(ErrorCode::exists, "attached already");
      attached_[id] = false;
      save();
      return json{{"interfaces", json::array({{{"name", "eth0"}}})}};
    });
    server.handle("cni.ack", [this](const json& params) -> api::Answer {
      attached_[params.at("container_id").get<std::string>()] = true;
      save();
      return json::object();
    });
    server.handle("cni.del", [this](const json& params) -> api::Answer {
      attached_.erase(params.at("container_id").get<std::string>());
      save();
      return json::object();
    });
    server.handle("cni.gc", [this](const json& params) -> api::Answer {
      std::map<std::string, bool> kept;
      for (const auto& item : params.at("valid"))
        if (const auto id = item.at("container_id").get<std::string>(); attached_.contains(id))
          kept[id] = attached_[id];
      attached_ = kept;
      save();
      return json{{"removed", json::array()}};
    });
    server.handle("test.attached", [this](const json&) -> api::Answer { return json(attached_.size()); });
  }

  static std::map<std::string, json> pods_in(const json& params) {
    std::map<std::string, json> pods;
    for (const auto& document : params.at("documents"))
      for (const auto& parsed : model::parse_manifests("test", document.at("text").get<std::string>()).documents) {
        const json object = json::parse(parsed.json);
        if (object.at("kind") == "Pod")
          pods[object["metadata"].value("namespace", "default") + "/" + object["metadata"].value("name", "")] = object;
      }
    return pods;
  }

  api::Answer apply(const json& params) {
    json applied = json::array();
    for (auto& [key, pod] : pods_in(params)) {
      const bool known = pods_.contains(key);
      applied.push_back({{"kind", "Pod"}, {"name", key}, {"action", known ? "configured" : "created"}});
      pods_[key] = pod;
      tell(known ? "modified" : "added", pod);
    }
    save();
    return json{{"applied", applied}};
  }

  api::Answer remove(const json& params) {
    json deleted = json::array();
    for (const auto& [key, pod] : pods_in(params)) {
      deleted.push_back({{"kind", "Pod"}, {"namespace", ""}, {"name", key}});
      pods_.erase(key);
      tell("deleted", pod);
    }
    save();
    return json{{"deleted", deleted}};
  }

  void tell(const char* type, const json& pod) {
    watchers_.remove_if([&](const api::Stream& watcher) { return !watcher.send({{"type", type}, {"object", pod}}); });
  }

  void save() const {
    const json state = {{"pods", pods_}, {"attached", attached_}};
    if (const auto saved = sys::write_file_atomically(state_, state.dump(), 0600); !saved)
      fmt::print(stderr, "{}\n", saved.error().message);
  }

  const std::string state_;
  const std::string run_;
  asio::io_context loop_;
  std::map<std::string, json> pods_;
  std::map<std::string, bool> attached_;  // container id -> acknowledged
  std::list<api::Stream> watchers_;
};

// The value of `key:` in the configuration the lab wrote.
std::string config_value(const std::string& config, const std::string& key) {
  const auto at = config.find("\n" + key + ": ");
  if (at == std::string::npos) return {};
  const auto start = at + key.size() + 3;
  return config.substr(start, config.find('\n', start) - start);
}

}  // namespace
}  // namespace weft::lab

int main(int count, char** values) {
  using namespace weft;
  const std::vector<std::string> arguments(values + 1, values + count);
  if (arguments.size() == 4 && arguments[0] == "supervise") {
    const lab::Roots roots{arguments[1] + "/run", arguments[1] + "/state", arguments[1] + "/bpffs"};
    return lab::supervise(lab::Machine{.roots = roots}.layout(arguments[3]), arguments[2], 1);
  }
  if (arguments.size() == 2 && arguments[0] == "--config") {
    const auto config = sys::read_file(arguments[1]);
    if (!config) return 1;
    return lab::FakeAgent(lab::config_value(*config, "run_dir"), lab::config_value(*config, "state_dir")).run();
  }
  return 2;
}
