// Writes a quantized checkpoint in MLX layout, from a folder of floats: packed
// codes, scales and biases under the source's names as they are made, then what
// stays floats, config.json with every matrix's format, and the tokenizer's
// files. The folder appears whole or not at all.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/quantize/plan_formats.h"
#include "roofline/quantize/quantize.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/save.h"
#include "roofline/weights/shards.h"

namespace roofline {

class MlxWriter : public QuantizeSink {
 public:
  /// checkpoint: of the folder; must outlive the writer. Changes the plan where
  /// the layout asks for it: matrices that share one stored tensor get the
  /// widest of their formats, matrices that are stored turned or in parts stay
  /// floats and are added to `unfit`. dtype: of scales, biases and all floats.
  /// Throws UnsupportedError when the source is no folder of float
  /// safetensors, UserError when the target is there or can't be written.
  MlxWriter(
      const Checkpoint& checkpoint,
      FormatPlan& plan,
      Encoding dtype,
      const std::filesystem::path& target,
      bool force);

  void put_codes(const std::string& name, const PackedCodes& codes) override;
  void put_floats(const std::string& name, const FloatMatrix& values) override;
  /// Writes what is left and gives the folder its name. summary: goes into
  /// README.md.
  void publish(const std::string& summary);

  std::uint64_t tensor_bytes() const { return writer_.tensor_bytes(); }

 private:
  /// One stored tensor and which of ours it holds.
  struct Stored {
    const SafetensorsEntry* entry = nullptr;
    std::string module;  ///< its name without ".weight"
    std::vector<NamedRows> parts;
    MatrixFormat format{QuantMode::keep, 16, 1};
  };
  struct Place {
    const Stored* stored = nullptr;
    NamedRows rows;
  };

  void list_entries();
  void settle_formats(FormatPlan& plan);
  std::vector<PlannedTensor> planned() const;
  void put_rows(
      const std::string& tensor,
      std::span<const std::byte> bytes,
      std::size_t row_bytes,
      const NamedRows& rows);
  void write_floats();
  nlohmann::ordered_json config() const;
  void copy_files();

  const Checkpoint& checkpoint_;
  Encoding dtype_;
  Shards shards_;
  CheckpointWriter writer_;
  std::vector<Stored> stored_;
  std::map<std::string, Place, std::less<>> places_;  ///< by our names
  std::map<std::string, FloatMatrix, std::less<>> changed_;
};

/// Matrices (our names) that one stored tensor holds, which so must share a
/// format; only where there are several. Empty for what isn't a folder.
std::vector<std::vector<std::string>> stored_together(
    const Checkpoint& checkpoint);

/// The type of floats that a quantized copy should have: that of most of the
/// source's bytes; for float32 and block types bf16 where embeddings are
/// scaled, whose activations leave the range of f16, and f16 elsewhere.
Encoding default_dtype(const Checkpoint& checkpoint);

}  // namespace roofline
