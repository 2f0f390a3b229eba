#include "roofline/model/adapter_files.h"

#include <fmt/format.h>
#include <mlx/ops.h>

#include "roofline/base/errors.h"
#include "roofline/spec/families.h"

namespace roofline {

void adapter_files::refuse_adapter(
    const std::filesystem::path& folder,
    const std::string& why) {
  fail<CheckpointError>(
      fmt::format("The adapter in {} can't be used", folder.string()),
      why,
      "Check that it belongs to this model");
}

std::optional<std::vector<std::int32_t>> hugging_face_order(
    const std::string& name,
    const Checkpoint& checkpoint) {
  const bool of_q = name.ends_with(".attention.q");
  if (!checkpoint.format().starts_with("GGUF") ||
      (!of_q && !name.ends_with(".attention.k"))) {
    return std::nullopt;
  }
  // Families whose folders have pairs side by side as well keep their order.
  const ModelSpec& spec = checkpoint.spec();
  const Family* family = find_gguf_family(spec.family);
  const auto layer = static_cast<std::size_t>(std::stoul(name.substr(7)));
  const auto& attention = spec.layers[layer].attention;
  if (!attention || attention->latent || family == nullptr ||
      family->gguf_rope_layout != RopeLayout::interleaved ||
      family->rope_layout != RopeLayout::half_split) {
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

ModelSpec hugging_face_spec(const Checkpoint& checkpoint) {
  ModelSpec spec = checkpoint.spec();
  const bool gguf = checkpoint.format().starts_with("GGUF");
  if (const Family* family = gguf ? find_gguf_family(spec.family) : nullptr) {
    spec.family = family->name;
  }
  return spec;
}

mx::array take_rows(
    const mx::array& x,
    const std::vector<std::int32_t>& order) {
  return mx::take(
      x,
      mx::array(order.data(), {static_cast<int>(order.size())}),
      0);
}

}  // namespace roofline
