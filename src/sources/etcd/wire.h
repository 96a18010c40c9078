// Values to etcd's messages and back, and its errors to reasons. Inside this room only.
// What comes from the wire is not trusted: an answer that does not fit the question is a Failure.
#pragma once

#include <etcd.pb.h>  // made of etcd.proto

#include <string>
#include <string_view>

#include "sources/etcd/types.h"

namespace weft::etcd::wire {

etcdserverpb::RangeRequest encode(const RangeRequest& request);
etcdserverpb::PutRequest encode(const PutRequest& request);
etcdserverpb::DeleteRangeRequest encode(const EraseRequest& request);
etcdserverpb::TxnRequest encode(const Txn& request);
etcdserverpb::WatchRequest encode(const WatchRequest& request);

Outcome<RangeResult> decode(etcdserverpb::RangeResponse& response);
Outcome<PutResult> decode(etcdserverpb::PutResponse& response);
Outcome<EraseResult> decode(etcdserverpb::DeleteRangeResponse& response);
Outcome<TxnResult> decode(etcdserverpb::TxnResponse& response);
Outcome<void> decode(etcdserverpb::CompactionResponse& response);
Outcome<LeaseGrant> decode(etcdserverpb::LeaseGrantResponse& response);
Outcome<std::chrono::seconds> decode(etcdserverpb::LeaseKeepAliveResponse& response);
Outcome<void> decode(etcdserverpb::LeaseRevokeResponse& response);
Outcome<Status> decode(etcdserverpb::StatusResponse& response);
// A cancelled watch is a Failure: compacted, denied, or what its reason says.
Outcome<WatchBatch> decode(etcdserverpb::WatchResponse& response);

// Whether every operation of the branch taken has a result of its kind.
bool fits(const Txn& request, const TxnResult& result);

// The reason of a gRPC status (its number) with etcd's words.
Reason reason_of(int status_code, std::string_view message);
// The server refused because of our token: a new one may do.
bool is_stale_token(int status_code, std::string_view message);

}  // namespace weft::etcd::wire
