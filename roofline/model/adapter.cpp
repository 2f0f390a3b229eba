#include "roofline/model/adapter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>
#include <nlohmann/json.hpp>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"
#include "roofline/model/device.h"
#include "roofline/model/graph_decoder.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/safetensors.h"
#include "roofline/weights/save_arrays.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::string_view kConfig = "adapter_config.json";
constexpr std::string_view kMlxWeights = "adapters.safetensors";
constexpr std::string_view kPeftWeights = "adapter_model.safetensors";
constexpr std::string_view kPeftPrefix = "base_model.model.";

[[noreturn]] void refuse_adapter(
    const fs::path& folder,
    const std::string& why) {
  fail<CheckpointError>(
      fmt::format("The adapter in {} can't be used", folder.string()),
      why,
      "Check that it belongs to this model");
}

mx::array to_array(const SafetensorsEntry& entry, const fs::path& folder) {
  const auto encoding = entry.encoding();
  if (!encoding || entry.shape.empty() || entry.shape.size() > 2) {
    refuse_adapter(folder, entry.name + " is no matrix of floats");
  }
  const bool vector = entry.shape.size() == 1;
  Tensor tensor;
  tensor.name = entry.name;
  tensor.encoding = *encoding;
  tensor.rows = vector ? 1 : entry.shape[0];
  tensor.cols = entry.shape.back();
  tensor.bytes = entry.bytes;
  const auto cols = static_cast<std::size_t>(tensor.cols);
  std::vector<float> values(static_cast<std::size_t>(tensor.rows) * cols);
  for (std::int64_t row = 0; row < tensor.rows; ++row) {
    decode_row(
        tensor,
        row,
        std::span(values).subspan(static_cast<std::size_t>(row) * cols, cols));
  }
  const auto length = static_cast<int>(tensor.cols);
  return mx::array(
      values.data(),
      vector ? mx::Shape{length}
             : mx::Shape{static_cast<int>(tensor.rows), length});
}

mx::array transposed(const mx::array& x) {
  return mx::contiguous(mx::transpose(x));
}

/// "…q_proj.lora_a" → module and part; nullopt for anything else.
enum class Part { a, b, magnitude };
struct PartName {
  std::string module;
  Part part = Part::a;
};
std::optional<PartName> part_of(std::string name) {
  if (name.starts_with(kPeftPrefix)) {
    name.erase(0, kPeftPrefix.size());
  }
  const std::pair<std::string_view, Part> ends[] = {
      {".lora_a", Part::a},
      {".lora_b", Part::b},
      {".m", Part::magnitude},
      {".lora_A.weight", Part::a},
      {".lora_B.weight", Part::b},
      {".lora_magnitude_vector", Part::magnitude},
      {".lora_magnitude_vector.weight", Part::magnitude},
      {".lora_A.default.weight", Part::a},
      {".lora_B.default.weight", Part::b},
      {".lora_magnitude_vector.default.weight", Part::magnitude}};
  for (const auto& [end, part] : ends) {
    if (name.ends_with(end)) {
      return PartName{name.substr(0, name.size() - end.size()), part};
    }
  }
  return std::nullopt;
}

/// The rows of a rotary matrix in Hugging Face's order, when the model has
/// them as GGUF does: pairs side by side instead of a half apart.
std::optional<std::vector<std::int32_t>> row_order(
    const std::string& name,
    const Checkpoint& checkpoint) {
  const bool of_q = name.ends_with(".attention.q");
  if (!checkpoint.format().starts_with("GGUF") ||
      (!of_q && !name.ends_with(".attention.k"))) {
    return std::nullopt;
  }
  const auto& attention = checkpoint.spec().layers[0].attention;
  if (!attention || !attention->rope ||
      attention->rope->layout != RopeLayout::interleaved) {
    return std::nullopt;
  }
  std::vector<std::int32_t> order;  // theirs → ours
  const int half = attention->head_dim / 2;
  const int heads = of_q ? attention->heads : attention->kv_heads;
  for (int head = 0; head < heads; ++head) {
    for (int j = 0; j < 2; ++j) {
      for (int i = 0; i < half; ++i) {
        order.push_back(head * attention->head_dim + 2 * i + j);
      }
    }
  }
  return order;
}

mx::array take_rows_in(
    const mx::array& b,
    const std::vector<std::int32_t>& order) {
  return mx::take(
      b,
      mx::array(order.data(), {static_cast<int>(order.size())}),
      0);
}

/// Our rows from rows in Hugging Face's order.
mx::array to_our_rows(
    const mx::array& b,
    const std::string& name,
    const Checkpoint& checkpoint) {
  const auto order = row_order(name, checkpoint);
  if (!order) {
    return b;
  }
  std::vector<std::int32_t> back(order->size());
  for (std::size_t i = 0; i < order->size(); ++i) {
    back[static_cast<std::size_t>((*order)[i])] = static_cast<std::int32_t>(i);
  }
  return take_rows_in(b, back);
}

float peft_scale(const Json& config, const fs::path& folder) {
  const double rank = config.value("r", 0);
  const double alpha = config.value("lora_alpha", 0.0);
  if (rank <= 0) {
    refuse_adapter(folder, "its config tells no rank");
  }
  for (const char* key : {"rank_pattern", "alpha_pattern"}) {
    if (config.contains(key) && !config[key].empty()) {
      fail<UnsupportedError>(
          fmt::format("The adapter in {} has a {}", folder.string(), key),
          "One rank and one alpha are supported",
          "Train an adapter without it");
    }
  }
  const bool root = config.value("use_rslora", false);
  return static_cast<float>(alpha / (root ? std::sqrt(rank) : rank));
}

float mlx_scale(const Json& config, const fs::path& folder) {
  const auto type = config.value("fine_tune_type", std::string("lora"));
  if (type != "lora" && type != "dora") {
    fail<UnsupportedError>(
        fmt::format("The adapter in {} is of type {}", folder.string(), type),
        "Only LoRA and DoRA can be attached",
        "Fuse it with the library that made it");
  }
  const auto found = config.find("lora_parameters");
  if (found == config.end() || !found->contains("scale")) {
    refuse_adapter(folder, "its config has no lora_parameters with a scale");
  }
  return found->at("scale").get<float>();
}

/// The parts of one module, in the file's orientation.
struct Module {
  std::optional<mx::array> a, b, magnitude;
};

void add_module(
    Adapter& adapter,
    const std::string& module,
    const Module& parts,
    const Checkpoint& checkpoint,
    const fs::path& folder) {
  const auto& a = *parts.a;
  const auto& b = *parts.b;
  if (checkpoint.find(module) != nullptr) {  // our own name
    adapter.matrices.push_back({module, a, b, parts.magnitude});
    return;
  }
  const auto names =
      map_tensor_name(module, NameStyle::hugging_face, checkpoint.spec());
  for (const auto& rows : names) {
    if (checkpoint.find(rows.name) == nullptr) {
      refuse_adapter(folder, module + " is no matrix of the model");
    }
    std::vector<std::int32_t> picked;
    const auto count = rows.rows == 0 ? b.shape(0) - rows.row_begin : rows.rows;
    for (std::int64_t run = 0; run < rows.runs; ++run) {
      for (std::int64_t i = 0; i < count; ++i) {
        picked.push_back(static_cast<std::int32_t>(
            rows.row_begin + run * rows.run_stride + i));
      }
    }
    if (rows.stacked || picked.empty() || picked.back() >= b.shape(0)) {
      refuse_adapter(folder, module + " has other rows than the model");
    }
    const auto ours = [&](const mx::array& all) {
      return to_our_rows(take_rows_in(all, picked), rows.name, checkpoint);
    };
    adapter.matrices.push_back({rows.name, a, ours(b)});
    if (parts.magnitude) {
      adapter.matrices.back().magnitude = ours(*parts.magnitude);
    }
  }
}

}  // namespace

bool Adapter::has_magnitudes() const {
  return std::any_of(
      matrices.begin(),
      matrices.end(),
      [](const AdapterMatrix& each) { return each.magnitude.has_value(); });
}

Adapter read_adapter(const fs::path& folder, const Checkpoint& checkpoint) {
  std::error_code error;
  const bool peft = fs::is_regular_file(folder / kPeftWeights, error);
  const fs::path weights = folder / (peft ? kPeftWeights : kMlxWeights);
  if (!fs::is_regular_file(folder / kConfig, error) ||
      !fs::is_regular_file(weights, error)) {
    fail<UserError>(
        fmt::format("{} has no adapter", folder.string()),
        fmt::format(
            "It would have {} and {} or {}",
            kConfig,
            kMlxWeights,
            kPeftWeights),
        "Give the folder that training wrote");
  }
  const Json config = read_json_file(folder / kConfig);
  Adapter adapter;
  adapter.scale = peft ? peft_scale(config, folder) : mlx_scale(config, folder);
  const SafetensorsFile file(weights);
  std::map<std::string, Module> modules;
  for (const auto& entry : file.entries()) {
    const auto part = part_of(entry.name);
    if (!part) {
      refuse_adapter(folder, entry.name + " is no part of a low-rank matrix");
    }
    auto value = to_array(entry, folder);
    if (value.ndim() != (part->part == Part::magnitude ? 1 : 2)) {
      refuse_adapter(folder, entry.name + " has another shape");
    }
    if (!peft && part->part != Part::magnitude) {
      value = transposed(value);  // mlx-lm has [in, rank] and [rank, out]
    }
    auto& module = modules[part->module];
    (part->part == Part::a   ? module.a
     : part->part == Part::b ? module.b
                             : module.magnitude)
        .emplace(value);
  }
  for (const auto& [name, module] : modules) {
    if (!module.a || !module.b || module.a->shape(0) != module.b->shape(1) ||
        (module.magnitude &&
         module.magnitude->shape(0) != module.b->shape(0))) {
      refuse_adapter(folder, name + " has parts that don't fit");
    }
    adapter.rank = std::max(adapter.rank, module.a->shape(0));
    add_module(adapter, name, module, checkpoint, folder);
  }
  if (adapter.matrices.empty()) {
    refuse_adapter(folder, "it is empty");
  }
  return adapter;
}

std::string hugging_face_matrix(
    const std::string& name,
    const ModelSpec& spec) {
  const std::pair<std::string_view, std::string_view> parts[] = {
      {"attention.q", "self_attn.q_proj"},
      {"attention.k", "self_attn.k_proj"},
      {"attention.v", "self_attn.v_proj"},
      {"attention.o", "self_attn.o_proj"},
      {"attention.q_a", "self_attn.q_a_proj"},
      {"attention.q_b", "self_attn.q_b_proj"},
      {"attention.kv_a", "self_attn.kv_a_proj_with_mqa"},
      {"attention.kv_b", "self_attn.kv_b_proj"},
      {"feed_forward.gate", "mlp.gate_proj"},
      {"feed_forward.up", "mlp.up_proj"},
      {"feed_forward.down", "mlp.down_proj"}};
  for (const auto& [ours, theirs] : parts) {
    if (!name.ends_with(ours)) {
      continue;
    }
    const auto module = "model." + name.substr(0, name.size() - ours.size()) +
                        std::string(theirs);
    const auto mapped = map_tensor_name(module, NameStyle::hugging_face, spec);
    if (mapped.size() == 1 && mapped[0].name == name && mapped[0].rows == 0) {
      return module;
    }
  }
  return name;
}

namespace {

/// "model.layers.3.self_attn.q_proj" → 3 and "self_attn.q_proj".
std::pair<int, std::string> layer_and_key(const std::string& module) {
  const auto begin = module.find("layers.");
  if (begin == std::string::npos) {
    return {0, module};
  }
  const auto number = begin + std::strlen("layers.");
  const auto dot = module.find('.', number);
  return {
      std::stoi(module.substr(number, dot - number)),
      module.substr(dot + 1)};
}

struct Written {
  std::vector<std::pair<std::string, mx::array>> arrays;
  std::set<std::string> keys;
  int first_layer = 0;
};

Written arrays_of(
    const Adapter& adapter,
    const Checkpoint& checkpoint,
    AdapterFormat format) {
  Written out;
  out.first_layer = static_cast<int>(checkpoint.spec().layers.size());
  for (const auto& matrix : adapter.matrices) {
    const auto module = hugging_face_matrix(matrix.name, checkpoint.spec());
    const auto [layer, key] = layer_and_key(module);
    out.keys.insert(key);
    out.first_layer = std::min(out.first_layer, layer);
    auto b = matrix.b;
    auto magnitude = matrix.magnitude;
    if (const auto order = row_order(matrix.name, checkpoint)) {
      b = take_rows_in(b, *order);
      if (magnitude) {
        magnitude = take_rows_in(*magnitude, *order);
      }
    }
    if (format == AdapterFormat::peft) {
      const auto at = std::string(kPeftPrefix) + module;
      out.arrays.emplace_back(at + ".lora_A.weight", matrix.a);
      out.arrays.emplace_back(at + ".lora_B.weight", b);
      if (magnitude) {
        out.arrays.emplace_back(at + ".lora_magnitude_vector", *magnitude);
      }
    } else {
      out.arrays.emplace_back(module + ".lora_a", transposed(matrix.a));
      out.arrays.emplace_back(module + ".lora_b", transposed(b));
      if (magnitude) {
        out.arrays.emplace_back(module + ".m", *magnitude);
      }
    }
  }
  return out;
}

Json config_of(
    const Adapter& adapter,
    const Checkpoint& checkpoint,
    const Written& written,
    AdapterFormat format) {
  const auto layers = static_cast<int>(checkpoint.spec().layers.size());
  if (format == AdapterFormat::mlx_lm) {
    return {
        {"fine_tune_type", adapter.has_magnitudes() ? "dora" : "lora"},
        {"model", checkpoint.path().string()},
        {"num_layers", layers - written.first_layer},
        {"lora_parameters",
         {{"rank", adapter.rank},
          {"scale", adapter.scale},
          {"dropout", adapter.dropout},
          {"keys", written.keys}}}};
  }
  std::set<std::string> targets;
  for (const auto& key : written.keys) {
    targets.insert(key.substr(key.rfind('.') + 1));
  }
  Json config = {
      {"peft_type", "LORA"},
      {"task_type", "CAUSAL_LM"},
      {"base_model_name_or_path", checkpoint.path().string()},
      {"r", adapter.rank},
      {"lora_alpha", adapter.scale * static_cast<float>(adapter.rank)},
      {"lora_dropout", adapter.dropout},
      {"target_modules", targets},
      {"bias", "none"},
      {"fan_in_fan_out", false},
      {"inference_mode", true},
      {"use_rslora", false},
      {"use_dora", adapter.has_magnitudes()}};
  if (written.first_layer > 0) {
    std::vector<int> all;
    for (int layer = written.first_layer; layer < layers; ++layer) {
      all.push_back(layer);
    }
    config["layers_to_transform"] = all;
  }
  return config;
}

}  // namespace

void write_adapter(
    const Adapter& adapter,
    const Checkpoint& checkpoint,
    const fs::path& folder,
    AdapterFormat format) {
  const auto written = arrays_of(adapter, checkpoint, format);
  const bool peft = format == AdapterFormat::peft;
  save_arrays(
      folder / (peft ? kPeftWeights : kMlxWeights),
      written.arrays,
      {{"format", peft ? "pt" : "mlx"}});
  const std::string text =
      config_of(adapter, checkpoint, written, format).dump(2) + "\n";
  write_file_atomically(folder / kConfig, std::as_bytes(std::span(text)));
}

namespace {

[[noreturn]] void refuse_matrix(const std::string& name) {
  fail<UnsupportedError>(
      fmt::format("{} can't have an adapter", name),
      "This model's graph reads it in another way",
      "Fuse the adapter with the library that made it");
}

/// DoRA once and for all, without the magnitude: with f = m / ‖w + s·b·a‖ it
/// changes w by (f − 1)·w + f·s·b·a, of which weight counts.
void give_lengths(
    GraphHook& hook,
    const mx::array& magnitude,
    float weight,
    LowRankAddition& addition) {
  const auto factor = mx::divide(magnitude, adapted_lengths(hook, addition));
  const mx::array share(weight);
  addition.b = mx::multiply(mx::expand_dims(factor, 1), addition.b);
  addition.scale *= weight;
  auto factors = mx::multiply(mx::subtract(factor, mx::array(1.0f)), share);
  factors =
      mx::add(factors, hook.row_factors ? *hook.row_factors : mx::array(1.0f));
  mx::eval(addition.b, factors);
  hook.row_factors = factors;
}

}  // namespace

void attach(
    const Adapter& adapter,
    float weight,
    const TrainableDecoder& decoder) {
  for (const auto& matrix : adapter.matrices) {
    const auto found = decoder.hooks().find(matrix.name);
    if (found == decoder.hooks().end()) {
      refuse_matrix(matrix.name);
    }
    auto& hook = *found->second;
    if (matrix.a.shape(1) != hook.cols || matrix.b.shape(0) != hook.rows) {
      fail<CheckpointError>(
          fmt::format(
              "The adapter for {} is for a matrix of {} by {}",
              matrix.name,
              matrix.b.shape(0),
              matrix.a.shape(1)),
          fmt::format("The model's has {} by {}", hook.rows, hook.cols),
          "Check that it belongs to this model");
    }
    LowRankAddition addition{matrix.a, matrix.b, adapter.scale * weight};
    if (matrix.magnitude) {
      if (!hook.stored.times) {
        refuse_matrix(matrix.name);
      }
      addition.scale = adapter.scale;
      give_lengths(hook, *matrix.magnitude, weight, addition);
    }
    hook.additions.push_back(addition);
  }
}

std::unique_ptr<Decoder> load_with_adapters(
    const Checkpoint& checkpoint,
    const ModelOptions& options,
    std::span<const AdapterChoice> adapters) {
  if (adapters.empty()) {
    return Decoder::load(checkpoint, options);
  }
  require_runnable(checkpoint.spec());
  auto decoder =
      load_graph_decoder(checkpoint, options, prepare_device(options));
  for (const auto& choice : adapters) {
    attach(read_adapter(choice.path, checkpoint), choice.weight, *decoder);
  }
  return decoder;
}

}  // namespace roofline
