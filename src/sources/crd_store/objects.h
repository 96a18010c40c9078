// Keys and values of cluster/values.h as objects of the API server, and back.
//
// `spec` has the value's fields, in the spelling that Kubernetes has (bootId for boot_id); nothing is lost on the way:
// what comes back is the same text, since transactions compare texts. A block says its pool and CIDR besides, for
// people. Foreign objects are read with distrust: what cannot be a key is an error that names the object; what is one
// and has a strange spec becomes a value that values.h refuses, naming the key.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sources/crd_store/places.h"
#include "sources/etcd/types.h"

namespace weft::crd {

inline constexpr std::string_view claim_label = "weft.io/claim";
inline constexpr std::string_view session_label = "weft.io/session";
inline constexpr std::string_view labels_label = "weft.io/labels";
inline constexpr std::string_view node_label = "weft.io/node";
inline constexpr std::string_view key_annotation = "weft.io/key";
inline constexpr std::string_view unused_annotation = "weft.io/unused";
// Another with each write: the API server does not write, nor count, what is as it was.
inline constexpr std::string_view write_annotation = "weft.io/write";

// What an object is beside its value.
struct Writing {
  etcd::LeaseId lease = 0;
  std::string lease_uid;        // of its Lease, which owns it
  bool marked = false;          // an identity that had no user in a round of the collector
  etcd::Revision revision = 0;  // that it is written over; 0: it is new
  std::uint64_t nonce = 0;
};

// An object as it was read.
struct Stored {
  etcd::KeyValue kv;
  std::string uid;
  bool marked = false;
  std::uint64_t nonce = 0;
};

// Of a session: its Lease's name, and the label of its claims.
std::string session_text(etcd::LeaseId lease);  // 16 hex digits
std::string lease_name(etcd::LeaseId lease);
// 0: it is no session's.
etcd::LeaseId session_of(std::string_view text);

class Codec {
 public:
  Codec(Places places, std::string namespace_name)
      : places_(std::move(places)), namespace_(std::move(namespace_name)) {}

  [[nodiscard]] const Places& places() const { return places_; }
  [[nodiscard]] const std::string& namespace_name() const { return namespace_; }

  [[nodiscard]] Result<std::string> encode(const Place& place, std::string_view value, const Writing& writing) const;
  // Of a PartialObjectMetadata the value is empty.
  [[nodiscard]] Result<Stored> decode(Resource resource, std::string_view json) const;

 private:
  Places places_;
  std::string namespace_;
};

}  // namespace weft::crd
