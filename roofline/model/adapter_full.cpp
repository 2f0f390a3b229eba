#include "roofline/model/adapter_full.h"

#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/model/adapter_files.h"
#include "roofline/spec/mlx_folding.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/overlaid_checkpoint.h"

namespace roofline {

namespace fs = std::filesystem;
using namespace adapter_files;

bool is_full_adapter(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_regular_file(folder / kConfig, error) ||
      !fs::is_regular_file(folder / kMlxWeights, error) ||
      fs::is_regular_file(folder / kPeftWeights, error)) {
    return false;
  }
  const auto config = read_json_file(folder / kConfig);
  const auto type =
      config.is_object() ? config.find("fine_tune_type") : config.end();
  return type != config.end() && *type == "full";
}

std::unique_ptr<Checkpoint> with_full_weights(
    const Checkpoint& checkpoint,
    std::span<const AdapterChoice> adapters) {
  const AdapterChoice* full = nullptr;
  for (const auto& choice : adapters) {
    if (!is_full_adapter(choice.path)) {
      continue;
    }
    if (full != nullptr || choice.weight != 1.0f) {
      fail<UnsupportedError>(
          full ? "Several adapters of type full can't be added up"
               : "An adapter of type full can't be weighed",
          "It has weights in the place of the model's, nothing to be added",
          "Give one, without a weight");
    }
    full = &choice;
  }
  if (full == nullptr) {
    return nullptr;
  }
  if (checkpoint.format().starts_with("GGUF")) {
    fail<UnsupportedError>(
        "An adapter of type full can't be put into a GGUF file's model",
        "Its weights are in the order of the model's folder",
        "Give the folder that it was trained on");
  }
  if (is_unfolded(checkpoint.spec())) {
    fail<UnsupportedError>(
        "An adapter of type full can't be put into this folder's model",
        "Its weights have the one of the norms or config.json's factors in "
        "them, and the folder's don't",
        "Convert the folder (roofline convert) and give what that writes");
  }
  return overlay_checkpoint(checkpoint, full->path / kMlxWeights);
}

}  // namespace roofline
