// Single requests on objects, each until a deadline: what is known not to have been carried out because the server asks
// to slow down is tried again when it says. Answers are told in the API's own terms (kubernetes/failure.h).
//
// Owner thread only. Destroying this cancels what is under way; no callback runs after that.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sources/crd_store/objects.h"
#include "sources/crd_store/task.h"
#include "sources/etcd/scheduler.h"
#include "sources/kubernetes/decode.h"
#include "sources/kubernetes/http.h"
#include "sources/kubernetes/json_stream.h"

namespace weft::crd {

// Of an object: absent where there is none.
using Found = kubernetes::Outcome<std::optional<Stored>>;
using Wrote = kubernetes::Outcome<Stored>;

struct Listing {
  etcd::Revision revision = 0;
  std::vector<Stored> items;
};
struct ListRequest {
  Resource resource = Resource::nodes;
  std::string label_selector;
  std::string name;             // of one object
  etcd::Revision revision = 0;  // 0: now; else the state as of then
  bool metadata_only = false;
};

class Calls {
 public:
  struct Parts {
    kubernetes::Http& http;
    etcd::Scheduler& scheduler;
    const Codec& codec;
    // Of objects that cannot be keys; the list goes on without them.
    std::function<void(const Error& error)> trouble;
  };
  explicit Calls(Parts parts) : parts_(std::move(parts)) {}
  ~Calls() = default;
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  // Requests made from here on until the coroutine ends are over by then.
  using Deadline = etcd::Scheduler::Time;

  Task<Found> get(Resource resource, std::string name, Deadline deadline);
  Task<kubernetes::Outcome<Listing>> list(ListRequest request, Deadline deadline);
  // Reason::exists where there is one already.
  Task<Wrote> create(Resource resource, std::string json, Deadline deadline);
  // Reason::conflict where it is another than the one that the JSON's resourceVersion says; not_found.
  Task<Wrote> replace(Resource resource, std::string name, std::string json, Deadline deadline);
  // Whether there was one; Reason::conflict where it is of another revision. 0: of any.
  Task<kubernetes::Outcome<bool>> erase(Resource resource, std::string name, etcd::Revision revision,
                                        Deadline deadline);
  // Any other request: the answer's body.
  Task<kubernetes::Outcome<std::string>> send(kubernetes::Request request, Deadline deadline);

  // "/apis/weft.io/v1alpha1/weftnodes"
  [[nodiscard]] std::string path(Resource resource) const;
  // "metadata.resourceVersion" and the like of an answer, unless it makes no sense.
  Wrote read(Resource resource, const std::string& json);
  // When the server answered last, whatever it said.
  [[nodiscard]] Deadline heard() const { return heard_; }

 private:
  struct Page {
    kubernetes::Outcome<kubernetes::Answer> answer;
    std::string rest;  // of the list, without its items
  };
  void start(kubernetes::Request request, kubernetes::RequestHandlers handlers,
             std::function<void(kubernetes::Outcome<kubernetes::Answer>)> done);
  Task<Page> page(const ListRequest& request, std::string more, Listing& listing, Deadline deadline);
  Task<kubernetes::Outcome<kubernetes::Answer>> once(kubernetes::Request request, Deadline deadline);

  Parts parts_;
  kubernetes::Decoder decoder_;
  Deadline heard_{};
  std::uint64_t last_ = 0;
  std::map<std::uint64_t, std::unique_ptr<kubernetes::Transfer>> under_way_;
  std::map<std::uint64_t, etcd::Timer> waiting_;
};

}  // namespace weft::crd
