#include "roofline/cli/loaded_model.h"

#include <future>

#include <fmt/format.h>
#include <mlx/device.h>

#include "roofline/base/clock.h"
#include "roofline/cli/slow_start.h"
#include "roofline/decode/chat.h"

namespace roofline::cli {

namespace {

/// A tokenizer and how long it took to load.
struct TimedTokenizer {
  std::unique_ptr<Tokenizer> tokenizer;
  double seconds = 0;
};

TimedTokenizer load_timed(const Checkpoint& checkpoint) {
  const auto start = Clock::now();
  TimedTokenizer timed;
  timed.tokenizer = checkpoint.load_tokenizer();
  timed.seconds = seconds_since(start);
  return timed;
}

/// "options" ends here, before a member is made.
StartupTrace begin_loading() {
  StartupTrace trace;
  trace.lap("options and settings");
  return trace;
}

}  // namespace

LoadedModel::LoadedModel(
    const std::string& model,
    const ModelOptions& options,
    const std::vector<AdapterChoice>& adapters,
    const std::string& draft_model)
    : startup_(begin_loading()),
      options_(options),
      checkpoint_(Checkpoint::open(resolve_model(model))) {
  startup_.lap("the file's header");
  // A vocabulary takes longer to read than packed weights take to map.
  std::future<TimedTokenizer> loading = std::async(std::launch::async, [this] {
    return load_timed(*checkpoint_);
  });
  const SlowStart notice;
  decoder_ = load_with_adapters(*checkpoint_, options, adapters);
  startup_.lap("weights");
  if (const auto source = checkpoint_->chat_template()) {
    template_.emplace(*source);
  }
  startup_.lap("chat template");
  TimedTokenizer timed = loading.get();
  tokenizer_ = std::move(timed.tokenizer);
  startup_.beside("tokenizer", timed.seconds);
  startup_.lap("waiting for the tokenizer");
  generator_ = std::make_unique<Generator>(*decoder_, *tokenizer_);
  if (!draft_model.empty()) {
    load_draft(draft_model);
    startup_.lap("draft model");
  }
  generator_->warm_up();
  startup_.lap("warm-up");
  load_seconds_ = process_seconds();
}

void LoadedModel::load_draft(const std::string& model) {
  draft_checkpoint_ = Checkpoint::open(resolve_model(model));
  std::future<TimedTokenizer> tokenizer = std::async(
      std::launch::async,
      [this] { return load_timed(*draft_checkpoint_); });
  ModelOptions options = options_;
  options.quantize.reset();
  options.kv = {};
  // A guess need not be exact.
  options.exact = false;
  draft_ = Decoder::load(*draft_checkpoint_, options);
  draft_tokenizer_ = std::move(tokenizer.get().tokenizer);
  generator_->set_draft(*draft_, *draft_tokenizer_);
}

void LoadedModel::use_adapters(const std::vector<AdapterChoice>& adapters) {
  // Without any, the step that has no place for them is the faster one.
  if (adapters.empty() ||
      !replace_adapters(*decoder_, *checkpoint_, adapters)) {
    auto loaded = load_with_adapters(*checkpoint_, options_, adapters);
    generator_.reset();
    decoder_ = std::move(loaded);
  }
  generator_ = std::make_unique<Generator>(*decoder_, *tokenizer_);
  if (draft_) {
    generator_->set_draft(*draft_, *draft_tokenizer_);
  }
}

std::vector<std::int32_t> LoadedModel::encode_messages(
    const nlohmann::ordered_json& messages) const {
  return encode_chat(*tokenizer_, template_ ? &*template_ : nullptr, messages);
}

std::string LoadedModel::cache_notice() const {
  std::string note = decoder_->cache_note();
  if (note.empty() && draft_) {
    note = draft_->cache_note();
  }
  return note.empty() ? note
                      : fmt::format(
                            "roofline: {}. Each start repacks them until that "
                            "is mended; ROOFLINE_CACHE names another folder.\n",
                            note);
}

const std::optional<RequantizationLoss>& LoadedModel::requantized() const {
  if (!requantized_) {
    const bool gpu = mlx::core::default_device() == mlx::core::Device::gpu;
    requantized_ = requantization_loss(*checkpoint_, options_.exact, gpu);
  }
  return *requantized_;
}

}  // namespace roofline::cli
