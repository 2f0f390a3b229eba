#include "roofline/weights/tensor_places.h"

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

void TensorPlaces::fail_call(const std::string& what, const std::string& why)
    const {
  fail<BugError>(writer_ + ": " + what, why, "Please report this");
}

const TensorPlaces::Place& TensorPlaces::at(std::string_view name) const {
  const auto found = places_.find(name);
  if (found == places_.end()) {
    fail_call(fmt::format("{} isn't planned", name), label_);
  }
  return found->second;
}

void TensorPlaces::add(
    const std::string& name,
    std::size_t begin,
    std::size_t bytes) {
  if (!places_.emplace(name, Place{begin, bytes, 0}).second) {
    fail_call("two tensors are named " + name, label_);
  }
}

std::size_t TensorPlaces::begin_of(
    std::string_view name,
    std::size_t bytes,
    std::size_t offset) const {
  const Place& place = at(name);
  if (offset > place.bytes || bytes > place.bytes - offset ||
      bytes > place.bytes - place.written) {
    fail_call(
        fmt::format("{} has {} bytes", name, place.bytes),
        fmt::format(
            "{} were given at {} after {}",
            bytes,
            offset,
            place.written));
  }
  return place.begin + offset;
}

void TensorPlaces::written(std::string_view name, std::size_t bytes) {
  places_.find(name)->second.written += bytes;
}

void TensorPlaces::require_complete() const {
  for (const auto& [name, place] : places_) {
    if (place.written != place.bytes) {
      fail_call(
          name + " isn't complete",
          fmt::format("{} of {} bytes came", place.written, place.bytes));
    }
  }
}

}  // namespace roofline
