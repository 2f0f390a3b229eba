#include "roofline/model/adapter.h"

#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>
#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/model/adapter_experts.h"
#include "roofline/model/adapter_files.h"
#include "roofline/model/adapter_full.h"
#include "roofline/model/device.h"
#include "roofline/model/graph_decoder.h"
#include "roofline/model/peft_scale.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/safetensors.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

using namespace adapter_files;

mx::array to_array(const SafetensorsEntry& entry, const fs::path& folder) {
  const auto encoding = entry.encoding();
  if (!encoding || entry.shape.empty() || entry.shape.size() > 3 ||
      entry.elements() == 0) {
    refuse_adapter(folder, entry.name + " is no matrix of floats");
  }
  const bool vector = entry.shape.size() == 1;
  Tensor tensor;
  tensor.name = entry.name;
  tensor.encoding = *encoding;
  tensor.cols = entry.shape.back();
  tensor.rows = vector ? 1 : entry.elements() / tensor.cols;
  tensor.bytes = entry.bytes;
  const auto cols = static_cast<std::size_t>(tensor.cols);
  std::vector<float> values(static_cast<std::size_t>(tensor.rows) * cols);
  for (std::int64_t row = 0; row < tensor.rows; ++row) {
    decode_row(
        tensor,
        row,
        std::span(values).subspan(static_cast<std::size_t>(row) * cols, cols));
  }
  mx::Shape shape;
  for (const auto extent : entry.shape) {
    shape.push_back(static_cast<int>(extent));
  }
  return mx::array(values.data(), shape);
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

/// Our rows from rows in Hugging Face's order.
mx::array to_our_rows(
    const mx::array& b,
    const std::string& name,
    const Checkpoint& checkpoint) {
  const auto order = hugging_face_order(name, checkpoint);
  if (!order) {
    return b;
  }
  std::vector<std::int32_t> back(order->size());
  for (std::size_t i = 0; i < order->size(); ++i) {
    back[static_cast<std::size_t>((*order)[i])] = static_cast<std::int32_t>(i);
  }
  return take_rows(b, back);
}

float mlx_scale(const fs::path& folder) {
  const Json config = read_json_file(folder / kConfig);
  const auto type = config.value("fine_tune_type", std::string("lora"));
  if (type != "lora" && type != "dora") {
    fail<UnsupportedError>(
        fmt::format("The adapter in {} is of type {}", folder.string(), type),
        "Only LoRA and DoRA have matrices of their own",
        type == "full" ? "Fuse it into the model: roofline fuse MODEL -o FOLDER"
                       : "Fuse it with the library that made it");
  }
  const auto found = config.find("lora_parameters");
  if (found == config.end() || !found->is_object() ||
      !found->contains("scale") || !found->at("scale").is_number()) {
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
    const ModelSpec& spec,
    const Checkpoint& checkpoint,
    const fs::path& folder) {
  const auto& a = *parts.a;
  const auto& b = *parts.b;
  if (checkpoint.find(module) != nullptr) {  // our own name
    adapter.matrices.push_back({module, a, b, parts.magnitude});
    return;
  }
  const auto names = map_tensor_name(module, NameStyle::hugging_face, spec);
  if (a.ndim() == 3) {
    if (names.size() != 1 || names[0].rows != 0 || parts.magnitude) {
      refuse_adapter(folder, module + " is no stack of experts of the model");
    }
    adapter.matrices.push_back({stack_of(names[0].name), a, b});
    return;
  }
  for (const auto& rows : names) {
    if (a.ndim() == 2 && expert_of(rows.name)) {
      adapter.matrices.push_back({rows.name, a, b, parts.magnitude});
      continue;
    }
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
      return to_our_rows(take_rows(all, picked), rows.name, checkpoint);
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
  std::optional<PeftScales> scales;
  Adapter adapter;
  if (peft) {
    scales.emplace(folder);
    adapter.scale = scales->general().value_or(0);
    if (adapter.scale == 0) {
      adapter.scale = 1;  // matrices' own scales are multiples of it
    }
  } else {
    adapter.scale = mlx_scale(folder);
  }
  const SafetensorsFile file(weights);
  const ModelSpec spec = hugging_face_spec(checkpoint);
  std::map<std::string, Module> modules;
  for (const auto& entry : file.entries()) {
    const auto part = part_of(entry.name);
    if (!part) {
      refuse_adapter(folder, entry.name + " is no part of a low-rank matrix");
    }
    auto value = to_array(entry, folder);
    const bool vector = part->part == Part::magnitude;
    if (vector ? value.ndim() != 1 : value.ndim() < 2) {
      refuse_adapter(folder, entry.name + " has another shape");
    }
    if (!peft && value.ndim() == 2) {
      value = transposed(value);  // mlx-lm has [in, rank] and [rank, out]
    }
    auto& module = modules[part->module];
    (part->part == Part::a   ? module.a
     : part->part == Part::b ? module.b
                             : module.magnitude)
        .emplace(value);
  }
  for (auto& [name, module] : modules) {
    if (!module.a || !module.b || module.a->ndim() != module.b->ndim() ||
        module.a->shape(-2) != module.b->shape(-1) ||
        (module.magnitude &&
         module.magnitude->shape(0) != module.b->shape(0))) {
      refuse_adapter(folder, name + " has parts that don't fit");
    }
    adapter.rank = std::max(adapter.rank, module.a->shape(-2));
    const auto experts = peft ? expert_parameter(
                                    name,
                                    module.a->shape(-1),
                                    module.b->shape(0),
                                    spec)
                              : std::nullopt;
    if (scales) {
      const float own = scales->of(experts.value_or(name));
      if (own != adapter.scale) {  // by a pattern
        module.b = mx::multiply(*module.b, mx::array(own / adapter.scale));
      }
    }
    if (experts) {
      add_expert_parameter(adapter, name, *module.a, *module.b, spec, folder);
      continue;
    }
    add_module(adapter, name, module, spec, checkpoint, folder);
  }
  if (adapter.matrices.empty()) {
    refuse_adapter(folder, "it is empty");
  }
  stack_experts(adapter, checkpoint.spec(), folder);
  return adapter;
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

void refuse_shape(
    const AdapterMatrix& matrix,
    std::int64_t rows,
    std::int64_t cols) {
  fail<CheckpointError>(
      fmt::format(
          "The adapter for {} is for a matrix of {} by {}",
          matrix.name,
          matrix.rows(),
          matrix.a.shape(-1)),
      fmt::format("The model's has {} by {}", rows, cols),
      "Check that it belongs to this model");
}

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
    const int experts = matrix.of_experts() ? matrix.a.shape(0) : 0;
    if (experts != hook.experts || matrix.a.shape(-1) != hook.cols ||
        matrix.rows() != hook.rows) {
      refuse_shape(matrix, hook.rows, hook.cols);
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

bool replace_adapters(
    Decoder& decoder,
    const Checkpoint& checkpoint,
    std::span<const AdapterChoice> adapters) {
  const auto* graph = dynamic_cast<const TrainableDecoder*>(&decoder);
  if (graph == nullptr) {
    return false;
  }
  const bool full = std::any_of(
      adapters.begin(),
      adapters.end(),
      [](const AdapterChoice& each) { return is_full_adapter(each.path); });
  if (full || graph->own_checkpoint) {
    return false;
  }
  std::vector<Adapter> read;
  for (const auto& choice : adapters) {
    read.push_back(read_adapter(choice.path, checkpoint));
  }
  std::vector<GraphHook> before;
  for (const auto& [name, hook] : graph->hooks()) {
    before.push_back(hook ? *hook : GraphHook());
    if (hook) {
      hook->additions.clear();
      hook->row_factors.reset();
    }
  }
  try {
    for (std::size_t i = 0; i < read.size(); ++i) {
      attach(read[i], adapters[i].weight, *graph);
    }
  } catch (...) {
    auto old = before.begin();
    for (const auto& [name, hook] : graph->hooks()) {
      if (hook) {
        *hook = *old;
      }
      ++old;
    }
    throw;
  }
  return true;
}

std::unique_ptr<Decoder> load_with_adapters(
    const Checkpoint& checkpoint,
    const ModelOptions& options,
    std::span<const AdapterChoice> adapters) {
  if (adapters.empty()) {
    return Decoder::load(checkpoint, options);
  }
  require_runnable(checkpoint.spec());
  std::shared_ptr<const Checkpoint> own =
      with_full_weights(checkpoint, adapters);
  auto decoder = load_graph_decoder(
      own ? *own : checkpoint,
      options,
      prepare_device(options));
  decoder->own_checkpoint = own;
  for (const auto& choice : adapters) {
    if (!is_full_adapter(choice.path)) {
      attach(read_adapter(choice.path, checkpoint), choice.weight, *decoder);
    }
  }
  return decoder;
}

}  // namespace roofline
