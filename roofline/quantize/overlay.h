// A checkpoint some of whose tensors are replaced by floats in memory: what the
// rest of a model sees while its matrices are being quantized one by one.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "roofline/quantize/codes.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

class OverlayCheckpoint : public Checkpoint {
 public:
  /// base must outlive it.
  explicit OverlayCheckpoint(const Checkpoint& base);

  /// The tensor of this name gets these values, in its own shape. Throws
  /// BugError when the shape differs or there is none of that name.
  void replace(const std::string& name, FloatMatrix values);
  /// Gives up all replaced values; the base's are seen again.
  void restore();

  const std::filesystem::path& path() const override { return base_.path(); }
  const ModelSpec& spec() const override { return base_.spec(); }
  const std::vector<Tensor>& tensors() const override { return tensors_; }
  void release(const Tensor& tensor) const override;
  std::string format() const override { return base_.format(); }
  std::size_t file_bytes() const override { return base_.file_bytes(); }
  std::string fingerprint() const override;
  std::unique_ptr<Tokenizer> load_tokenizer() const override {
    return base_.load_tokenizer();
  }
  std::optional<std::string> chat_template() const override {
    return base_.chat_template();
  }

 private:
  const Checkpoint& base_;
  std::vector<Tensor> tensors_;
  std::map<std::string, FloatMatrix, std::less<>> values_;
};

}  // namespace roofline
