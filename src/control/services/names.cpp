#include "control/services/names.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace weft::control::services {

struct Name::Node {
  NamePool* pool = nullptr;
  std::uint32_t references = 0;
  std::uint32_t size = 0;
  // The text follows.
  [[nodiscard]] char* text() { return reinterpret_cast<char*>(this + 1); }
  [[nodiscard]] std::string_view view() { return {text(), size}; }
};

namespace {
std::size_t hash_of_text(std::string_view text) { return std::hash<std::string_view>{}(text); }
}  // namespace

Name::Name(Node* node) : node_(node) {
  if (node_ != nullptr) ++node_->references;
}
Name::Name(const Name& other) : Name(other.node_) {}

Name& Name::operator=(const Name& other) {
  if (this != &other) *this = Name(other);
  return *this;
}

Name& Name::operator=(Name&& other) noexcept {
  std::swap(node_, other.node_);
  return *this;
}

Name::~Name() { drop(); }

void Name::drop() {
  if (node_ == nullptr || --node_->references != 0) return;
  node_->pool->forget(node_);
  node_->~Node();
  ::operator delete(node_);
}

std::string_view Name::text() const { return node_ == nullptr ? std::string_view() : node_->view(); }

// Where the text stands, or the free place where it would.
std::size_t NamePool::place_of(std::string_view text) const {
  const auto mask = table_.size() - 1;
  auto place = hash_of_text(text) & mask;
  while (table_[place] != nullptr && table_[place]->view() != text) place = (place + 1) & mask;
  return place;
}

void NamePool::grow() {
  std::vector<Name::Node*> old(std::max<std::size_t>(64, table_.size() * 2));
  old.swap(table_);
  for (auto* node : old)
    if (node != nullptr) table_[place_of(node->view())] = node;
}

Name NamePool::intern(std::string_view text) {
  if (text.empty()) return {};
  if ((size_ + 1) * 5 > table_.size() * 4) grow();
  const auto place = place_of(text);
  if (table_[place] == nullptr) {
    auto* node = new (::operator new(sizeof(Name::Node) + text.size())) Name::Node;
    node->pool = this;
    node->size = static_cast<std::uint32_t>(text.size());
    std::memcpy(node->text(), text.data(), text.size());
    table_[place] = node;
    ++size_;
  }
  return Name(table_[place]);
}

std::optional<Name> NamePool::find(std::string_view text) const {
  if (text.empty()) return Name();
  if (table_.empty()) return std::nullopt;
  auto* node = table_[place_of(text)];
  if (node == nullptr) return std::nullopt;
  return Name(node);
}

// Closes the gap by moving back what probing had pushed past it.
void NamePool::forget(Name::Node* node) {
  const auto mask = table_.size() - 1;
  auto gap = place_of(node->view());
  for (auto next = (gap + 1) & mask; table_[next] != nullptr; next = (next + 1) & mask) {
    const auto home = hash_of_text(table_[next]->view()) & mask;
    if (((next - home) & mask) < ((next - gap) & mask)) continue;
    table_[gap] = table_[next];
    gap = next;
  }
  table_[gap] = nullptr;
  --size_;
}

Labels intern(NamePool& pool, const LabelMap& labels) {
  Labels result;
  result.reserve(labels.size());
  for (const auto& [key, value] : labels) result.push_back({pool.intern(key), pool.intern(value)});
  return result;
}

bool selects(const Labels& selector, const Labels& labels) {
  return !selector.empty() && std::ranges::all_of(selector, [&](const LabelPair& pair) {
    return std::ranges::find(labels, pair) != labels.end();
  });
}

}  // namespace weft::control::services
