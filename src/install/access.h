// The way to the cluster that kubectl would take.
#pragma once

#include <string>

#include "base/result.h"
#include "sources/kubernetes/kubeconfig.h"

namespace weft::install {

// KUBECONFIG's first file that is there, else ~/.kube/config, unless one is named.
struct Where {
  std::string kubeconfig;
  std::string context;
};
// Runs the program that the user logs in with, where it names one, and waits for it up to two minutes; the program
// may write on standard error.
Result<kubernetes::Access> find_access(const Where& where);

}  // namespace weft::install
