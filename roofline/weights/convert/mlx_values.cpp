#include "roofline/weights/convert/mlx_values.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <mlx/ops.h>

#include "roofline/base/errors.h"
#include "roofline/spec/language_config.h"

namespace roofline {

namespace mx = mlx::core;

namespace {

/// 1 where the config has no such number.
float factor_in(const nlohmann::json& config, const char* name) {
  const auto found = config.find(name);
  return found != config.end() && found->is_number() ? found->get<float>()
                                                     : 1.0f;
}

/// The same of one number in a list.
float factor_in(
    const nlohmann::json& config,
    const char* name,
    std::size_t index) {
  const auto found = config.find(name);
  return found != config.end() && found->is_array() && index < found->size() &&
                 (*found)[index].is_number()
             ? (*found)[index].get<float>()
             : 1.0f;
}

/// Which factor a matrix takes; nullopt: none.
std::optional<float> matrix_factor(
    std::string_view name,
    const nlohmann::json& config) {
  struct Row {
    std::string_view end;
    const char* field;
    int index = -1;
  };
  // The first that fits: "o_proj" ends no other name's way.
  constexpr std::array<Row, 8> kRows = {{
      {"embed_tokens.weight", "embedding_multiplier"},
      {"lm_head.weight", "lm_head_multiplier"},
      {"q_proj.weight", "attention_in_multiplier"},
      {"k_proj.weight", "attention_in_multiplier"},
      {"o_proj.weight", "attention_out_multiplier"},
      {"out_proj.weight", "ssm_out_multiplier"},
      {"gate_proj.weight", "mlp_multipliers", 0},
      {"down_proj.weight", "mlp_multipliers", 1},
  }};
  for (const Row& row : kRows) {
    if (name.ends_with(row.end)) {
      return row.index < 0 ? factor_in(config, row.field)
                           : factor_in(
                                 config,
                                 row.field,
                                 static_cast<std::size_t>(row.index));
    }
  }
  return std::nullopt;
}

/// [rows, 1]: the factors of the parts z, x, B, C and dt of a projection.
mx::array part_factors(
    const nlohmann::json& config,
    std::int64_t rows,
    mx::Dtype dtype) {
  const auto size = [&](const char* name) {
    return whole_number(config, name);
  };
  const std::int64_t inner = size("mamba_d_ssm");
  const std::int64_t state = size("mamba_n_groups") * size("mamba_d_state");
  const std::array<std::int64_t, 5> parts =
      {inner, inner, state, state, size("mamba_n_heads")};
  std::vector<float> factors;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    factors.insert(
        factors.end(),
        static_cast<std::size_t>(std::clamp<std::int64_t>(parts[i], 0, rows)),
        factor_in(config, "ssm_multipliers", i));
  }
  if (static_cast<std::int64_t>(factors.size()) != rows) {
    fail<CheckpointError>(
        fmt::format("A projection has {} rows", rows),
        fmt::format("By config.json it has {}", factors.size()),
        "Check that config.json belongs to these weights");
  }
  const mx::array exact(factors.data(), {static_cast<int>(rows), 1});
  return mx::multiply(
      mx::array(factor_in(config, "ssm_in_multiplier"), dtype),
      mx::astype(exact, dtype));
}

RowTensor scaled(const RowTensor& tensor, const mx::array& factors);

/// A bias takes what multiplies the product's result, not what multiplies its
/// input. mlx-lm leaves biases alone, and gets other logits then.
RowTensor with_bias_factors(
    const RowTensor& tensor,
    const nlohmann::json& config) {
  if (tensor.name.ends_with("in_proj.bias")) {
    nlohmann::json outputs = config;
    outputs.erase("ssm_in_multiplier");
    const mx::array factors =
        part_factors(outputs, tensor.cols(), tensor.dtype);
    return scaled(tensor, mx::reshape(factors, {1, -1}));
  }
  const bool after = tensor.name.ends_with("v_proj.bias") ||
                     tensor.name.ends_with("o_proj.bias");
  if (after && factor_in(config, "attention_in_multiplier") != 1.0f) {
    fail<UnsupportedError>(
        fmt::format("MLX's layout can't hold {}", tensor.name),
        "It has no place for attention_in_multiplier beside biases",
        "Keep this checkpoint in the layout that it has");
  }
  for (std::string_view end :
       {"o_proj.bias", "out_proj.bias", "gate_proj.bias", "down_proj.bias"}) {
    if (tensor.name.ends_with(end)) {
      const std::string weight =
          tensor.name.substr(0, tensor.name.size() - 4) + "weight";
      return scaled(
          tensor,
          mx::array(*matrix_factor(weight, config), tensor.dtype));
    }
  }
  return tensor;
}

RowTensor scaled(const RowTensor& tensor, const mx::array& factors) {
  RowTensor out = tensor;
  const bool each = factors.ndim() == 2 && tensor.rows() > 1;
  const auto read = [tensor, factors, each](
                        std::int64_t first,
                        std::int64_t count,
                        mx::Stream stream) {
    const mx::array own = each ? mx::slice(
                                     factors,
                                     {static_cast<int>(first), 0},
                                     {static_cast<int>(first + count), 1},
                                     stream)
                               : factors;
    return mx::multiply(tensor.read(first, count, stream), own, stream);
  };
  out.pieces = {{tensor.rows(), read}};
  return out;
}

}  // namespace

RowTensor turned(const RowTensor& tensor) {
  const std::size_t axes = tensor.shape.size();
  std::vector<std::int64_t> shape = tensor.shape;
  std::swap(shape[axes - 1], shape[axes - 2]);
  RowTensor out = computed_rows(
      tensor.name,
      shape,
      tensor.dtype,
      [tensor](mx::Stream stream) {
        const mx::array flat = tensor.read(0, tensor.rows(), stream);
        const mx::Shape full(tensor.shape.begin(), tensor.shape.end());
        return mx::contiguous(
            mx::swapaxes(mx::reshape(flat, full, stream), -1, -2, stream),
            false,
            stream);
      });
  out.release = tensor.release;
  return out;
}

bool is_turned_linear(const RowTensor& tensor) {
  const std::string_view name = tensor.name;
  return tensor.shape.size() == 2 &&
         (name.ends_with("c_attn.weight") || name.ends_with("c_proj.weight") ||
          name.ends_with("c_fc.weight"));
}

bool is_unturned_convolution(const RowTensor& tensor) {
  return tensor.shape.size() == 3 && tensor.shape.back() != 1 &&
         (tensor.name.find("conv1d.weight") != std::string::npos ||
          tensor.name.find("conv.weight") != std::string::npos);
}

bool is_shifted_norm(const RowTensor& tensor) {
  constexpr std::array<std::string_view, 6> kNorms = {
      ".input_layernorm.weight",
      ".post_attention_layernorm.weight",
      "model.norm.weight",
      "language_model.norm.weight",
      ".q_norm.weight",
      ".k_norm.weight"};
  return tensor.shape.size() == 1 &&
         std::any_of(kNorms.begin(), kNorms.end(), [&](auto end) {
           return tensor.name.ends_with(end);
         });
}

RowTensor plus_one(const RowTensor& tensor) {
  RowTensor out = computed_rows(
      tensor.name,
      tensor.shape,
      mx::float32,  // rounded once, to what is written
      [tensor](mx::Stream stream) {
        const mx::array w =
            mx::astype(tensor.read(0, 1, stream), mx::float32, stream);
        return mx::add(w, mx::array(1.0f), stream);
      });
  out.source_dtype = tensor.dtype;
  return out;
}

RowTensor with_factors(RowTensor tensor, const nlohmann::json& config) {
  if (tensor.name.ends_with(".bias")) {
    return with_bias_factors(tensor, config);
  }
  if (tensor.name.ends_with("in_proj.weight")) {
    return scaled(tensor, part_factors(config, tensor.rows(), tensor.dtype));
  }
  const auto factor = matrix_factor(tensor.name, config);
  return factor ? scaled(tensor, mx::array(*factor, tensor.dtype)) : tensor;
}

std::vector<RowTensor> split_latent(
    const RowTensor& tensor,
    const nlohmann::json& config) {
  const auto size = [&](const char* name) {
    return whole_number(config, name);
  };
  const std::int64_t heads = size("num_attention_heads");
  const std::int64_t nope = size("qk_nope_head_dim");
  const std::int64_t value = size("v_head_dim");
  const std::int64_t rank = tensor.cols();
  if (heads < 1 || nope < 1 || value < 1 ||
      heads * (nope + value) != tensor.rows()) {
    fail<CheckpointError>(
        fmt::format("{} has {} rows", tensor.name, tensor.rows()),
        fmt::format(
            "By config.json it has {} heads of {} and {}",
            heads,
            nope,
            value),
        "Check that config.json belongs to these weights");
  }
  constexpr std::string_view kEnd = "kv_b_proj.weight";
  const std::string base =
      tensor.name.substr(0, tensor.name.size() - kEnd.size());
  RowTensor keys = tensor;
  keys.name = base + "embed_q.weight";
  keys.shape = {heads, rank, nope};
  keys.pieces.clear();
  RowTensor values = tensor;
  values.name = base + "unembed_out.weight";
  values.shape = {heads, value, rank};
  values.pieces.clear();
  for (std::int64_t head = 0; head < heads; ++head) {
    const std::int64_t at = head * (nope + value);
    const auto read = [tensor, at, nope](
                          std::int64_t first,
                          std::int64_t count,
                          mx::Stream stream) {
      const mx::array rows = mx::slice(
          tensor.read(at, nope, stream),
          {0, static_cast<int>(first)},
          {static_cast<int>(nope), static_cast<int>(first + count)},
          stream);
      return mx::contiguous(mx::transpose(rows, stream), false, stream);
    };
    keys.pieces.push_back({rank, read});
    values.pieces.push_back(tensor.part(at + nope, value));
  }
  return {keys, values};
}

}  // namespace roofline
