// Finds the quantized matrices of checkpoints that other programs wrote, by
// config.json's "quantization_config": GPTQ, AWQ, compressed-tensors, fp8,
// bitnet, mxfp4 and NVIDIA's ModelOpt. What a matrix is follows from its own
// entries; the config only says what these don't. Activations stay floats, also
// where the config would quantize them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "roofline/weights/shards.h"
#include "roofline/weights/tensor.h"

namespace roofline {

class ForeignTensors {
 public:
  /// config: config.json. label: the folder, for errors; both must outlive
  /// this, as must shards. Throws UnsupportedError for a layout that isn't
  /// known (a sparse one, another version of AWQ, …).
  ForeignTensors(
      const nlohmann::json& config,
      const Shards& shards,
      const std::string& label);

  /// Whether config.json names one of the methods.
  bool any() const { return method_ != Method::none; }
  /// The matrix whose codes the entry holds, under its own name with ".weight"
  /// (mxfp4: the entry's);
  /// nullopt for an entry that is none. Throws CheckpointError when its sides
  /// don't fit.
  std::optional<Tensor> read(const SafetensorsEntry& entry) const;
  /// Scales, zeros and the like, which belong to the codes beside them.
  bool is_side(const SafetensorsEntry& entry) const;
  /// A bias of zeros beside codes, which AutoGPTQ wrote for every layer.
  bool is_empty_bias(const SafetensorsEntry& entry) const;
  /// "GPTQ", "AWQ", …
  std::string_view name() const;

 private:
  enum class Method {
    none,
    gptq,
    awq,
    compressed,
    fp8,
    bitnet,
    mxfp4,
    modelopt
  };

  void read_gptq(const nlohmann::json& config);
  void read_awq(const nlohmann::json& config);
  void read_compressed(const nlohmann::json& config);
  void check_compressed_format(const nlohmann::json& config) const;
  void read_modelopt(const nlohmann::json& config);
  void read_bitnet(const nlohmann::json& config);

  // foreign_layouts.cpp
  Tensor transposed(const SafetensorsEntry& codes) const;
  Tensor packed_int(const SafetensorsEntry& codes) const;
  Tensor plain(const SafetensorsEntry& codes) const;
  Tensor bitnet(const SafetensorsEntry& codes) const;
  Tensor mxfp4(const SafetensorsEntry& blocks) const;
  Tensor packed_floats(const SafetensorsEntry& codes) const;
  static Tensor mxfp8(
      const SafetensorsEntry& codes,
      const SafetensorsEntry& scales);
  /// The one factor that a module's small floats have beside their scales.
  float matrix_factor(const std::string& module) const;
  /// Sets the scales of `tensor` and the block that one of them serves.
  void set_scales(Tensor& tensor, const SafetensorsEntry& scales) const;
  void set_order(Tensor& tensor, const SafetensorsEntry* groups) const;

  const SafetensorsEntry& needed(
      const std::string& name,
      const SafetensorsEntry& of) const;
  [[noreturn]] void fail_tensor(std::string_view name, const std::string& why)
      const;
  [[noreturn]] void refuse(const std::string& why) const;
  [[noreturn]] void refuse_format(const std::string& format) const;

  Method method_ = Method::none;
  const Shards& shards_;
  const std::string& label_;
  int bits_ = 4;
  int group_size_ = 0;    ///< 0: whole rows
  int zero_shift_ = 0;    ///< gptq
  int block_rows_ = 128;  ///< fp8
  int block_cols_ = 128;
  bool inverse_scale_ = false;  ///< bitnet
};

/// config.json; where it doesn't tell of quantization, with what ModelOpt's
/// hf_quant_config.json says as its "quantization_config".
nlohmann::json folder_config(const std::filesystem::path& folder);

}  // namespace roofline
