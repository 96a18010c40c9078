// What a program that logs in is told, and what it prints
// (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins).
#pragma once

#include <string>
#include <string_view>

#include "sources/kubernetes/kubeconfig.h"

namespace weft::kubernetes {

// The value of KUBERNETES_EXEC_INFO. `access` has a login.
std::string exec_info(const Access& access);

// Takes token or certificate and key from what the program printed, and has no login then. Nothing of `access` is
// changed by an error, which names no secret.
Result<void> take_exec_credential(std::string_view printed, Access& access);

}  // namespace weft::kubernetes
