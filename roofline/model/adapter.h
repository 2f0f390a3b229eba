// Adapters on disk: low-rank matrices for some of a model's matrices, in a
// folder of mlx-lm's or of PEFT's form. Reads both, writes either.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/trainable_decoder.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

/// w += scale · b · a, for one matrix under our name, or for a stack of
/// experts.
struct AdapterMatrix {
  std::string name;
  mx::array a;  ///< [rank, in] float32; of experts [experts, rank, in]
  mx::array b;  ///< [rows, rank] float32; of experts [experts, rows, rank]
  /// [rows] float32: what each row's length becomes then (DoRA).
  std::optional<mx::array> magnitude = {};

  bool of_experts() const { return a.ndim() == 3; }
  /// Of what it changes, all experts' together.
  std::int64_t rows() const {
    return std::int64_t{of_experts() ? a.shape(0) : 1} * b.shape(-2);
  }
};

struct Adapter {
  int rank = 0;
  float scale = 1.0f;
  float dropout = 0.0f;
  std::vector<AdapterMatrix> matrices;

  bool has_magnitudes() const;
};

enum class AdapterFormat { mlx_lm, peft };

/// Throws UserError when the folder has no adapter, CheckpointError when it
/// doesn't fit the model, UnsupportedError for a kind that isn't LoRA or DoRA
/// (adapter_full.h has what mlx-lm calls full).
Adapter read_adapter(
    const std::filesystem::path& folder,
    const Checkpoint& checkpoint);

/// Writes the two files of the form, each whole or not at all. base_model: what
/// PEFT's form says the adapter is for. Throws UnsupportedError for experts.
void write_adapter(
    const Adapter& adapter,
    const Checkpoint& checkpoint,
    const std::filesystem::path& folder,
    AdapterFormat format);

/// An adapter's folder, and how strongly it counts.
struct AdapterChoice {
  std::filesystem::path path;
  float weight = 1.0f;
};

/// Decoder::load with adapters added to the weights, all together: on the graph
/// of MLX ops where there are any. Throws what read_adapter() throws, too.
std::unique_ptr<Decoder> load_with_adapters(
    const Checkpoint& checkpoint,
    const ModelOptions& options,
    std::span<const AdapterChoice> adapters);

/// Puts these adapters in the place of those that a decoder has. False, and
/// nothing done, where it has no hooks for them: it has to be loaded anew.
/// Throws what load_with_adapters() throws; the decoder is as before then.
bool replace_adapters(
    Decoder& decoder,
    const Checkpoint& checkpoint,
    std::span<const AdapterChoice> adapters);

/// Throws CheckpointError: the matrix is for one of another shape than rows (of
/// all experts) by cols.
[[noreturn]] void refuse_shape(
    const AdapterMatrix& matrix,
    std::int64_t rows,
    std::int64_t cols);

/// Adds weight times the adapter to the decoder's hooks: of DoRA, weight times
/// what it changes. Throws CheckpointError
/// when a matrix isn't there or has another shape.
void attach(
    const Adapter& adapter,
    float weight,
    const TrainableDecoder& decoder);

}  // namespace roofline
