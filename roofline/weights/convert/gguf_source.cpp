#include <algorithm>
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

/// Floats that hold what the file has without overflow: a model that scales
/// its embeddings up leaves float16's range.
std::string_view usual_dtype(const Checkpoint& checkpoint) {
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
