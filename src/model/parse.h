// YAML (or JSON, its subset) text -> objects. Pure; reads no files.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "model/objects.h"

namespace weft::model {

// One thing wrong with one document.
struct Problem {
  std::string file;
  int line = 0;         // 1-based
  int column = 0;       // 1-based
  std::string path;     // "spec.ingress[0].ports[1].port"; empty for the document itself
  std::string message;  // what was found and what was expected
  // "web.yaml:12:9: spec.ports[0].port: expected a number from 1 to 65535, found \"http\""
  [[nodiscard]] std::string to_string() const;
};

// A document that parsed, with its normalised Kubernetes JSON text (the form `weft get -o json`
// prints and the store keeps).
struct Document {
  Object object;
  std::string json;
  // Where to point when the node refuses the object: what a Service says about its cluster IPs, else
  // the object itself; and the fields by which a Service asks for other numbers and addresses. No messages.
  Problem place;
  std::vector<Problem> fields;
  // The uid that with_uid has put into `json` already; empty: none.
  std::string prepared_uid;

  // Of one of them that is not granted for this reason, which begins with "spec.loadBalancerIP: " or another path: the
  // problem at that place (which may be the annotation's), else at `place`.
  [[nodiscard]] Problem refused(std::string_view reason) const;
};

struct ParseOutcome {
  std::vector<Document> documents;  // the good ones, in order
  std::vector<Problem> problems;    // every problem of every bad document
  std::vector<Problem> warnings;    // kinds and fields known to Kubernetes that Weft does not act on
};

// `text` may hold several documents and `kind: List` objects. A document of a kind Weft does not
// know (ConfigMap, ServiceAccount ...) is a warning and is skipped; an unknown or misplaced field
// of a network-relevant object (misspelt podSelector, say) is a problem.
ParseOutcome parse_manifests(std::string_view file, std::string_view text);

// The inverse for the store: JSON made by parse_manifests (trusted less than it should be: errors are returned).
Result<Object> object_from_json(std::string_view json);

// An object of that kind as the Kubernetes API server `from` (for messages) has it, in lists without apiVersion and
// kind. What this version does not know of it is passed over: the server has checked it, and may be newer. The text is
// the stored one; metadata.uid stays in it. A Service has no selector: its endpoints are those of its EndpointSlices,
// which the cluster's controller makes, alone.
struct ApiObject {
  Object object;
  std::string json;
  std::string misspelt;  // annotations of Weft's that are nearly ones that count, in words; empty: none
};
Result<ApiObject> object_from_api(Kind kind, std::string_view from, std::string_view json);
// What to enforce of a NetworkPolicy that object_from_api cannot read: it isolates, and allows nothing. The pods are
// those of its podSelector where that can be read, else all of its namespace; the directions those of its policyTypes,
// else both. An error: not even its name can be read.
Result<ApiObject> closed_policy_from_api(std::string_view from, std::string_view json);

// metadata.uid is the store's: it is kept beside the source location, in Weft's private key, so that a
// document with it and one without say the same. `uid_of`: the object's own or the one kept; may be empty.
std::string uid_of(std::string_view json);
std::string with_uid(std::string_view json, std::string_view uid);

// The JSON without the object's status.
std::string without_status(std::string_view json);

// The JSON without Weft's private key (source location and uid), as users see it, metadata.uid
// included. Text that is not a JSON object comes back as it is.
std::string public_json(std::string_view json);

// YAML rendering of a JSON text, for `weft get -o yaml`.
std::string yaml_from_json(std::string_view json);

}  // namespace weft::model
