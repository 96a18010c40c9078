// What an API server makes of a request, for whoever carries requests to it.
#pragma once

#include "sources/kubernetes/testing/api_store.h"
#include "sources/kubernetes/testing/connection.h"

namespace weft::kubernetes::testing {

// Null where it is no object.
json parse_body(const HttpRequest& request);
Selector selector_of(const HttpRequest& request, const ObjectPath& path);
// All but watches.
StoreAnswer carry_out(ApiStore& store, const HttpRequest& request, const ObjectPath& path);

}  // namespace weft::kubernetes::testing
