#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "roofline/spec/families.h"
#include "roofline/spec/write_config.h"
#include "roofline/text/write_tokenizer.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/convert/gguf_tensor_source.h"
#include "roofline/weights/convert/hf_source.h"
#include "roofline/weights/gguf.h"
#include "roofline/weights/text_files.h"

namespace roofline {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// Whether more of the matrices' weights are in float32 than in anything else:
/// quantized files have routers and norms in it.
bool is_mostly_f32(const Checkpoint& checkpoint) {
  std::map<Encoding, std::int64_t> weights;
  for (const Tensor& tensor : checkpoint.tensors()) {
    if (tensor.rows > 1) {
      weights[tensor.encoding] += tensor.rows * tensor.cols;
    }
  }
  const auto most = std::max_element(
      weights.begin(),
      weights.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  return most != weights.end() && most->first == Encoding::f32;
}

/// As stored where that is float32; else floats that hold what the file has
/// without overflow: a model that scales its embeddings up leaves float16's
/// range.
std::string_view usual_dtype(const Checkpoint& checkpoint) {
  if (is_mostly_f32(checkpoint)) {
    return "float32";
  }
  const bool wide = std::any_of(
                        checkpoint.tensors().begin(),
                        checkpoint.tensors().end(),
                        [](const Tensor& tensor) {
                          return tensor.encoding == Encoding::bf16;
                        }) ||
                    checkpoint.spec().embedding_scale != 1.0f;
  return wide ? "bfloat16" : "float16";
}

}  // namespace

std::vector<HfShape> hf_gguf_shapes(const Checkpoint& checkpoint) {
  const GgufFile file(checkpoint.path());
  const auto config = write_config(checkpoint.spec(), file.metadata());
  const Family* family = find_family(config["model_type"].get<std::string>());
  // It outlives the tensors, which aren't read.
  const std::shared_ptr<const Checkpoint> lent(&checkpoint, [](const auto*) {});
  std::vector<HfShape> shapes;
  for (const auto& tensor : make_hf_tensors(lent, *family)) {
    shapes.push_back({tensor.name, tensor.shape});
  }
  return shapes;
}

HfSource hf_gguf_source(
    const fs::path& path,
    std::shared_ptr<const WeightChanges> changes) {
  const std::shared_ptr<const Checkpoint> checkpoint = Checkpoint::open(path);
  const GgufFile file(path);
  HfSource out;
  out.config = write_config(checkpoint->spec(), file.metadata());
  out.config["torch_dtype"] = usual_dtype(*checkpoint);
  const Family* family =
      find_family(out.config["model_type"].get<std::string>());
  out.tensors = make_hf_tensors(checkpoint, *family, std::move(changes));
  out.tied = checkpoint->spec().tied_embeddings;
  const VocabularySpec vocabulary = gguf_vocabulary(file);
  out.texts = {
      {"tokenizer.json", tokenizer_json(vocabulary)},
      {"tokenizer_config.json",
       tokenizer_config_json(
           vocabulary,
           gguf_chat_template(file),
           checkpoint->spec().context_tokens)}};
  out.owner = checkpoint;
  return out;
}

}  // namespace roofline
