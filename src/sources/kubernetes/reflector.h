// A local view of one resource, kept up to date: a list in pages, then a watch from there, as
// https://kubernetes.io/docs/reference/using-api/api-concepts/ has it. What it tells are differences between two
// consistent states of the API server, each object once, so who applies them has its state, whatever was lost or
// compacted in between: nothing is missed, nothing is told twice. Without the server the last view stays.
//
// The view has keys, uids, versions and what the caller's decode made of an object; an object's JSON is gone after the
// call. An object that cannot be decoded stays as it last could be (unless another has taken its name), and is told as
// trouble.
//
// Which state the first list has: any that the server has at hand (resourceVersion=0), which costs etcd nothing when a
// thousand nodes start; it may lag by what the watch then tells. Who concludes from absence at once (a collector) asks
// for a consistent one. Later lists are never older than the view.
//
// Owner thread only; a handler may destroy the Reflector. `http` and `scheduler` must outlive it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sources/etcd/backoff.h"
#include "sources/etcd/scheduler.h"
#include "sources/kubernetes/decode.h"
#include "sources/kubernetes/http.h"
#include "sources/kubernetes/json_stream.h"

namespace weft::kubernetes {

// What a decode made; `as` must name what it was.
using Decoded = std::shared_ptr<const void>;
template <class T>
const T& as(const Decoded& decoded) {
  return *static_cast<const T*>(decoded.get());
}

struct Entry {
  std::string uid;
  std::string resource_version;
  Decoded value;  // null where there is no decode
};

struct ReflectorOptions {
  std::string path;            // "/api/v1/pods", "/apis/discovery.k8s.io/v1/endpointslices"
  std::string field_selector;  // "spec.nodeName=node-a"
  std::string label_selector;
  std::function<Result<Decoded>(const Object& object)> decode;
  bool consistent = false;  // the first list is
  // Of objects their metadata alone, where the server can leave out the rest.
  bool metadata_only = false;
  int page = 500;  // objects in one answer of the list, where the server minds
  etcd::BackoffOptions backoff{std::chrono::milliseconds(500), std::chrono::milliseconds(30000)};
  // A watch is asked for this long, up to twice as long, by chance.
  std::chrono::seconds watch_for{300};
  // Bookmarks come about once a minute, though nothing promises them: a watch silent for longer is opened anew, on
  // another connection. It costs one request where the server sends none.
  std::chrono::milliseconds silence{180000};
  std::chrono::milliseconds answer_within{60000};  // the head; a list may be long in the making
  std::chrono::milliseconds list_idle{30000};      // between the bytes of a list
};

// Good during the call that tells it.
struct Changed {
  std::string_view key;
  const Entry* now = nullptr;     // null: erased
  const Entry* before = nullptr;  // null: it was not there
};
// From the view before to the view as it is. An object that was erased and made again is in `set`, with another uid.
struct Change {
  std::vector<Changed> set;
  std::vector<Changed> erased;
  [[nodiscard]] bool empty() const { return set.empty() && erased.empty(); }
};

struct ReflectorHandlers {
  std::function<void(const Change& change)> changed;  // never empty; the view is the new one already
  std::function<void()> state;                        // synced, live, problem or troubles are others than before
};

class Reflector {
 public:
  using View = std::map<std::string, Entry, std::less<>>;

  // Begins to list at once.
  Reflector(Http& http, etcd::Scheduler& scheduler, etcd::Random random, ReflectorOptions options,
            ReflectorHandlers handlers);
  ~Reflector() = default;
  Reflector(const Reflector&) = delete;
  Reflector& operator=(const Reflector&) = delete;

  [[nodiscard]] const View& view() const { return view_; }
  [[nodiscard]] const std::string& resource_version() const { return version_; }
  // The view has been complete once: what is not in it may be taken for absent.
  [[nodiscard]] bool synced() const { return synced_; }
  // Its watch stands.
  [[nodiscard]] bool live() const { return live_; }
  // Since when nothing was heard from the server; meaningless until synced.
  [[nodiscard]] std::chrono::milliseconds silent_for() const;
  // Why it is not live, if it is known.
  [[nodiscard]] const std::optional<Failure>& problem() const { return problem_; }
  // Of objects that could not be decoded, by key, why. Of what had no name, by its path.
  [[nodiscard]] const std::map<std::string, std::string>& troubles() const { return troubles_; }
  [[nodiscard]] std::uint64_t lists() const { return lists_; }      // completed, for metrics
  [[nodiscard]] std::uint64_t watches() const { return watches_; }  // opened

 private:
  void list();
  void next_page();
  void listed(std::string_view json);
  void page_done(Outcome<Answer> outcome);
  void list_complete();
  void list_failed(const Failure& why);
  void watch();
  void opened();
  void received(std::string_view bytes);
  void take_event(std::string_view line);
  void take_object(const std::string& key, const Object& object);
  void tell_batch();
  void watch_done(Outcome<Answer> outcome);
  void watch_failed(const Failure& why);
  void retry(const Failure& why, void (Reflector::*what)());
  void remember(const std::string& key);
  void trouble(const std::string& key, std::string why);
  void untroubled(const std::string& key);
  void told(const std::optional<Failure>& problem, bool live);
  [[nodiscard]] std::string selectors() const;
  [[nodiscard]] Change difference_from(const View& before) const;

  Http* http_;
  etcd::Scheduler* scheduler_;
  etcd::Random random_;
  ReflectorOptions options_;
  ReflectorHandlers handlers_;
  etcd::Backoff backoff_;
  Decoder decoder_;
  View view_;
  std::string version_;  // of the view; empty until synced
  bool synced_ = false;
  bool live_ = false;
  std::optional<Failure> problem_;
  std::map<std::string, std::string> troubles_;
  bool state_changed_ = false;
  std::uint64_t lists_ = 0;
  std::uint64_t watches_ = 0;
  etcd::Scheduler::Time last_heard_{};

  // The list in progress.
  View listing_;
  std::map<std::string, std::string> listing_troubles_;
  std::string listing_version_;
  std::string more_;
  ItemSplitter items_;
  std::optional<Failure> bad_answer_;  // what was received makes no sense: the rest is not looked at
  bool all_at_once_ = false;           // pages took so long that their token expired
  bool newest_ = false;                // the version of the view is of no use to the server
  bool history_lost_ = false;          // the same version may be another object
  int from_future_ = 0;                // times the server said that it has not come to our version

  // The watch in progress.
  LineSplitter lines_;
  // The keys that the batch touches, as they were before it.
  std::map<std::string, std::optional<Entry>, std::less<>> before_;
  std::string bad_line_at_;  // the version where a watch told what is no event
  int bad_lines_ = 0;
  etcd::Scheduler::Time opened_at_{};
  bool fresh_ = false;

  std::unique_ptr<Transfer> transfer_;
  etcd::Timer retry_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weft::kubernetes
