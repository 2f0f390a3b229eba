// Writes a quantized checkpoint in MLX layout: packed codes, scales and biases
// as they are made, then what stays floats, config.json with every matrix's
// format, and the tokenizer's files. The folder appears whole or not at all.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/quantize/mlx_places.h"
#include "roofline/quantize/plan_formats.h"
#include "roofline/quantize/quantize.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/convert/write_rows.h"
#include "roofline/weights/save.h"

namespace roofline {

class MlxWriter : public QuantizeSink {
 public:
  /// checkpoint, places and plan must outlive the writer. plan: settled
  /// (mlx_places.h). dtype: of scales, biases and all floats. Throws UserError
  /// when the target is there or can't be written.
  MlxWriter(
      const Checkpoint& checkpoint,
      const MlxPlaces& places,
      const FormatPlan& plan,
      Encoding dtype,
      const std::filesystem::path& target,
      bool force);

  void put_codes(
      const std::string& name,
      const PackedCodes& codes,
      std::int64_t first_row) override;
  bool takes_pieces(const std::string& name) const override;
  void put_floats(const std::string& name, const FloatMatrix& values) override;
  /// Writes what is left and gives the folder its name. summary: goes into
  /// README.md.
  void publish(const std::string& summary);

  std::uint64_t tensor_bytes() const { return writer_.tensor_bytes(); }

 private:
  std::vector<RowJob> float_jobs() const;
  std::vector<PlannedTensor> planned() const;
  void put_rows(
      const std::string& tensor,
      std::span<const std::byte> bytes,
      std::size_t row_bytes,
      const StoredPlace& place,
      std::int64_t first_row);
  void put_changed(const StoredTensor& stored, const FloatMatrix& values);
  void write_floats();
  std::string config_text() const;

  const Checkpoint& checkpoint_;
  const MlxPlaces& places_;
  const FormatPlan& plan_;
  Encoding dtype_;
  CheckpointWriter writer_;
  std::map<std::string, FloatMatrix, std::less<>> changed_;
};

/// The type of floats that a quantized copy should have: that of most of the
/// source's bytes; for float32 and block types bf16 where embeddings are
/// scaled, whose activations leave the range of f16, and f16 elsewhere.
Encoding default_dtype(const Checkpoint& checkpoint);

}  // namespace roofline
