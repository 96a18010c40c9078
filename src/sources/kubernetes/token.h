// The bearer token of requests, as it is now. The kubelet replaces a pod's bound token in its file well before the hour
// it lives for (https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken): the file is read
// again a minute after the last time, and when a server refuses what it said. A file that cannot be read leaves what
// was there. Owner thread only.
#pragma once

#include <optional>
#include <string>

#include "sources/etcd/scheduler.h"

namespace weft::kubernetes {

class Token {
 public:
  using Time = etcd::Scheduler::Time;

  // `file` may be empty: the token is `fixed` for good.
  Token(std::string fixed, std::string file) : text_(std::move(fixed)), file_(std::move(file)) {}

  // Empty: there is none.
  const std::string& current(Time now);
  // A server does not take `used`. True when there is another to be tried.
  bool refused(const std::string& used, Time now);
  // Why the file could not be read; empty when it was.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  void read(Time now);

  std::string text_;
  std::string file_;
  std::string problem_;
  std::optional<Time> read_at_;
};

}  // namespace weft::kubernetes
