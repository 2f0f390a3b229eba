#include "roofline/weights/overlaid_checkpoint.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/expert_tensors.h"
#include "roofline/weights/mlx_packed.h"
#include "roofline/weights/name_tensors.h"
#include "roofline/weights/opened_checkpoint.h"
#include "roofline/weights/printable.h"
#include "roofline/weights/safetensors.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;

class OverlaidCheckpoint final : public OpenedCheckpoint {
 public:
  OverlaidCheckpoint(const Checkpoint& base, const fs::path& weights)
      : OpenedCheckpoint(base.path()), base_(base), file_(weights) {
    spec_ = base.spec();
    tensors_ = base.tensors();
    for (const SafetensorsEntry& entry : file_.entries()) {
      add(entry, weights.string());
    }
    const std::array<fs::path, 1> files = {weights};
    fingerprint_ = base.fingerprint().substr(0, 32) +
                   fingerprint_files(files).substr(0, 32);
  }

  void release(const Tensor& tensor) const override {
    file_.release(tensor.bytes);
    base_.release(tensor);
  }
  std::string format() const override { return base_.format(); }
  std::size_t file_bytes() const override {
    return base_.file_bytes() + file_.file_bytes();
  }
  std::unique_ptr<Tokenizer> load_tokenizer() const override {
    return base_.load_tokenizer();
  }
  std::optional<std::string> chat_template() const override {
    return base_.chat_template();
  }

 private:
  void add(const SafetensorsEntry& entry, const std::string& label) {
    if (!entry.encoding()) {
      refuse(entry, label, "Its dtype is " + entry.dtype);
    }
    const Tensor source = shaped_tensor(entry);
    const auto parts = map_tensor_name(
        without_weight(entry.name),
        NameStyle::hugging_face,
        spec_);
    for (const NamedRows& part : parts) {
      Tensor tensor = take_rows(source, part, made_, label, "config.json");
      tensor.name = part.name;
      if (!replace(tensor) && !replace_experts(tensor)) {
        refuse(entry, label, "The model has none of its name and shape");
      }
    }
  }

  bool replace(const Tensor& tensor) {
    const auto place =
        std::find_if(tensors_.begin(), tensors_.end(), [&](const Tensor& each) {
          return each.name == tensor.name;
        });
    if (place == tensors_.end() ||
        place->rows * place->cols != tensor.rows * tensor.cols ||
        (place->cols != tensor.cols && place->rows > 1 && place->cols > 1)) {
      return false;
    }
    Tensor fitted = tensor;
    fitted.rows = place->rows;
    fitted.cols = place->cols;
    *place = std::move(fitted);
    return true;
  }

  /// A stack where the model has its experts one by one.
  bool replace_experts(const Tensor& stack) {
    if (stack.name.find(".experts.") == std::string::npos) {
      return false;
    }
    ExpectedTensor pieces{stack.name, 0, 0, false, 1};
    int experts = 0;
    while (base_.find(pieces.piece(experts)) != nullptr) {
      ++experts;
    }
    if (experts == 0 || stack.rows % experts != 0) {
      return false;
    }
    const std::int64_t rows = stack.rows / experts;
    for (int e = 0; e < experts; ++e) {
      Tensor piece = row_slice(stack, e * rows, rows);
      piece.name = pieces.piece(e);
      if (!replace(piece)) {
        return false;
      }
    }
    return true;
  }

  [[noreturn]] static void refuse(
      const SafetensorsEntry& entry,
      const std::string& label,
      const std::string& why) {
    fail<CheckpointError>(
        fmt::format("{}: {} can't be used", label, printable(entry.name)),
        why,
        "Check that the weights belong to this model");
  }

  const Checkpoint& base_;
  SafetensorsFile file_;
};

}  // namespace

std::unique_ptr<Checkpoint> overlay_checkpoint(
    const Checkpoint& base,
    const fs::path& weights) {
  return std::make_unique<OverlaidCheckpoint>(base, weights);
}

}  // namespace roofline
