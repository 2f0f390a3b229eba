#include "roofline/cli/loaded_model.h"

#include <chrono>
#include <future>

#include "roofline/decode/chat.h"

namespace roofline::cli {

namespace {

using Clock = std::chrono::steady_clock;

// Set before main(), a millisecond or two after the process started.
const Clock::time_point process_start = Clock::now();

}  // namespace

LoadedModel::LoadedModel(
    const std::string& model,
    const ModelOptions& options,
    const std::vector<AdapterChoice>& adapters)
    : options_(options), checkpoint_(Checkpoint::open(resolve_model(model))) {
  // A vocabulary takes longer to read than packed weights take to map.
  std::future<std::unique_ptr<Tokenizer>> tokenizer = std::async(
      std::launch::async,
      [this] { return checkpoint_->load_tokenizer(); });
  decoder_ = load_with_adapters(*checkpoint_, options, adapters);
  if (const auto source = checkpoint_->chat_template()) {
    template_.emplace(*source);
  }
  tokenizer_ = tokenizer.get();
  generator_ = std::make_unique<Generator>(*decoder_, *tokenizer_);
  generator_->warm_up();
  load_seconds_ = process_seconds();
}

std::vector<std::int32_t> LoadedModel::encode_messages(
    const nlohmann::ordered_json& messages) const {
  return encode_chat(*tokenizer_, template_ ? &*template_ : nullptr, messages);
}

double process_seconds() {
  return std::chrono::duration<double>(Clock::now() - process_start).count();
}

}  // namespace roofline::cli
