#include "roofline/train/fuse.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/spec/tensor_names.h"
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

using Deltas = std::vector<Delta>;

Delta delta_of(
    const AdapterMatrix& matrix,
    std::optional<int> expert,
    float scale,
    float weight) {
  const auto own = [&](const mx::array& x) {
    return expert ? mx::take(x, *expert, 0) : x;
  };
  Delta delta{
      matrix.a.shape(-2),
      matrix.a.shape(-1),
      scale,
      weight,
      to_host(own(matrix.a)),
      to_host(own(matrix.b)),
      {}};
  if (matrix.magnitude) {
    delta.magnitude = to_host(*matrix.magnitude);
  }
  return delta;
}

void change_row(const Deltas& list, std::int64_t row, std::span<float> values) {
  const std::vector<float> stored(values.begin(), values.end());
  for (const auto& delta : list) {
    const auto changed = adapted_row(delta, row, stored);
    for (std::size_t c = 0; c < values.size(); ++c) {
      values[c] += delta.weight * (changed[c] - stored[c]);
    }
  }
}

/// All matrices of one stack: each expert's own list.
struct ExpertDeltas {
  std::int64_t rows = 0;  ///< of one expert
  std::vector<Deltas> experts;
};

/// A name that the checkpoint lacks is refused where it is written.
void require_shape(const AdapterMatrix& matrix, const Checkpoint& checkpoint) {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  if (const Tensor* whole = checkpoint.find(matrix.name)) {
    rows = whole->rows;
    cols = whole->cols;
  }
  const ExpectedTensor pieces{matrix.name, 0, 0, false, 1};
  for (int e = 0; const Tensor* each = checkpoint.find(pieces.piece(e)); ++e) {
    rows += each->rows;
    cols = each->cols;
  }
  if (rows > 0 && (matrix.rows() != rows || matrix.a.shape(-1) != cols)) {
    refuse_shape(matrix, rows, cols);
  }
}

/// Under the stack's name where the model has one, else under each expert's.
void add_expert_changes(
    const std::string& name,
    const ExpertDeltas& stack,
    const Checkpoint& checkpoint,
    WeightChanges& changes) {
  const auto count = static_cast<int>(stack.experts.size());
  const ExpectedTensor pieces{name, 0, 0, false, count};
  if (checkpoint.find(pieces.piece(0)) == nullptr) {
    changes[name] = [stack](std::int64_t row, std::span<float> values) {
      const auto expert = static_cast<std::size_t>(row / stack.rows);
      change_row(stack.experts[expert], row % stack.rows, values);
    };
    return;
  }
  for (int e = 0; e < count; ++e) {
    changes[pieces.piece(e)] =
        [list = stack.experts[static_cast<std::size_t>(e)]](
            std::int64_t row,
            std::span<float> values) { change_row(list, row, values); };
  }
}

}  // namespace

WeightChanges adapter_changes(
    const Checkpoint& checkpoint,
    std::span<const Adapter> adapters,
    std::span<const float> weights) {
  std::map<std::string, Deltas> deltas;
  std::map<std::string, ExpertDeltas> stacks;
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    const float scale = adapters[i].scale;
    for (const auto& matrix : adapters[i].matrices) {
      require_shape(matrix, checkpoint);
      if (!matrix.of_experts()) {
        deltas[matrix.name].push_back(
            delta_of(matrix, std::nullopt, scale, weights[i]));
        continue;
      }
      auto& stack = stacks[matrix.name];
      stack.rows = matrix.b.shape(1);
      stack.experts.resize(static_cast<std::size_t>(matrix.a.shape(0)));
      for (int e = 0; e < matrix.a.shape(0); ++e) {
        stack.experts[static_cast<std::size_t>(e)].push_back(
            delta_of(matrix, e, scale, weights[i]));
      }
    }
  }
  WeightChanges changes;
  for (auto& [name, list] : deltas) {
    changes[name] =
        [list = std::move(list)](std::int64_t row, std::span<float> values) {
          change_row(list, row, values);
        };
  }
  for (const auto& [name, stack] : stacks) {
    add_expert_changes(name, stack, checkpoint, changes);
  }
  return changes;
}

void begin_with(
    const Checkpoint& trained,
    const Checkpoint& checkpoint,
    WeightChanges& changes) {
  for (const Tensor& tensor : trained.tensors()) {
    if (checkpoint.at(tensor.name).bytes.data() == tensor.bytes.data()) {
      continue;
    }
    auto& change = changes[tensor.name];
    change = [&tensor, then = std::move(change)](
                 std::int64_t row,
                 std::span<float> values) {
      decode_row(tensor, row, values);
      if (then) {
        then(row, values);
      }
    };
  }
}

void write_changed_model(
    const Checkpoint& checkpoint,
    const WeightChanges& changes,
    const fs::path& target,
    FuseQuantized quantized,
    bool force) {
  require_apart(checkpoint.path(), target);
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

std::string write_changed_gguf(
    const Checkpoint& checkpoint,
    const WeightChanges& changes,
    const fs::path& target,
    const FusedGguf& form) {
  if (is_folder(checkpoint)) {
    ToGgufOptions options;
    options.encoding = form.encoding.value_or(Encoding::f16);
    options.changes = &changes;
    options.force = form.force;
    return convert_to_gguf(checkpoint.path(), target, options).warning;
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
  return "";
}

}  // namespace roofline
