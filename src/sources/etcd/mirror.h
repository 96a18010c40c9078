// A local copy of everything below a prefix, kept up to date: a list in pages, all of one revision,
// then a watch from there. What it tells are differences between two consistent states of etcd, so who
// applies them has etcd's state, whatever was lost or compacted in between: nothing is missed, nothing
// is told twice. Without etcd the last view stays.
//
// An etcd that was wiped, or restored from a snapshot, has another history. Who wrote what it lacks now will write it
// again, each as soon as he hears of it: until then what `held` says stays in the view, and nothing is told of it.
//
// Owner thread only; a handler may destroy the Mirror. `client` and `scheduler` must outlive it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sources/etcd/watch.h"

namespace weft::etcd {

struct MirrorOptions {
  std::string prefix;
  std::int64_t page = 1000;  // keys in one answer of the list
  // False: the view has keys and revisions only, for whoever keeps the values elsewhere. Changes have the values of
  // what is set, not of what is erased.
  bool values = true;
  // Of a view that etcd has lost: what stays for `hold`, with the mod_revision 0, unless it is written before; what
  // does not come back is told as erased then. Empty: nothing stays.
  std::function<bool(const KeyValue& kv)> held;
  std::chrono::milliseconds hold{};
  BackoffOptions backoff{};  // between tries to list
  WatchOptions watch{};
};

// From the view before to the view at `revision`. Each key is named once, by its final state; one that
// was erased and made again is in `set` with another create_revision.
struct Change {
  Revision revision = 0;
  std::vector<KeyValue> set;
  std::vector<KeyValue> erased;  // as they were in the view before

  [[nodiscard]] bool empty() const { return set.empty() && erased.empty(); }
};

struct MirrorHandlers {
  std::function<void(const Change& change)> changed;  // never empty; the view is the new one already
  std::function<void()> state;                        // synced, live or problem is another than before
};

class Mirror {
 public:
  using View = std::map<std::string, KeyValue, std::less<>>;

  // Begins to list at once.
  Mirror(Client& client, Scheduler& scheduler, Random random, MirrorOptions options, MirrorHandlers handlers);
  ~Mirror() = default;
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  [[nodiscard]] const View& view() const { return view_; }
  [[nodiscard]] Revision revision() const { return revision_; }  // of the view
  // The view has been complete once: what is not in it may be taken for absent.
  [[nodiscard]] bool synced() const { return synced_; }
  // Its watch stands.
  [[nodiscard]] bool live() const { return watch_ && watch_->standing(); }
  // Since when nothing was heard from etcd; meaningless until synced.
  [[nodiscard]] std::chrono::milliseconds silent_for() const;
  // Why it is not live, if it is known.
  [[nodiscard]] const std::optional<Failure>& problem() const { return problem_; }
  [[nodiscard]] std::uint64_t lists() const { return lists_; }  // completed, for metrics
  // In the view although etcd, as far as is known, does not have it any more.
  [[nodiscard]] bool holds(const std::string& key) const { return held_.contains(key); }

 private:
  void list();
  void next_page(const std::string& after);
  void page_received(Outcome<RangeResult> page);
  void list_complete();
  [[nodiscard]] Known known() const;
  void keep_held();
  void end_hold();
  void forget_values();
  void follow();
  void apply(const std::vector<Event>& events, Revision revision);
  void heard();
  void troubled(const Failure& why);
  void retry_list(const Failure& why);

  Client* client_;
  Scheduler* scheduler_;
  Random random_;
  MirrorOptions options_;
  MirrorHandlers handlers_;
  Backoff backoff_;
  View view_;
  Revision revision_ = 0;
  bool synced_ = false;
  bool told_live_ = false;
  std::optional<Failure> problem_;
  std::uint64_t lists_ = 0;
  Scheduler::Time last_heard_{};

  View listing_;  // the pages so far
  Revision listing_revision_ = 0;
  std::unique_ptr<Watch> watch_;
  Timer retry_;
  bool history_lost_ = false;  // since the last list
  std::set<std::string, std::less<>> held_;
  Timer hold_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weft::etcd
