#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "roofline/base/errors.h"
#include "roofline/base/paths.h"
#include "roofline/spec/read_config.h"
#include "roofline/weights/foreign_tensors.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/mlx_global_scale.h"
#include "roofline/weights/mlx_packed.h"
#include "roofline/weights/name_tensors.h"
#include "roofline/weights/opened_checkpoint.h"
#include "roofline/weights/printable.h"
#include "roofline/weights/shards.h"
#include "roofline/weights/text_files.h"

namespace roofline {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

class FolderCheckpoint final : public OpenedCheckpoint {
 public:
  explicit FolderCheckpoint(const fs::path& folder)
      : OpenedCheckpoint(folder),
        config_(folder_config(folder)),
        label_(folder.string()),
        shards_(folder),
        foreign_(config_, shards_, label_) {
    spec_ = read_config(config_, tensor_names());
    tensors_ = name_tensors(
        read_sources(),
        NameStyle::hugging_face,
        config_.contains("tie_word_embeddings") || spec_.tied_embeddings
            ? TieFlag::decided
            : TieFlag::by_tensors,
        spec_,
        folder.string(),
        "config.json",
        made_);
    read_generation_config();
    std::vector<fs::path> files = shards_.paths();
    files.push_back(folder / "config.json");
    fingerprint_ = fingerprint_files(files);
  }

  void release(const Tensor& tensor) const override {
    for (const SafetensorsFile& file : shards_.files()) {
      file.release(tensor.bytes);
      file.release(tensor.affine.scales);
      file.release(tensor.affine.biases);
      file.release(tensor.foreign.scales);
      file.release(tensor.foreign.zeros);
    }
  }

  std::string format() const override {
    std::string out = "safetensors";
    if (shards_.files().size() > 1) {
      out += fmt::format(", {} shards", shards_.files().size());
    }
    if (foreign_.any()) {
      return out + fmt::format(" ({})", foreign_.name());
    }
    return packed_ ? out + " (MLX)" : out;
  }

  std::size_t file_bytes() const override {
    std::size_t sum = 0;
    for (const SafetensorsFile& file : shards_.files()) {
      sum += file.file_bytes();
    }
    return sum;
  }

  std::unique_ptr<Tokenizer> load_tokenizer() const override {
    return folder_tokenizer(path_);
  }
  std::optional<std::string> chat_template() const override {
    return folder_chat_template(path_);
  }

 private:
  std::vector<std::string> tensor_names() const {
    std::vector<std::string> out;
    for (const SafetensorsEntry* entry : shards_.entries()) {
      out.push_back(entry->name);
    }
    return out;
  }

  std::vector<Tensor> read_sources() {
    std::vector<Tensor> out;
    for (const SafetensorsEntry* entry : shards_.entries()) {
      if (packed_weight_of(entry->name, shards_) != nullptr ||
          (foreign_.any() && foreign_.is_side(*entry))) {
        continue;
      }
      if (foreign_.is_empty_bias(*entry) && !is_asked_for(entry->name, spec_)) {
        continue;
      }
      if (auto tensor = foreign_.read(*entry)) {
        out.push_back(std::move(*tensor));
        continue;
      }
      if (entry->dtype == "U32" && entry->name.ends_with(".weight")) {
        add_packed(*entry, out);
      } else if (entry->encoding()) {
        add_floats(*entry, out);
      } else {
        refuse_if_needed(*entry);
      }
    }
    if (!packed_ && could_be_packed(out)) {
      fail<CheckpointError>(
          path_.string() + ": config.json and the tensors disagree",
          "config.json has a \"quantization\", but no tensor is packed",
          "Take it out of config.json, or take the quantized weights");
    }
    return out;
  }

  /// config.json has a form that fits one of the matrices: without that mlx-lm
  /// writes floats and says all the same that they are quantized.
  bool could_be_packed(const std::vector<Tensor>& tensors) const {
    const json form = config_.value("quantization", json());
    const json group =
        form.is_object() ? form.value("group_size", json(1)) : json();
    if (!group.is_number_integer() || group < 1) {
      return form.is_object();
    }
    return std::any_of(tensors.begin(), tensors.end(), [&](const Tensor& t) {
      return t.rows > 1 && t.cols % group.get<std::int64_t>() == 0;
    });
  }

  /// Biases of a stack go one by one where its matrices do.
  void add_floats(const SafetensorsEntry& entry, std::vector<Tensor>& out) {
    constexpr std::string_view kBias = ".bias";
    const Tensor tensor = shaped_tensor(entry);
    const SafetensorsEntry* scales = nullptr;
    if (entry.name.ends_with(kBias)) {
      const auto length = entry.name.size() - kBias.size();
      scales = shards_.find(entry.name.substr(0, length) + ".global_scale");
    }
    const std::int64_t experts = scales == nullptr ? 1 : scales->elements();
    if (experts < 2 || tensor.rows != experts) {
      out.push_back(tensor);
      return;
    }
    for (Tensor& part : split_experts(tensor, experts)) {
      out.push_back(std::move(part));
    }
  }

  void add_packed(const SafetensorsEntry& weight, std::vector<Tensor>& out) {
    const std::string label = path_.string();
    const std::string module =
        weight.name.substr(0, weight.name.size() - 7);  // ".weight"
    const auto packing = packing_of(module, config_, label);
    if (!packing) {
      fail<CheckpointError>(
          fmt::format("{}: can't read {}", label, printable(weight.name)),
          "It is packed (U32), but config.json has no \"quantization\" for it",
          "Check that config.json belongs to these weights");
    }
    packed_ = true;
    const Tensor packed = mlx_tensor(
        weight,
        shards_.find(module + ".scales"),
        shards_.find(module + ".biases"),
        *packing,
        label);
    const SafetensorsEntry* scales = shards_.find(module + ".global_scale");
    if (scales == nullptr) {
      out.push_back(packed);
      return;
    }
    for (Tensor& part : with_global_scales(packed, *scales, label)) {
      out.push_back(std::move(part));
    }
  }

  /// Buffers of other dtypes (masks, positions) are no obstacle; weights are.
  void refuse_if_needed(const SafetensorsEntry& entry) const {
    std::string_view name = entry.name;
    if (name.ends_with(".weight")) {
      name.remove_suffix(7);
    }
    if (!map_tensor_name(name, NameStyle::hugging_face, spec_).empty()) {
      fail<UnsupportedError>(
          fmt::format(
              "{}: can't read {}",
              path_.string(),
              printable(entry.name)),
          fmt::format(
              "Its dtype is {}; F32, F16, BF16 and MLX's packed U32 can be "
              "read",
              entry.dtype),
          "Convert the checkpoint to one of these");
    }
  }

  /// The tokens that end a text are often listed only there.
  void read_generation_config() {
    const fs::path file = path_ / "generation_config.json";
    if (!is_file(file)) {
      return;
    }
    const json config = read_json_file(file);
    const json eos =
        config.is_object() ? config.value("eos_token_id", json()) : json();
    for (const json& token : eos.is_array() ? eos : json::array({eos})) {
      if (token.is_null()) {
        continue;
      }
      if (!token.is_number_integer() || token < 0) {
        fail<CheckpointError>(
            file.string() + " can't be right",
            fmt::format(
                "Its eos_token_id has {}; a token's number is from 0 to {}",
                printable(token.dump()),
                spec_.vocab - 1),
            "Repair the file or take it away");
      }
      if (token < spec_.vocab) {  // the model can't say any other
        add_eos(token.get<std::int64_t>());
      }
    }
  }

  json config_;
  std::string label_;
  Shards shards_;
  ForeignTensors foreign_;
  bool packed_ = false;
};

}  // namespace

std::unique_ptr<Checkpoint> open_folder(const fs::path& folder) {
  const bool has_config = is_file(folder / "config.json");
  const bool has_weights = is_file(folder / "model.safetensors") ||
                           is_file(folder / "model.safetensors.index.json");
  if (!has_config || !has_weights) {
    const fs::path gguf = only_gguf_in(folder);
    if (!gguf.empty()) {
      return open_gguf(gguf);
    }
  }
  if (!has_config) {
    fail<CheckpointError>(
        folder.string() + " is no model",
        "It has neither a config.json nor a .gguf file",
        "Name a folder in Hugging Face or MLX layout, or a GGUF file");
  }
  return std::make_unique<FolderCheckpoint>(folder);
}

}  // namespace roofline
