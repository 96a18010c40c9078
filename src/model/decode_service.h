// The parts of decode_service: what clients outside the node see, and Weft's annotations.
#pragma once

#include "model/decode.h"

namespace weft::model {

// Type, cluster addresses, families and ports of `service` are decoded already.
void decode_external_side(Fields& spec, Service& service);
void decode_load_balancer_status(const Value& status, Service& service);
void decode_service_annotations(const Value& object, Service& service);

}  // namespace weft::model
