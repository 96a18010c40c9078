#include "sources/crd_store/calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "sources/crd_store/failures.h"

namespace weft::crd {

using kubernetes::Answer;
using kubernetes::Reason;
using std::chrono::milliseconds;

namespace {

constexpr int page_size = 500;
constexpr const char* partial_list =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
constexpr const char* as_json = "application/json";

std::string place_of(const kubernetes::Request& request) {
  return fmt::format("{} {}", request.method, request.target.substr(0, request.target.find('?')));
}

etcd::Revision revision_in(std::string_view digits) {
  etcd::Revision revision = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), revision);
  return error == std::errc() && end == digits.data() + digits.size() ? revision : 0;
}

}  // namespace

std::string Calls::path(Resource resource) const {
  const auto& name = name_of(resource);
  return name.namespaced
             ? fmt::format("/apis/{}/namespaces/{}/{}", group_version, parts_.codec.namespace_name(), name.plural)
             : fmt::format("/apis/{}/{}", group_version, name.plural);
}

void Calls::start(kubernetes::Request request, kubernetes::RequestHandlers handlers,
                  std::function<void(kubernetes::Outcome<Answer>)> done) {
  const std::uint64_t number = ++last_;
  handlers.done = [this, number, done = std::move(done)](kubernetes::Outcome<Answer> outcome) {
    const auto transfer = std::move(under_way_.extract(number).mapped());
    if (outcome) heard_ = parts_.scheduler.now();
    done(std::move(outcome));
  };
  under_way_[number] = parts_.http.start(std::move(request), std::move(handlers));
}

// Whatever the status, unless there is no answer. What the server asks to have later is asked again then.
Task<kubernetes::Outcome<Answer>> Calls::once(kubernetes::Request request, Deadline deadline) {
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - parts_.scheduler.now());
    if (left.count() <= 0)
      co_return kubernetes::failed(Reason::deadline,
                                   place_of(request) + ": the time for it was over before it was sent");
    request.timeout = left;
    Answered<kubernetes::Outcome<Answer>> answered(
        [this, &request](auto done) { start(request, {}, std::move(done)); });
    auto answer = co_await answered;
    if (!answer || answer->status != 429) co_return std::move(answer);
    const auto wait = std::max(answer->retry_after, milliseconds(100));
    if (parts_.scheduler.now() + wait >= deadline) co_return std::move(answer);
    Answered<bool> waited([this, wait](auto done) {
      const std::uint64_t number = ++last_;
      waiting_[number] = parts_.scheduler.after(wait, [this, number, done = std::move(done)] {
        const auto timer = std::move(waiting_.extract(number).mapped());
        done(true);
      });
    });
    co_await waited;
  }
}

Task<kubernetes::Outcome<std::string>> Calls::send(kubernetes::Request request, Deadline deadline) {
  const auto place = place_of(request);
  const bool writes = request.method != "GET";
  Task<kubernetes::Outcome<Answer>> sending = once(std::move(request), deadline);
  auto answer = co_await sending;
  if (!answer) co_return std::unexpected(std::move(answer.error()));
  if (answer->good()) co_return std::move(answer->body);
  auto failure = decoder_.answer(answer->status, answer->body, fmt::format("{} of {}", place, answer->server));
  if (answer->retry_after.count() >= 0) failure.retry_after = answer->retry_after;
  // 5xx may come after the write: a timeout on the way to etcd is answered so.
  failure.unsure = writes && answer->status >= 500;
  // An object that etcd does not take for its length.
  if (answer->status == 413 || (failure.unsure && failure.message.find("too large") != std::string::npos)) {
    failure.reason = Reason::too_large;
    failure.unsure = false;
  }
  co_return std::unexpected(std::move(failure));
}

Wrote Calls::read(Resource resource, const std::string& json) {
  auto stored = parts_.codec.decode(resource, json);
  if (!stored) return kubernetes::failed(Reason::internal, stored.error().message);
  return std::move(*stored);
}

Task<Found> Calls::get(Resource resource, std::string name, Deadline deadline) {
  kubernetes::Request request{.target = path(resource) + "/" + name};
  Task<kubernetes::Outcome<std::string>> sending = send(std::move(request), deadline);
  const auto answer = co_await sending;
  if (!answer) {
    if (answer.error().reason == Reason::not_found && !is_no_resource(answer.error()))
      co_return std::optional<Stored>();
    co_return std::unexpected(answer.error());
  }
  auto stored = read(resource, *answer);
  if (!stored) co_return std::unexpected(stored.error());
  co_return std::optional<Stored>(std::move(*stored));
}

Task<Wrote> Calls::create(Resource resource, std::string json, Deadline deadline) {
  kubernetes::Request request{.method = "POST",
                              .target = path(resource) + "?fieldManager=weft",
                              .content_type = as_json,
                              .body = std::move(json)};
  Task<kubernetes::Outcome<std::string>> sending = send(std::move(request), deadline);
  const auto answer = co_await sending;
  if (!answer) co_return std::unexpected(answer.error());
  co_return read(resource, *answer);
}

Task<Wrote> Calls::replace(Resource resource, std::string name, std::string json, Deadline deadline) {
  kubernetes::Request request{.method = "PUT",
                              .target = path(resource) + "/" + name + "?fieldManager=weft",
                              .content_type = as_json,
                              .body = std::move(json)};
  Task<kubernetes::Outcome<std::string>> sending = send(std::move(request), deadline);
  const auto answer = co_await sending;
  if (!answer) co_return std::unexpected(answer.error());
  co_return read(resource, *answer);
}

Task<kubernetes::Outcome<bool>> Calls::erase(Resource resource, std::string name, etcd::Revision revision,
                                             Deadline deadline) {
  kubernetes::Request request{.method = "DELETE", .target = path(resource) + "/" + name};
  if (revision != 0) {
    request.content_type = as_json;
    request.body = fmt::format(
        R"({{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{{"resourceVersion":"{}"}}}})", revision);
  }
  Task<kubernetes::Outcome<std::string>> sending = send(std::move(request), deadline);
  const auto answer = co_await sending;
  if (answer) co_return true;
  if (answer.error().reason == Reason::not_found && !is_no_resource(answer.error())) co_return false;
  co_return std::unexpected(answer.error());
}

Task<Calls::Page> Calls::page(const ListRequest& request, std::string more, Listing& listing, Deadline deadline) {
  kubernetes::Request ask{.target = fmt::format("{}?limit={}", path(request.resource), page_size)};
  if (!request.label_selector.empty()) ask.target += "&labelSelector=" + kubernetes::escape(request.label_selector);
  if (!request.name.empty()) ask.target += "&fieldSelector=" + kubernetes::escape("metadata.name=" + request.name);
  if (!more.empty())
    ask.target += "&continue=" + kubernetes::escape(more);
  else if (request.revision != 0)
    ask.target += fmt::format("&resourceVersion={}&resourceVersionMatch=Exact", request.revision);
  if (request.metadata_only) ask.accept = partial_list;
  ask.stream = true;
  ask.timeout = std::chrono::duration_cast<milliseconds>(deadline - parts_.scheduler.now());
  ask.idle = std::max(ask.timeout, milliseconds(1));
  const auto place = place_of(ask);
  kubernetes::ItemSplitter items;
  std::optional<Error> bad;
  Answered<kubernetes::Outcome<Answer>> answered([&](auto done) {
    start(ask,
          {.bytes =
               [&](std::string_view bytes) {
                 if (bad) return;
                 auto taken = items.push(bytes, [&](std::string_view json) {
                   auto stored = parts_.codec.decode(request.resource, json);
                   if (stored)
                     listing.items.push_back(std::move(*stored));
                   else if (parts_.trouble)
                     parts_.trouble(stored.error());
                 });
                 if (!taken) bad = taken.error();
               }},
          std::move(done));
  });
  auto came = co_await answered;
  Page page{.answer = std::move(came), .rest = {}};
  if (!page.answer) co_return std::move(page);
  if (!page.answer->good()) {
    auto failure =
        decoder_.answer(page.answer->status, page.answer->body, fmt::format("{} of {}", place, page.answer->server));
    if (page.answer->retry_after.count() >= 0) failure.retry_after = page.answer->retry_after;
    page.answer = std::unexpected(std::move(failure));
    co_return std::move(page);
  }
  const auto rest = bad ? Result<std::string_view>(fail(*bad)) : items.finish();
  if (!rest)
    page.answer = kubernetes::failed(Reason::unavailable, fmt::format("{}: {}", place, rest.error().message));
  else
    page.rest = *rest;
  co_return std::move(page);
}

Task<kubernetes::Outcome<Listing>> Calls::list(ListRequest request, Deadline deadline) {
  Listing listing;
  std::string more;
  for (;;) {
    Task<Page> asking = page(request, more, listing, deadline);
    const auto page = co_await asking;
    if (!page.answer) co_return std::unexpected(page.answer.error());
    const auto end = nlohmann::json::parse(page.rest, nullptr, false);
    const auto metadata = end.is_object() ? end.value("metadata", nlohmann::json::object()) : nlohmann::json::object();
    const auto of = [&](const char* key) {
      const auto found = metadata.is_object() ? metadata.find(key) : metadata.end();
      return found != metadata.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    // Pages are of the first one's version.
    if (listing.revision == 0) listing.revision = revision_in(of("resourceVersion"));
    if (listing.revision == 0)
      co_return kubernetes::failed(Reason::internal,
                                   path(request.resource) + ": the list has no resourceVersion that is a number");
    auto next = of("continue");
    if (next.empty()) co_return std::move(listing);
    if (next == more)
      co_return kubernetes::failed(Reason::internal,
                                   path(request.resource) + ": the list leads to the same page again");
    more = std::move(next);
  }
}

}  // namespace weft::crd
