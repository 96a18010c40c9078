// Keeps Weft's CustomResourceDefinitions installed: those that this version carries (files in a directory) are applied
// where they are missing or of an older version (annotation weft.io/version). A later version's are left alone, so
// operators of two versions that take turns during an upgrade do not undo each other's.
//
// Owner thread only; a handler must not destroy this.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "sources/etcd/backoff.h"
#include "sources/etcd/scheduler.h"
#include "sources/kubernetes/writer.h"

namespace weft::op {

inline constexpr const char* version_annotation = "weft.io/version";

struct Crd {
  std::string name;       // "podaddresspools.weft.io"
  nlohmann::json object;  // with the annotation
};
// All *.yaml of the directory, which may hold nothing else. Errors name the file.
Result<std::vector<Crd>> load_crds(const std::string& directory, const std::string& version);
// What YAML says in JSON, by its core schema.
Result<nlohmann::json> json_from_yaml(const std::string& file, std::string_view text);
// "0.9.1" is older than "0.10.0"; what is no version is older than any.
bool older(std::string_view a, std::string_view b);

class CrdKeeper {
 public:
  struct Parts {
    kubernetes::Http& http;
    etcd::Scheduler& scheduler;
    etcd::Random random;
    std::vector<Crd> crds;
    std::string version;
    etcd::BackoffOptions backoff{std::chrono::milliseconds(1000), std::chrono::milliseconds(60000)};
    std::chrono::milliseconds pace{300000};  // between two looks
  };
  struct Handlers {
    std::function<bool()> acts;
    std::function<void(const kubernetes::Failure& why)> trouble;
  };
  CrdKeeper(Parts parts, Handlers handlers);
  ~CrdKeeper() = default;
  CrdKeeper(const CrdKeeper&) = delete;
  CrdKeeper& operator=(const CrdKeeper&) = delete;

  void duty_changed();
  // All are there, of this version or a later one.
  [[nodiscard]] bool done() const { return done_; }

 private:
  void look(std::size_t index);
  void looked(std::size_t index, const kubernetes::Outcome<std::string>& object);
  void apply(std::size_t index, const std::string& why);
  void failed(std::size_t index, const kubernetes::Failure& why);
  [[nodiscard]] std::string path_of(const Crd& crd) const;

  Parts parts_;
  Handlers handlers_;
  etcd::Backoff backoff_;
  std::unique_ptr<kubernetes::Writer> writer_;
  bool done_ = false;
  bool refused_ = false;                     // one of this round was
  std::map<std::string, std::string> left_;  // of a later version, which
  etcd::Timer again_;
};

}  // namespace weft::op
