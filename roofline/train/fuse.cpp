#include "roofline/train/fuse.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/train/fuse_folder.h"
#include "roofline/weights/convert/change_gguf.h"
#include "roofline/weights/convert/hf_source.h"
#include "roofline/weights/convert/to_gguf.h"
#include "roofline/weights/convert/to_mlx.h"
#include "roofline/weights/encodings.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;

/// Nothing in it is in codes.
bool has_floats_alone(const Checkpoint& checkpoint) {
  const auto& tensors = checkpoint.tensors();
  return std::all_of(tensors.begin(), tensors.end(), [](const Tensor& tensor) {
    return is_float(tensor.encoding);
  });
}

/// Its matrices are float32, which 16 bits would round.
bool is_float32(const Checkpoint& checkpoint) {
  const auto& tensors = checkpoint.tensors();
  return std::all_of(tensors.begin(), tensors.end(), [](const Tensor& tensor) {
    return tensor.rows == 1 || tensor.encoding == Encoding::f32;
  });
}

bool is_folder(const Checkpoint& checkpoint) {
  std::error_code error;
  return fs::is_directory(checkpoint.path(), error);
}

/// An adapter's matrix in plain memory.
struct Delta {
  int rank;
  int cols;
  float scale;
  float weight;  ///< of what it changes
  std::vector<float> a, b;
  std::vector<float> magnitude;  ///< empty without DoRA
};

/// What the adapter alone makes of a row.
std::vector<float> adapted_row(
    const Delta& delta,
    std::int64_t row,
    std::span<const float> stored) {
  std::vector<float> sum(stored.begin(), stored.end());
  for (int r = 0; r < delta.rank; ++r) {
    const float factor =
        delta.scale * delta.b[static_cast<std::size_t>(row * delta.rank + r)];
    const float* a = delta.a.data() + std::ptrdiff_t{r} * delta.cols;
    for (std::size_t c = 0; c < sum.size(); ++c) {
      sum[c] += factor * a[c];
    }
  }
  if (!delta.magnitude.empty()) {
    double squares = 0;
    for (const float value : sum) {
      squares += static_cast<double>(value) * value;
    }
    const auto factor = static_cast<float>(
        delta.magnitude[static_cast<std::size_t>(row)] / std::sqrt(squares));
    for (float& value : sum) {
      value *= factor;
    }
  }
  return sum;
}

std::vector<float> to_host(mx::array array) {
  array = mx::contiguous(array);
  mx::eval(array);
  return {array.data<float>(), array.data<float>() + array.size()};
}

}  // namespace

WeightChanges adapter_changes(
    std::span<const Adapter> adapters,
    std::span<const float> weights) {
  std::map<std::string, std::vector<Delta>> deltas;
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    for (const auto& matrix : adapters[i].matrices) {
      Delta delta{
          matrix.a.shape(0),
          matrix.a.shape(1),
          adapters[i].scale,
          weights[i],
          to_host(matrix.a),
          to_host(matrix.b),
          {}};
      if (matrix.magnitude) {
        delta.magnitude = to_host(*matrix.magnitude);
      }
      deltas[matrix.name].push_back(std::move(delta));
    }
  }
  WeightChanges changes;
  for (auto& [name, list] : deltas) {
    changes[name] =
        [list = std::move(list)](std::int64_t row, std::span<float> values) {
          const std::vector<float> stored(values.begin(), values.end());
          for (const auto& delta : list) {
            const auto changed = adapted_row(delta, row, stored);
            for (std::size_t c = 0; c < values.size(); ++c) {
              values[c] += delta.weight * (changed[c] - stored[c]);
            }
          }
        };
  }
  return changes;
}

void write_changed_model(
    const Checkpoint& checkpoint,
    const WeightChanges& changes,
    const fs::path& target,
    FuseQuantized quantized,
    bool force) {
  if (is_folder(checkpoint)) {
    write_changed_folder(checkpoint, changes, target, quantized, force);
    return;
  }
  if (quantized == FuseQuantized::requantize && !has_floats_alone(checkpoint)) {
    fail<UnsupportedError>(
        fmt::format(
            "{} can't stay quantized in a folder",
            checkpoint.path().string()),
        "Folders of safetensors have other types than GGUF files",
        "Add --dequantize for 16-bit floats, or write a GGUF file with "
        "--export-gguf");
  }
  ToMlxOptions options;
  options.changes = std::make_shared<const WeightChanges>(changes);
  options.save.force = force;
  if (is_float32(checkpoint)) {
    options.dtype = mx::float32;
  }
  convert_to_mlx(checkpoint.path(), target, options);
}

void require_place(
    const Checkpoint& checkpoint,
    const std::vector<std::string>& names) {
  std::error_code error;
  if (!fs::exists(checkpoint.path(), error)) {
    return;  // random weights, which are written nowhere
  }
  WeightChanges changes;
  for (const auto& name : names) {
    changes[name] = [](std::int64_t, std::span<float>) {};
  }
  if (is_folder(checkpoint)) {
    require_place_in_folder(checkpoint, changes);
    return;
  }
  hf_gguf_source(
      checkpoint.path(),
      std::make_shared<const WeightChanges>(changes));
}

void write_changed_gguf(
    const Checkpoint& checkpoint,
    const WeightChanges& changes,
    const fs::path& target,
    const FusedGguf& form) {
  if (is_folder(checkpoint)) {
    ToGgufOptions options;
    options.encoding = form.encoding.value_or(Encoding::f16);
    options.changes = &changes;
    options.force = form.force;
    convert_to_gguf(checkpoint.path(), target, options);
    return;
  }
  if (form.encoding) {
    fail<UserError>(
        "--type is for models in folders",
        "The tensors of a GGUF file keep their types",
        "Leave it out; --dequantize makes changed matrices bfloat16");
  }
  change_gguf(
      checkpoint,
      changes,
      target,
      {form.quantized == FuseQuantized::decode, form.force});
}

}  // namespace roofline
