#include "sources/kubernetes/writer.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

namespace weft::kubernetes {

void Writer::send(Request request, Written done) {
  const std::uint64_t number = ++last_;
  request.timeout = options_.timeout;
  const std::string place = fmt::format("{} {}", request.method, request.target.substr(0, request.target.find('?')));
  auto answered = [this, number, place, done = std::move(done)](Outcome<Answer> outcome) {
    const auto transfer = std::move(under_way_.extract(number).mapped());
    if (!outcome) return done(std::unexpected(std::move(outcome.error())));
    if (outcome->good()) return done(std::move(outcome->body));
    auto failure = decoder_.answer(outcome->status, outcome->body, fmt::format("{} of {}", place, outcome->server));
    if (outcome->retry_after.count() >= 0) failure.retry_after = outcome->retry_after;
    // 5xx may come after the write: a timeout on the way to etcd is answered so.
    failure.unsure = !place.starts_with("GET ") && outcome->status >= 500;
    done(std::unexpected(std::move(failure)));
  };
  under_way_[number] = http_->start(std::move(request), {.done = std::move(answered)});
}

void Writer::get(const std::string& object, Written done) { send({.target = object}, std::move(done)); }

void Writer::create(const std::string& collection, std::string json, Written done) {
  send(
      {.method = "POST", .target = collection + managed(), .content_type = "application/json", .body = std::move(json)},
      std::move(done));
}

void Writer::update(const std::string& object, std::string json, Written done) {
  send({.method = "PUT", .target = object + managed(), .content_type = "application/json", .body = std::move(json)},
       std::move(done));
}

void Writer::merge_patch(const std::string& object, std::string json, Written done) {
  send({.method = "PATCH",
        .target = object + managed(),
        .content_type = "application/merge-patch+json",
        .body = std::move(json)},
       std::move(done));
}

void Writer::apply(const std::string& object, std::string json, bool force, Written done) {
  // JSON is YAML.
  send({.method = "PATCH",
        .target = object + managed() + (force ? "&force=true" : ""),
        .content_type = "application/apply-patch+yaml",
        .body = std::move(json)},
       std::move(done));
}

void Writer::erase(const std::string& object, const Preconditions& preconditions, Written done) {
  nlohmann::json wanted = nlohmann::json::object();
  if (!preconditions.uid.empty()) wanted["uid"] = preconditions.uid;
  if (!preconditions.resource_version.empty()) wanted["resourceVersion"] = preconditions.resource_version;
  Request request{.method = "DELETE", .target = object};
  if (!wanted.empty()) {
    request.content_type = "application/json";
    request.body = nlohmann::json{{"kind", "DeleteOptions"}, {"apiVersion", "v1"}, {"preconditions", wanted}}.dump(
        -1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  send(std::move(request), std::move(done));
}

}  // namespace weft::kubernetes
