// Writes that were decided from a view of objects which lags a little behind the API server: one at a time for each
// object, each on condition that the object is as it was seen, and none again before the view shows what became of it.
// So who decides anew after every change, from what it sees, does nothing twice.
//
// Owner thread only. No handler runs inside write(); a handler must not destroy this.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "sources/etcd/backoff.h"
#include "sources/etcd/scheduler.h"
#include "sources/kubernetes/writer.h"

namespace weft::op {

class ObjectWriter {
 public:
  struct Parts {
    kubernetes::Http& http;
    etcd::Scheduler& scheduler;
    etcd::Random random;
    etcd::BackoffOptions backoff{std::chrono::milliseconds(500), std::chrono::milliseconds(30000)};
  };
  struct Handlers {
    // One has ended, or may be tried again: what is left can be written.
    std::function<void()> again;
    // What the server says against one. A conflict is none.
    std::function<void(const kubernetes::Failure& why)> trouble;
  };
  ObjectWriter(Parts parts, Handlers handlers);

  // A merge patch of the object at `path`, or of a subresource, if its version is still `version`. False: not now,
  // because of what went before, or because many are under way.
  bool write(const std::string& path, const std::string& version, nlohmann::json patch,
             std::function<void()> written = {});
  // The object at `path` in `collection`, which is not there. `version`: another than at the last try, once it has been
  // seen since.
  bool create(const std::string& path, const std::string& collection, const std::string& version,
              const nlohmann::json& object);
  // That very object, if its version is still `version`.
  bool erase(const std::string& path, const std::string& uid, const std::string& version);
  // What was written on that version may be there, though the view does not show it.
  [[nodiscard]] bool pending(const std::string& path, const std::string& version) const;
  // Cancels what is under way, and forgets all that went before.
  void stop();

 private:
  struct Try {
    std::string version;  // that the object had
    bool under_way = false;
    bool refused = false;  // this version it is no more, or it may not be written
    bool waits = false;    // before it is tried again
    std::uint64_t number = 0;
    etcd::Backoff backoff;
    etcd::Timer again;
  };
  using Send = std::function<void(kubernetes::Written done)>;
  bool start(const std::string& path, const std::string& version, const Send& send, std::function<void()> written);
  void ended(const std::string& path, std::uint64_t number, const kubernetes::Outcome<std::string>& outcome,
             const std::function<void()>& written);

  Parts parts_;
  Handlers handlers_;
  std::unique_ptr<kubernetes::Writer> writer_;
  std::map<std::string, Try> tries_;
  std::size_t under_way_ = 0;
  std::uint64_t last_ = 0;
};

}  // namespace weft::op
