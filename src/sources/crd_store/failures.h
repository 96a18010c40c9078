// What the API server says, in the terms of etcd's clients.
#pragma once

#include <string_view>

#include "sources/etcd/failure.h"
#include "sources/kubernetes/failure.h"

namespace weft::crd {

// `what` is the request in the caller's words: "range /weft/...".
etcd::Failure to_etcd(const kubernetes::Failure& failure);

// The resource is not there at all, in difference to an object of it.
bool is_no_resource(const kubernetes::Failure& failure);

}  // namespace weft::crd
