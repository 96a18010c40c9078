#include "sources/kubernetes/testing/api_requests.h"

#include <cstdlib>
#include <string>
#include <utility>

namespace weft::kubernetes::testing {
namespace {

// Of each item the metadata alone, as clients ask for that need no more.
StoreAnswer metadata_only(StoreAnswer answer) {
  if (answer.code != 200) return answer;
  auto list = json::parse(answer.text);
  list["kind"] = "PartialObjectMetadataList";
  list["apiVersion"] = "meta.k8s.io/v1";
  for (auto& item : list["items"])
    item = {{"kind", "PartialObjectMetadata"},
            {"apiVersion", "meta.k8s.io/v1"},
            {"metadata", json(std::move(item["metadata"]))}};
  answer.text = list.dump() + "\n";
  return answer;
}

StoreAnswer list(const ApiStore& store, const HttpRequest& request, const ObjectPath& path) {
  auto answer = store.list(path, selector_of(request, path), request.query_value("resourceVersion"),
                           request.query_value("continue"),
                           static_cast<std::size_t>(std::atoll(request.query_value("limit").c_str())),
                           request.query_value("resourceVersionMatch") == "Exact");
  const bool partial = request.header("accept").find("as=PartialObjectMetadataList") != std::string::npos;
  return partial ? metadata_only(std::move(answer)) : answer;
}

}  // namespace

json parse_body(const HttpRequest& request) {
  auto body = json::parse(request.body, nullptr, false);
  return body.is_object() ? body : json();
}

Selector selector_of(const HttpRequest& request, const ObjectPath& path) {
  Selector selector{.namespace_name = path.namespace_name,
                    .fields = request.query_value("fieldSelector"),
                    .labels = request.query_value("labelSelector")};
  // A watch or list of one object, by its path.
  if (!path.name.empty()) selector.fields += (selector.fields.empty() ? "" : ",") + ("metadata.name=" + path.name);
  return selector;
}

StoreAnswer carry_out(ApiStore& store, const HttpRequest& request, const ObjectPath& path) {
  if (request.method == "GET") return path.name.empty() ? list(store, request, path) : store.get(path);
  const auto body = parse_body(request);
  if (request.method == "DELETE" && !path.name.empty())
    return store.erase(path, body.is_null() ? json::object() : body);
  if (body.is_null()) return status_answer(400, "BadRequest", "the body is no object in JSON");
  if (request.method == "POST" && request.query_value("dryRun") == "All") return {.code = 201, .text = body.dump()};
  if (request.method == "POST" && path.name.empty()) return store.create(path, body);
  if (request.method == "PUT" && !path.name.empty()) return store.update(path, body);
  if (request.method == "PATCH" && !path.name.empty()) {
    const auto type = request.header("content-type");
    if (type == "application/merge-patch+json") return store.patch(path, body, false);
    if (type != "application/apply-patch+yaml")
      return status_answer(415, "UnsupportedMediaType", "only merge patches and apply in JSON are known here");
    if (request.query_value("fieldManager").empty())
      return status_answer(422, "Invalid", "fieldManager is required for apply patch");
    return store.patch(path, body, true);
  }
  return status_answer(405, "MethodNotAllowed", "this cannot be done");
}

}  // namespace weft::kubernetes::testing
