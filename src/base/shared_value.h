// A value that many hold and few change: copies share it until one of them is changed.
#pragma once

#include <memory>
#include <utility>

namespace weft {

// Of one thread: who changes it looks whether others hold it. Never empty, but for what was moved from.
template <class T>
class SharedValue {
 public:
  SharedValue() : value_(std::make_shared<T>()) {}
  SharedValue(T value) : value_(std::make_shared<T>(std::move(value))) {}  // NOLINT(google-explicit-constructor)

  const T& operator*() const { return *value_; }
  const T* operator->() const { return value_.get(); }
  // Its own from now on; good until the next copy is made.
  T& edit() {
    if (value_.use_count() != 1) value_ = std::make_shared<T>(*value_);
    return *value_;
  }

 private:
  std::shared_ptr<T> value_;
};

}  // namespace weft
