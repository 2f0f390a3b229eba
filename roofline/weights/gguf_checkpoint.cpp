#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "roofline/base/errors.h"
#include "roofline/spec/families.h"
#include "roofline/spec/read_config.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/gguf.h"
#include "roofline/weights/name_tensors.h"
#include "roofline/weights/opened_checkpoint.h"
#include "roofline/weights/printable.h"
#include "roofline/weights/text_files.h"

namespace roofline {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

std::optional<std::vector<float>> read_factors(
    const GgufFile& file,
    std::string_view name) {
  const GgufTensor* found = file.find(name);
  if (found == nullptr) {
    return std::nullopt;
  }
  // One a pair of a head's dims; a larger claim is no list of factors.
  constexpr std::int64_t kMostFactors = 1 << 16;
  const Tensor tensor = as_tensor(*found);
  if (tensor.rows != 1 || tensor.cols > kMostFactors) {
    fail<CheckpointError>(
        fmt::format("{}: tensor {} can't be right", file.label(), name),
        fmt::format(
            "It has {} × {} values where a list of rope factors belongs",
            tensor.rows,
            tensor.cols),
        "Download or copy the file again");
  }
  std::vector<float> out(static_cast<std::size_t>(tensor.cols));
  decode_row(tensor, 0, out);
  return out;
}

class GgufCheckpoint final : public OpenedCheckpoint {
 public:
  explicit GgufCheckpoint(const fs::path& path)
      : OpenedCheckpoint(path), file_(path) {
    refuse_empty();
    spec_ = read_gguf_metadata(
        metadata_for_spec(),
        {read_factors(file_, "rope_freqs.weight"),
         read_factors(file_, "rope_factors_long.weight"),
         read_factors(file_, "rope_factors_short.weight")},
        tensor_names());
    std::vector<Tensor> sources;
    for (const GgufTensor& tensor : file_.tensors()) {
      sources.push_back(as_tensor(tensor));
    }
    tensors_ = name_tensors(
        std::move(sources),
        NameStyle::gguf,
        TieFlag::by_tensors,
        spec_,
        file_.label(),
        "the file's metadata",
        made_);
    collect_eos();
    fingerprint_ = fingerprint_files(file_.files());
  }

  void release(const Tensor& tensor) const override {
    file_.release(tensor.bytes);
  }
  std::string format() const override {
    return fmt::format("GGUF v{}", file_.version());
  }
  std::size_t file_bytes() const override { return file_.file_bytes(); }
  std::unique_ptr<Tokenizer> load_tokenizer() const override {
    return Tokenizer::from_vocabulary(gguf_vocabulary(file_));
  }
  std::optional<std::string> chat_template() const override {
    return gguf_chat_template(file_);
  }

 private:
  /// Files that are sound but no whole model.
  void refuse_empty() const {
    if (file_.tensors().empty()) {
      fail<CheckpointError>(
          file_.label() + " holds no weights",
          "It has metadata and perhaps a vocabulary, but no tensors",
          "Name the model's own file");
    }
  }

  std::vector<std::string> tensor_names() const {
    std::vector<std::string> out;
    for (const GgufTensor& tensor : file_.tensors()) {
      out.push_back(tensor.name);
    }
    return out;
  }

  /// The metadata, and sizes that only the tensors' shapes say: that of the
  /// vocabulary where it isn't written down, and the rank of a low-rank twin.
  json metadata_for_spec() const {
    json metadata = file_.metadata();
    const auto architecture = metadata.find("general.architecture");
    const GgufTensor* embedding = file_.find("token_embd.weight");
    if (architecture == metadata.end() || !architecture->is_string() ||
        embedding == nullptr) {
      return metadata;
    }
    const std::string key = architecture->get<std::string>() + ".vocab_size";
    if (!metadata.contains(key)) {
      metadata[key] = embedding->rows();
    }
    if (const GgufTensor* twin = file_.find("blk.0.laurel_l.weight")) {
      metadata[architecture->get<std::string>() + ".laurel_rank"] =
          twin->rows();
    }
    const std::string score =
        architecture->get<std::string>() + ".expert_gating_func";
    if (!metadata.contains(score) &&
        has_unlisted_selection_bias(*architecture)) {
      constexpr int kSigmoid = 2;
      metadata[score] = kSigmoid;
    }
    return metadata;
  }

  /// A bias in choosing experts, in a file of an architecture that can do
  /// without: those models score by sigmoids.
  bool has_unlisted_selection_bias(const std::string& architecture) const {
    const Family* family = find_gguf_family(architecture);
    return family != nullptr && family->mixture &&
           !family->mixture->selection_bias &&
           std::any_of(
               file_.tensors().begin(),
               file_.tensors().end(),
               [](const GgufTensor& tensor) {
                 return tensor.name.find(".exp_probs_b") != std::string::npos;
               });
  }

  void collect_eos() {
    for (const char* key :
         {"tokenizer.ggml.eos_token_id",
          "tokenizer.ggml.eot_token_id",
          "tokenizer.ggml.eom_token_id"}) {
      const auto found = file_.metadata().find(key);
      if (found != file_.metadata().end() && found->is_number_integer() &&
          *found >= 0 && *found < spec_.vocab) {
        add_eos(found->get<std::int64_t>());
      }
    }
    if (!file_.metadata().contains("tokenizer.ggml.eot_token_id")) {
      find_turn_end();
    }
  }

  /// Older files don't say which token ends a turn. Chat models have one of
  /// these, as a control token.
  void find_turn_end() {
    constexpr std::array<std::string_view, 4> kTurnEnds = {
        "<|im_end|>",
        "<|eot_id|>",
        "<|end|>",
        "<end_of_turn>"};
    constexpr std::int32_t kControl = 3;
    const auto types = file_.integers("tokenizer.ggml.token_type");
    const auto tokens = file_.strings("tokenizer.ggml.tokens");
    const std::size_t count = std::min(types.size(), tokens.size());
    for (std::size_t i = 0; i < count; ++i) {
      if (types[i] == kControl &&
          std::find(kTurnEnds.begin(), kTurnEnds.end(), tokens[i]) !=
              kTurnEnds.end()) {
        add_eos(static_cast<std::int64_t>(i));
      }
    }
  }

  GgufFile file_;
};

}  // namespace

std::unique_ptr<Checkpoint> open_gguf(const fs::path& file) {
  return std::make_unique<GgufCheckpoint>(file);
}

}  // namespace roofline
