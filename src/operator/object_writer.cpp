#include "operator/object_writer.h"

#include <utility>

namespace weft::op {
namespace {

using kubernetes::Reason;

// Enough to be done with a thousand in a second, and little for the server.
constexpr std::size_t most_under_way = 16;
// Entries of objects that are gone are dropped now and then.
constexpr std::size_t most_kept = 20000;
// Shorter than what an election leaves between two leaders, so that no answer of one comes in the time of the next.
constexpr auto answer_within = std::chrono::seconds(4);

std::unique_ptr<kubernetes::Writer> new_writer(kubernetes::Http& http) {
  return std::make_unique<kubernetes::Writer>(
      http, kubernetes::WriterOptions{.field_manager = "weft-operator", .timeout = answer_within});
}

std::string text_of(const nlohmann::json& object) {
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

ObjectWriter::ObjectWriter(Parts parts, Handlers handlers)
    : parts_(std::move(parts)), handlers_(std::move(handlers)), writer_(new_writer(parts_.http)) {}

bool ObjectWriter::start(const std::string& path, const std::string& version, const Send& send,
                         std::function<void()> written) {
  if (under_way_ >= most_under_way) return false;
  if (tries_.size() > most_kept) std::erase_if(tries_, [](const auto& one) { return !one.second.under_way; });
  auto& known = tries_.try_emplace(path, Try{.backoff = etcd::Backoff(parts_.backoff, parts_.random)}).first->second;
  if (known.under_way || (known.version == version && known.waits)) return false;
  // It was written, and the view does not show it yet.
  if (known.version == version && known.number != 0 && !known.refused && !known.again) return false;
  if (known.version != version) known.backoff.reset();
  known.version = version;
  known.under_way = true;
  known.refused = known.waits = false;
  known.again.cancel();
  known.number = ++last_;
  ++under_way_;
  send([this, path, number = known.number, written = std::move(written)](
           const kubernetes::Outcome<std::string>& outcome) { ended(path, number, outcome, written); });
  return true;
}

bool ObjectWriter::write(const std::string& path, const std::string& version, nlohmann::json patch,
                         std::function<void()> written) {
  patch["metadata"]["resourceVersion"] = version;
  return start(
      path, version, [&](kubernetes::Written done) { writer_->merge_patch(path, text_of(patch), std::move(done)); },
      std::move(written));
}

bool ObjectWriter::create(const std::string& path, const std::string& collection, const std::string& version,
                          const nlohmann::json& object) {
  return start(path, version,
               [&](kubernetes::Written done) { writer_->create(collection, text_of(object), std::move(done)); }, {});
}

bool ObjectWriter::erase(const std::string& path, const std::string& uid, const std::string& version) {
  return start(path, version,
               [&](kubernetes::Written done) {
                 writer_->erase(path, {.uid = uid, .resource_version = version}, std::move(done));
               },
               {});
}

void ObjectWriter::ended(const std::string& path, std::uint64_t number, const kubernetes::Outcome<std::string>& outcome,
                         const std::function<void()>& written) {
  --under_way_;
  const auto known = tries_.find(path);
  if (known == tries_.end() || known->second.number != number) return;
  auto& one = known->second;
  one.under_way = false;
  if (outcome) {
    one.backoff.reset();
    if (written) written();
  } else {
    const auto& why = outcome.error();
    one.refused = !why.unsure;
    one.waits = true;
    // The view will show it. If it does not, it is asked again as after any failure.
    const bool moved =
        why.reason == Reason::conflict || why.reason == Reason::not_found || why.reason == Reason::exists;
    one.again = parts_.scheduler.after(std::max(one.backoff.next(), why.retry_after), [this, path] {
      const auto waiting = tries_.find(path);
      if (waiting != tries_.end()) waiting->second.waits = false;
      if (handlers_.again) handlers_.again();
    });
    if (!moved && handlers_.trouble) handlers_.trouble(why);
  }
  if (handlers_.again) handlers_.again();
}

bool ObjectWriter::pending(const std::string& path, const std::string& version) const {
  const auto known = tries_.find(path);
  return known != tries_.end() && known->second.version == version && known->second.number != 0 &&
         !known->second.refused;
}

void ObjectWriter::stop() {
  writer_ = new_writer(parts_.http);
  tries_.clear();
  under_way_ = 0;
}

}  // namespace weft::op
