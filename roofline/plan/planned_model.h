// A model as far as planning goes: what it is and how large each of its tensors
// is. From files (exact to the byte) or from a name or config alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/spec/model_spec.h"

namespace roofline {

class Checkpoint;

/// How values are stored. bits 16 or 32: floats; fewer: affine codes with a
/// 16-bit scale and bias for each group.
struct WeightFormat {
  int bits = 16;
  int group_size = 64;
  /// Parts that have 8 bits where the rest has 4 (spec/tensor_parts.h).
  std::vector<std::string> eight_bit = {};
  /// "bf16", "int4 (group 64)", "int4 (group 64; 8 bits: embed)"
  std::string text() const;
  /// Without eight_bit, whose share depends on the model.
  double bits_per_weight() const;
};

struct ModelTensor {
  std::string name;  ///< ours, see spec/tensor_names.h
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::string format;       ///< "bf16", "q4_1", "affine 4-bit/64"
  std::uint64_t bytes = 0;  ///< as stored
  bool quantized = false;   ///< stored as codes
  /// How the CPU kernels hold its codes, and in how many bytes; "": as stored.
  std::string held = {};
  std::uint64_t held_bytes = 0;
  std::int64_t count() const { return rows * cols; }
};

struct PlannedModel {
  std::string name;
  ModelSpec spec;
  std::vector<ModelTensor> tensors;
  /// The file or folder with weights; absent for a name or a bare config.
  std::optional<std::filesystem::path> path;
  /// Bytes are those of files, not derived from shapes.
  bool exact = false;

  std::int64_t parameters() const;
  std::uint64_t weight_bytes() const;
};

/// What a user may write for a model when planning: all that resolve_model()
/// takes, a config.json (or a folder with only that), or a catalogue name. A
/// name that is both a model here and in the catalogue is the one here. Empty:
/// the bundled model. Throws UserError with the nearest names.
PlannedModel plan_model(std::string_view name);

/// From a checkpoint that is open.
PlannedModel plan_checkpoint(std::string name, const Checkpoint& checkpoint);

/// From a spec alone: 16-bit tensors.
PlannedModel plan_spec(std::string name, const ModelSpec& spec);

/// The same model with its matrices quantized (norms and biases stay). What is
/// stored as codes already stays as it is, as in the loader.
PlannedModel quantized(const PlannedModel& model, const WeightFormat& format);

}  // namespace roofline
