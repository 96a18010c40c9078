// A cluster as a command sees it: requests that are waited for, and interrupted by SIGINT or SIGTERM.
//
// One thread. What may be repeated without harm is, for some seconds, where the server or the way to it does not do
// now.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sources/kubernetes/failure.h"
#include "sources/kubernetes/kubeconfig.h"

namespace weft::install {

using kubernetes::Outcome;

class Cluster {
 public:
  static Result<std::unique_ptr<Cluster>> connect(kubernetes::Access access);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // "https://192.0.2.1:6443, /root/.kube/config, context 'admin'"
  [[nodiscard]] std::string name() const;

  // Paths as sources/kubernetes/writer.h has them; `query` is "labelSelector=a%3Db".
  Outcome<nlohmann::json> get(const std::string& path);
  // All of a collection, whatever its number of pages.
  Outcome<std::vector<nlohmann::json>> list(const std::string& collection, const std::string& query = {});
  Outcome<nlohmann::json> create(const std::string& collection, const nlohmann::json& object);
  // Server-side, of an object that says where it belongs. `force`: also fields of other managers.
  Outcome<nlohmann::json> apply(const nlohmann::json& object, bool force);
  Outcome<nlohmann::json> merge_patch(const std::string& path, const nlohmann::json& patch);
  // False where it was not there. `at_once`: what it is of is not asked; for pods whose node says nothing.
  Outcome<bool> erase(const std::string& path, bool at_once = false);

  // Hears what is waited for when an answer takes longer than a moment, once for each silence.
  void when_silent(std::function<void(const std::string& what)> tell);

  // False when the user has interrupted it. After that every request fails, until resume().
  bool pause(std::chrono::milliseconds time);
  [[nodiscard]] bool interrupted() const;
  // To take away what has been made. The next signal ends the program.
  void resume();
  // As a signal does.
  void interrupt();

 private:
  struct State;
  explicit Cluster(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// "/apis/apps/v1/namespaces/x/daemonsets": where objects of the kinds that are installed lie.
std::string collection_of(const nlohmann::json& object);
std::string path_of(const nlohmann::json& object);

// What is at the pointer ("/status/phase"), or `otherwise` where nothing of its type is.
std::string text_at(const nlohmann::json& object, const char* pointer);
std::int64_t number_at(const nlohmann::json& object, const char* pointer);
// An empty list where there is none.
const nlohmann::json& list_at(const nlohmann::json& object, const char* pointer);
// Of its status; null where it has none of that type.
const nlohmann::json* condition(const nlohmann::json& object, std::string_view type);
// It has that condition, and its status is "True".
bool is_true(const nlohmann::json& object, std::string_view type);

}  // namespace weft::install
