// Single requests on objects: read, create, replace, patch, apply, delete.
//
// Nothing is repeated here: a write that fails with Failure::unsure may have been carried out, all others were not. A
// write that was based on an older object fails with Reason::conflict: read it again, and repeat on what it is now.
//
// Owner thread only. A callback never runs inside the call that was given it, and runs exactly once unless the Writer
// is destroyed, which cancels what is under way and is allowed from a callback.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "sources/kubernetes/decode.h"
#include "sources/kubernetes/http.h"

namespace weft::kubernetes {

// The object as the server has it now, in JSON.
using Written = std::function<void(Outcome<std::string> object)>;

// What must be so for an object to be deleted; empty: no matter.
struct Preconditions {
  std::string uid;
  std::string resource_version;
};

struct WriterOptions {
  std::string field_manager = "weft";
  std::chrono::milliseconds timeout{10000};
};

// Paths are those of the API: of a collection "/api/v1/namespaces/x/pods", of an object ".../pods/a", of its status
// ".../pods/a/status". Names of objects need no escaping.
class Writer {
 public:
  Writer(Http& http, WriterOptions options) : http_(&http), options_(std::move(options)) {}
  ~Writer() = default;
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void get(const std::string& object, Written done);
  void create(const std::string& collection, std::string json, Written done);
  // With metadata.resourceVersion in the JSON: only if it is that one still. Without: whatever it is.
  void update(const std::string& object, std::string json, Written done);
  // RFC 7396. metadata.resourceVersion in the patch is a condition, as of update.
  void merge_patch(const std::string& object, std::string json, Written done);
  // Server-side apply: these fields are ours, the others stay whose they are; made where it does not exist. `force`:
  // also those that another manager has, which is a conflict otherwise.
  void apply(const std::string& object, std::string json, bool force, Written done);
  void erase(const std::string& object, const Preconditions& preconditions, Written done);

 private:
  void send(Request request, Written done);
  [[nodiscard]] std::string managed() const { return "?fieldManager=" + escape(options_.field_manager); }

  Http* http_;
  WriterOptions options_;
  Decoder decoder_;
  std::uint64_t last_ = 0;
  std::map<std::uint64_t, std::unique_ptr<Transfer>> under_way_;
};

}  // namespace weft::kubernetes
