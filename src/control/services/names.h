// Texts held once and counted: namespaces, names and labels repeat in every object, and a handle of one
// word is what keeps fifty thousand Services small.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/objects.h"

namespace weft::control::services {

class NamePool;

// A text of a pool, which must outlive it. Equal texts of one pool are the same handle.
class Name {
 public:
  Name() = default;  // the empty text
  Name(const Name& other);
  Name(Name&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  Name& operator=(const Name& other);
  Name& operator=(Name&& other) noexcept;
  ~Name();

  [[nodiscard]] std::string_view text() const;
  [[nodiscard]] std::string str() const { return std::string(text()); }
  [[nodiscard]] bool empty() const { return node_ == nullptr; }
  [[nodiscard]] std::size_t hash() const { return std::hash<const void*>{}(node_); }
  bool operator==(const Name& other) const { return node_ == other.node_; }

 private:
  friend class NamePool;
  struct Node;
  explicit Name(Node* node);
  void drop();
  Node* node_ = nullptr;
};

class NamePool {
 public:
  NamePool() = default;
  NamePool(const NamePool&) = delete;
  NamePool& operator=(const NamePool&) = delete;
  ~NamePool() = default;

  Name intern(std::string_view text);
  // Nothing when nobody holds this text.
  [[nodiscard]] std::optional<Name> find(std::string_view text) const;
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  friend class Name;
  [[nodiscard]] std::size_t place_of(std::string_view text) const;
  void grow();
  void forget(Name::Node* node);

  std::vector<Name::Node*> table_;  // a power of two, linear probing
  std::size_t size_ = 0;
};

struct NameHash {
  std::size_t operator()(const Name& name) const noexcept { return name.hash(); }
};

struct Key {
  Name namespace_;
  Name name;
  bool operator==(const Key&) const = default;
  [[nodiscard]] model::ObjectKey object() const { return {namespace_.str(), name.str()}; }
  [[nodiscard]] std::string to_string() const { return namespace_.str() + "/" + name.str(); }
};

struct KeyHash {
  std::size_t operator()(const Key& key) const noexcept { return key.namespace_.hash() * 31 + key.name.hash(); }
};

struct LabelPair {
  Name key;
  Name value;
  bool operator==(const LabelPair&) const = default;
};
using Labels = std::vector<LabelPair>;  // in the order of their keys' texts

Labels intern(NamePool& pool, const LabelMap& labels);
// Every pair of `selector` is in `labels`; the empty selector selects nothing.
bool selects(const Labels& selector, const Labels& labels);

}  // namespace weft::control::services
