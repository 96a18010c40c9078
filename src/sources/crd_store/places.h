// Which object of the API server a key of cluster/keys.h is. Names of objects are names of DNS, which not every key
// is: what had to be changed stands in an annotation, so that each key has one object and each object one key.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sources/cluster/keys.h"
#include "sources/etcd/types.h"

namespace weft::crd {

enum class Resource : std::uint8_t { nodes, blocks, identities, users, endpoints, enforcement, pools, claims };

inline constexpr std::string_view group_version = "weft.io/v1alpha1";

struct ResourceName {
  std::string_view plural;  // "weftnodes"
  std::string_view kind;    // "WeftNode"
  bool namespaced = false;
};
const ResourceName& name_of(Resource resource);

// Where a key lies.
struct Place {
  Resource resource = Resource::nodes;
  std::string name;   // of the object
  std::string claim;  // of a claim: the value of its label
  std::string node;   // of pods: the value of the label that says whose they are
  std::string rest;   // the key without the cluster's root
  bool mark = false;  // the key is a mark on that object
  // The key is a number's labels: no object but a question, by this label.
  std::optional<std::string> labels_digest;
};

class Places {
 public:
  explicit Places(cluster::Keyspace keys);

  // `invalid` for a key of a kind that is not kept here (objects that users apply).
  [[nodiscard]] Result<Place> of(std::string_view key) const;
  // All keys of one kind.
  struct Folder {
    Resource resource = Resource::nodes;
    std::string claim;   // empty: it is no claim
    std::string node;    // of pods of one node: the value of their label
    bool marks = false;  // marks on identities
    std::string prefix;
  };
  // `prefix`: what a mirror follows; `invalid` where that is no whole folder, nor a part of one.
  [[nodiscard]] Result<Folder> folder(std::string_view prefix) const;
  // The key whose object this would be; `annotated` is what the object says of its key, if it says anything.
  [[nodiscard]] Result<std::string> key_of(Resource resource, std::string_view name, std::string_view claim,
                                           const std::string* annotated) const;
  [[nodiscard]] std::string key(std::string_view rest) const { return root_ + std::string(rest); }

 private:
  cluster::Keyspace keys_;
  std::string root_;
};

// Of labels of an identity: two sets may have the same one, however rarely.
std::string digest_of(std::string_view canonical_labels);

}  // namespace weft::crd
