#include "sources/etcd/wire.h"

#include <algorithm>
#include <utility>

namespace weft::etcd::wire {
namespace {

namespace pb = etcdserverpb;

void set_keys(auto& message, const Keys& keys) {
  message.set_key(keys.key);
  if (!keys.end.empty()) message.set_range_end(keys.end);
}

KeyValue take(pb::KeyValue& from) {
  return {.key = std::move(*from.mutable_key()),
          .value = std::move(*from.mutable_value()),
          .create_revision = from.create_revision(),
          .mod_revision = from.mod_revision(),
          .version = from.version(),
          .lease = from.lease()};
}

pb::Compare encode(const Compare& compare) {
  pb::Compare message;
  message.set_key(compare.key);
  if (!compare.end.empty()) message.set_range_end(compare.end);
  switch (compare.is) {
    case Compare::Is::equal:
      message.set_result(pb::Compare::EQUAL);
      break;
    case Compare::Is::greater:
      message.set_result(pb::Compare::GREATER);
      break;
    case Compare::Is::less:
      message.set_result(pb::Compare::LESS);
      break;
    case Compare::Is::not_equal:
      message.set_result(pb::Compare::NOT_EQUAL);
      break;
  }
  switch (compare.target) {
    case Compare::Target::version:
      message.set_target(pb::Compare::VERSION);
      message.set_version(compare.number);
      break;
    case Compare::Target::create_revision:
      message.set_target(pb::Compare::CREATE);
      message.set_create_revision(compare.number);
      break;
    case Compare::Target::mod_revision:
      message.set_target(pb::Compare::MOD);
      message.set_mod_revision(compare.number);
      break;
    case Compare::Target::value:
      message.set_target(pb::Compare::VALUE);
      message.set_value(compare.value);
      break;
    case Compare::Target::lease:
      message.set_target(pb::Compare::LEASE);
      message.set_lease(compare.number);
      break;
  }
  return message;
}

pb::RequestOp encode(const Op& op) {
  pb::RequestOp message;
  if (const auto* range = std::get_if<RangeRequest>(&op))
    *message.mutable_request_range() = wire::encode(*range);
  else if (const auto* put = std::get_if<PutRequest>(&op))
    *message.mutable_request_put() = wire::encode(*put);
  else
    *message.mutable_request_delete_range() = wire::encode(std::get<EraseRequest>(op));
  return message;
}

Outcome<OpResult> decode_op(pb::ResponseOp& op) {
  const auto widen = [](auto result) -> Outcome<OpResult> {
    if (!result) return std::unexpected(std::move(result.error()));
    return OpResult(std::move(*result));
  };
  switch (op.response_case()) {
    case pb::ResponseOp::kResponseRange:
      return widen(decode(*op.mutable_response_range()));
    case pb::ResponseOp::kResponsePut:
      return widen(decode(*op.mutable_response_put()));
    case pb::ResponseOp::kResponseDeleteRange:
      return widen(decode(*op.mutable_response_delete_range()));
    case pb::ResponseOp::RESPONSE_NOT_SET:
      break;
  }
  return failed(Reason::internal, "the answer holds an operation of no known kind");
}

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace

pb::RangeRequest encode(const RangeRequest& request) {
  pb::RangeRequest message;
  set_keys(message, request.keys);
  message.set_limit(request.limit);
  message.set_revision(request.revision);
  message.set_keys_only(request.keys_only);
  message.set_count_only(request.count_only);
  message.set_serializable(request.serializable);
  return message;
}

pb::PutRequest encode(const PutRequest& request) {
  pb::PutRequest message;
  message.set_key(request.key);
  message.set_value(request.value);
  message.set_lease(request.lease);
  return message;
}

pb::DeleteRangeRequest encode(const EraseRequest& request) {
  pb::DeleteRangeRequest message;
  set_keys(message, request.keys);
  return message;
}

pb::TxnRequest encode(const Txn& request) {
  pb::TxnRequest message;
  for (const auto& compare : request.compare) *message.add_compare() = encode(compare);
  for (const auto& op : request.then) *message.add_success() = encode(op);
  for (const auto& op : request.otherwise) *message.add_failure() = encode(op);
  return message;
}

pb::WatchRequest encode(const WatchRequest& request) {
  pb::WatchRequest message;
  auto& create = *message.mutable_create_request();
  set_keys(create, request.keys);
  create.set_start_revision(request.start_revision);
  create.set_progress_notify(true);
  return message;
}

Outcome<RangeResult> decode(pb::RangeResponse& response) {
  RangeResult result{.revision = response.header().revision(), .more = response.more(), .count = response.count()};
  result.kvs.reserve(static_cast<std::size_t>(response.kvs_size()));
  for (auto& kv : *response.mutable_kvs()) {
    result.kvs.push_back(take(kv));
    const auto count = result.kvs.size();
    if (count > 1 && result.kvs[count - 2].key >= result.kvs[count - 1].key)
      return failed(Reason::internal, "the answer's keys are not in order");
  }
  if (result.more && result.kvs.empty()) return failed(Reason::internal, "the answer promises more but holds no key");
  return result;
}

Outcome<PutResult> decode(pb::PutResponse& response) { return PutResult{response.header().revision()}; }

Outcome<EraseResult> decode(pb::DeleteRangeResponse& response) {
  return EraseResult{response.header().revision(), response.deleted()};
}

Outcome<TxnResult> decode(pb::TxnResponse& response) {
  TxnResult result{.revision = response.header().revision(), .succeeded = response.succeeded()};
  result.results.reserve(static_cast<std::size_t>(response.responses_size()));
  for (auto& op : *response.mutable_responses()) {
    auto decoded = decode_op(op);
    if (!decoded) return std::unexpected(std::move(decoded.error()));
    result.results.push_back(std::move(*decoded));
  }
  return result;
}

Outcome<void> decode(pb::CompactionResponse& /*response*/) { return {}; }

Outcome<LeaseGrant> decode(pb::LeaseGrantResponse& response) {
  if (!response.error().empty()) return failed(Reason::internal, response.error());
  if (response.id() == 0 || response.ttl() <= 0) return failed(Reason::internal, "the answer grants no lease");
  return LeaseGrant{response.id(), std::chrono::seconds(response.ttl())};
}

Outcome<std::chrono::seconds> decode(pb::LeaseKeepAliveResponse& response) {
  // etcd answers the keepalive of a lease that has ended with a time to live of zero, not an error.
  if (response.ttl() <= 0) return failed(Reason::lease_not_found, "the lease has ended");
  return std::chrono::seconds(response.ttl());
}

Outcome<void> decode(pb::LeaseRevokeResponse& /*response*/) { return {}; }

Outcome<Status> decode(pb::StatusResponse& response) {
  const auto full = [](const std::string& error) { return error.find("alarm:NOSPACE") != std::string::npos; };
  return Status{.endpoint = {},
                .version = response.version(),
                .revision = response.header().revision(),
                .cluster_id = response.header().cluster_id(),
                .member_id = response.header().member_id(),
                .leader = response.leader(),
                .database_bytes = response.dbsize(),
                .full = std::ranges::any_of(response.errors(), full)};
}

Outcome<WatchBatch> decode(pb::WatchResponse& response) {
  WatchBatch batch{.revision = response.header().revision(), .cluster_id = response.header().cluster_id()};
  if (response.compact_revision() > 0) {
    Failure failure{.reason = Reason::compacted, .message = "the history up to the start has been compacted"};
    failure.compact_revision = response.compact_revision();
    return std::unexpected(std::move(failure));
  }
  if (response.canceled()) {
    const auto& reason = response.cancel_reason();
    return failed(has(reason, "permission denied") ? Reason::denied : Reason::unavailable,
                  reason.empty() ? "etcd ended the watch" : reason);
  }
  if (response.created()) {
    batch.kind = WatchBatch::Kind::created;
    return batch;
  }
  if (response.events_size() == 0) {
    batch.kind = response.watch_id() == -1 ? WatchBatch::Kind::alive : WatchBatch::Kind::progress;
    return batch;
  }
  batch.kind = WatchBatch::Kind::events;
  batch.events.reserve(static_cast<std::size_t>(response.events_size()));
  Revision last = 0;
  for (auto& event : *response.mutable_events()) {
    const auto type = event.type() == pb::Event::DELETE ? Event::Type::erase : Event::Type::put;
    batch.events.push_back({type, take(*event.mutable_kv())});
    const Revision revision = batch.events.back().kv.mod_revision;
    if (revision < last) return failed(Reason::internal, "the events are not in order");
    last = revision;
  }
  batch.revision = last;
  return batch;
}

bool fits(const Txn& request, const TxnResult& result) {
  const auto& branch = result.succeeded ? request.then : request.otherwise;
  if (branch.size() != result.results.size()) return false;
  for (std::size_t i = 0; i < branch.size(); ++i)
    if (branch[i].index() != result.results[i].index()) return false;
  return true;
}

Reason reason_of(int status_code, std::string_view message) {
  // The numbers of gRPC's status codes; etcd says the rest in words.
  switch (status_code) {
    case 1:
      return Reason::cancelled;
    case 3:
      if (has(message, "authentication failed") || has(message, "user name is empty") || is_stale_token(3, message))
        return Reason::unauthenticated;
      return Reason::invalid;
    case 4:
      return Reason::deadline;
    case 5:
      return has(message, "lease not found") ? Reason::lease_not_found : Reason::invalid;
    case 7:
      return Reason::denied;
    case 8:
      return Reason::exhausted;
    case 9:
      if (has(message, "lease already exists")) return Reason::lease_exists;
      return has(message, "not leader") ? Reason::no_leader : Reason::invalid;
    case 11:
      if (has(message, "compacted")) return Reason::compacted;
      return has(message, "future revision") ? Reason::future_revision : Reason::invalid;
    case 12:
      return Reason::invalid;
    case 14:
      return has(message, "no leader") || has(message, "leader changed") ? Reason::no_leader : Reason::unavailable;
    case 16:
      return Reason::unauthenticated;
    default:
      return Reason::internal;
  }
}

bool is_stale_token(int status_code, std::string_view message) {
  return (status_code == 16 && has(message, "invalid auth token")) ||
         (status_code == 3 && (has(message, "revision of auth store is old") || has(message, "user name is empty")));
}

}  // namespace weft::etcd::wire
