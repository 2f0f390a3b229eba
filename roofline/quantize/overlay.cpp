#include "roofline/quantize/overlay.h"

#include <algorithm>

#include "roofline/base/errors.h"

namespace roofline {

OverlayCheckpoint::OverlayCheckpoint(const Checkpoint& base)
    : base_(base), tensors_(base.tensors()) {}

void OverlayCheckpoint::replace(const std::string& name, FloatMatrix values) {
  const auto found =
      std::find_if(tensors_.begin(), tensors_.end(), [&](const Tensor& tensor) {
        return tensor.name == name;
      });
  if (found == tensors_.end() || found->rows != values.rows ||
      found->cols != values.cols) {
    fail<BugError>(
        "overlay: values for " + name + " that don't fit",
        "The checkpoint has no such tensor, or one of another shape",
        "Please report this");
  }
  const auto& kept = values_.insert_or_assign(name, std::move(values));
  Tensor tensor;
  tensor.name = name;
  tensor.encoding = Encoding::f32;
  tensor.rows = kept.first->second.rows;
  tensor.cols = kept.first->second.cols;
  tensor.bytes = std::as_bytes(std::span(kept.first->second.values));
  *found = tensor;
}

void OverlayCheckpoint::restore() {
  tensors_ = base_.tensors();
  values_.clear();
}

void OverlayCheckpoint::release(const Tensor& tensor) const {
  if (values_.find(tensor.name) == values_.end()) {
    base_.release(tensor);
  }
}

std::string OverlayCheckpoint::fingerprint() const {
  return base_.fingerprint() + "-overlay";
}

}  // namespace roofline
