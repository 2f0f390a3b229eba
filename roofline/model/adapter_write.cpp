#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>
#include <nlohmann/json.hpp>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"
#include "roofline/model/adapter.h"
#include "roofline/model/adapter_files.h"
#include "roofline/model/adapter_modules.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/save_arrays.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using namespace adapter_files;

/// "model.layers.3.self_attn.q_proj" → 3 and "self_attn.q_proj".
std::pair<int, std::string> layer_and_key(const std::string& module) {
  for (const std::string_view before : {"layers.", ".h."}) {
    const auto begin = module.find(before);
    if (begin != std::string::npos) {
      const auto number = begin + before.size();
      const auto dot = module.find('.', number);
      return {
          std::stoi(module.substr(number, dot - number)),
          module.substr(dot + 1)};
    }
  }
  return {0, module};
}

/// The lengths of a matrix's rows, as they are stored.
std::vector<float> stored_lengths(
    const Checkpoint& checkpoint,
    const std::string& name) {
  const Tensor& tensor = checkpoint.at(name);
  std::vector<float> values(static_cast<std::size_t>(tensor.cols));
  std::vector<float> lengths;
  for (std::int64_t row = 0; row < tensor.rows; ++row) {
    decode_row(tensor, row, values);
    double squares = 0;
    for (const float value : values) {
      squares += static_cast<double>(value) * value;
    }
    lengths.push_back(static_cast<float>(std::sqrt(squares)));
  }
  return lengths;
}

mx::array in_file_order(
    const mx::array& x,
    const std::string& name,
    const Checkpoint& checkpoint) {
  const auto order = hugging_face_order(name, checkpoint);
  return order ? take_rows(x, *order) : x;
}

const float* values_of(mx::array& x) {
  x = mx::contiguous(mx::astype(x, mx::float32));
  x.eval();
  return x.data<float>();
}

/// One low-rank matrix of a module whose parts have some of their own: their
/// ranks side by side, each for the rows of its part alone.
class Joining {
 public:
  using Matrices = std::map<std::string, const AdapterMatrix*>;

  Joining(
      const AdapterModule& module,
      const Matrices& matrices,
      const Checkpoint& checkpoint)
      : module_(module), checkpoint_(checkpoint) {
    for (const auto& part : module.parts) {
      const auto found = matrices.find(part.matrix);
      if (found != matrices.end()) {
        rank_ += found->second->a.shape(0);
        cols_ = found->second->a.shape(1);
        lengths_ = lengths_ || found->second->magnitude.has_value();
      }
    }
    b_.resize(static_cast<std::size_t>(module.rows) * rank());
    magnitude_.resize(lengths_ ? static_cast<std::size_t>(module.rows) : 0);
    int begin = 0;
    for (const auto& part : module.parts) {
      const auto found = matrices.find(part.matrix);
      if (found != matrices.end()) {
        add(part, *found->second, begin);
        begin += found->second->a.shape(0);
      } else if (lengths_) {
        place(part, stored_lengths(checkpoint, part.matrix).data());
      }
    }
  }

  AdapterMatrix result() const {
    AdapterMatrix out{
        module_.name,
        mx::array(a_.data(), {rank_, cols_}),
        mx::array(b_.data(), {module_.rows, rank_})};
    if (lengths_) {
      out.magnitude = mx::array(magnitude_.data(), {module_.rows});
    }
    return out;
  }

 private:
  std::size_t rank() const { return static_cast<std::size_t>(rank_); }

  void place(const ModulePart& part, const float* lengths) {
    for (std::size_t i = 0; i < part.rows.size(); ++i) {
      magnitude_[static_cast<std::size_t>(part.rows[i])] = lengths[i];
    }
  }

  void add(const ModulePart& part, const AdapterMatrix& matrix, int begin) {
    mx::array a = matrix.a;
    const float* from = values_of(a);
    a_.insert(a_.end(), from, from + a.size());
    mx::array b = in_file_order(matrix.b, matrix.name, checkpoint_);
    const float* values = values_of(b);
    const auto own = static_cast<std::size_t>(b.shape(1));
    for (std::size_t i = 0; i < part.rows.size(); ++i) {
      std::copy_n(
          values + i * own,
          own,
          b_.begin() + static_cast<std::ptrdiff_t>(
                           static_cast<std::size_t>(part.rows[i]) * rank() +
                           static_cast<std::size_t>(begin)));
    }
    if (matrix.magnitude) {
      mx::array lengths =
          in_file_order(*matrix.magnitude, matrix.name, checkpoint_);
      place(part, values_of(lengths));
    }
  }

  const AdapterModule& module_;
  const Checkpoint& checkpoint_;
  int rank_ = 0;
  int cols_ = 0;
  bool lengths_ = false;
  std::vector<float> a_, b_, magnitude_;
};

/// As it is where it is one matrix of ours.
AdapterMatrix matrix_of(
    const AdapterModule& module,
    const Joining::Matrices& matrices,
    const Checkpoint& checkpoint) {
  if (!module.is_matrix()) {
    return Joining(module, matrices, checkpoint).result();
  }
  const AdapterMatrix& own = *matrices.at(module.parts[0].matrix);
  AdapterMatrix out{
      module.name,
      own.a,
      in_file_order(own.b, own.name, checkpoint)};
  if (own.magnitude) {
    out.magnitude = in_file_order(*own.magnitude, own.name, checkpoint);
  }
  return out;
}

/// mlx-lm's form has one rank for all: zeros that change nothing.
void widen(AdapterMatrix& matrix, int rank) {
  const int more = rank - matrix.a.shape(0);
  if (more > 0) {
    matrix.a = mx::pad(matrix.a, {{0, more}, {0, 0}});
    matrix.b = mx::pad(matrix.b, {{0, 0}, {0, more}});
  }
}

struct Written {
  std::vector<std::pair<std::string, mx::array>> arrays;
  std::set<std::string> keys;
  int first_layer = 0;
  int rank = 0;
};

void add_arrays(
    const AdapterMatrix& matrix,
    AdapterFormat format,
    Written& out) {
  const auto transposed = [](const mx::array& x) {
    return mx::contiguous(mx::transpose(x));
  };
  const bool peft = format == AdapterFormat::peft;
  const auto at = (peft ? std::string(kPeftPrefix) : "") + matrix.name;
  if (peft) {
    out.arrays.emplace_back(at + ".lora_A.weight", mx::contiguous(matrix.a));
    out.arrays.emplace_back(at + ".lora_B.weight", mx::contiguous(matrix.b));
  } else {
    out.arrays.emplace_back(at + ".lora_a", transposed(matrix.a));
    out.arrays.emplace_back(at + ".lora_b", transposed(matrix.b));
  }
  if (matrix.magnitude) {
    out.arrays.emplace_back(
        at + (peft ? ".lora_magnitude_vector" : ".m"),
        *matrix.magnitude);
  }
}

Written arrays_of(
    const Adapter& adapter,
    const Checkpoint& checkpoint,
    AdapterFormat format) {
  Joining::Matrices matrices;
  for (const auto& matrix : adapter.matrices) {
    matrices[matrix.name] = &matrix;
  }
  Written out;
  out.first_layer = static_cast<int>(checkpoint.spec().layers.size());
  std::vector<AdapterMatrix> made;
  for (const auto& module : adapter_modules(adapter, checkpoint, format)) {
    made.push_back(matrix_of(module, matrices, checkpoint));
    out.rank = std::max(out.rank, made.back().a.shape(0));
    const auto [layer, key] = layer_and_key(module.name);
    out.keys.insert(key);
    out.first_layer = std::min(out.first_layer, layer);
  }
  for (auto& matrix : made) {
    widen(matrix, out.rank);
    add_arrays(matrix, format, out);
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
         {{"rank", written.rank},
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
      {"r", written.rank},
      {"lora_alpha", adapter.scale * static_cast<float>(written.rank)},
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
  for (const auto& matrix : adapter.matrices) {
    if (matrix.of_experts()) {
      fail<UnsupportedError>(
          fmt::format("The adapter of {} can't be written alone", matrix.name),
          "The forms differ in how they name the matrices of experts",
          "Use it as it is, or fuse it into the model");
    }
  }
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

}  // namespace roofline
