// A model that is ready to answer: checkpoint, tokenizer, decoder, chat
// template and one conversation's generator, loaded together.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/cli/startup_trace.h"
#include "roofline/decode/generate.h"
#include "roofline/model/adapter.h"
#include "roofline/model/decoder.h"
#include "roofline/model/held_form.h"
#include "roofline/text/chat_template.h"
#include "roofline/text/tokenizer.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

class LoadedModel {
 public:
  /// model: what resolve_model() takes; empty for the bundled one. draft_model
  /// too; empty: none. It is run as it is stored. Throws what the loaders
  /// throw, and UserError for a draft model with other tokens.
  LoadedModel(
      const std::string& model,
      const ModelOptions& options,
      const std::vector<AdapterChoice>& adapters = {},
      const std::string& draft_model = {});

  const ModelOptions& options() const { return options_; }
  /// From the process's start to a model that can answer, in parts.
  StartupTrace& startup() { return startup_; }
  const StartupTrace& startup() const { return startup_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const Decoder& decoder() const { return *decoder_; }
  Generator& generator() { return *generator_; }
  /// From the start of the process to a model that can answer.
  double load_seconds() const { return load_seconds_; }
  /// What loading lost; looked for at the first call.
  const std::optional<RequantizationLoss>& requantized() const;
  bool has_draft() const { return draft_ != nullptr; }
  /// One line for people when the packed weights couldn't be kept, or "".
  std::string cache_notice() const;
  bool has_chat_template() const { return template_.has_value(); }

  /// Answers with these adapters from now on, or with none; what was answered
  /// before is forgotten. Throws what load_with_adapters() throws; all is as
  /// before then.
  void use_adapters(const std::vector<AdapterChoice>& adapters);

  /// messages: [{"role", "content"}, …], rendered with the begin of an answer.
  /// Throws what encode_chat() of decode/chat.h throws.
  std::vector<std::int32_t> encode_messages(
      const nlohmann::ordered_json& messages) const;

 private:
  void load_draft(const std::string& model);

  StartupTrace startup_;
  ModelOptions options_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<Checkpoint> draft_checkpoint_;
  std::unique_ptr<Tokenizer> draft_tokenizer_;
  std::unique_ptr<Decoder> draft_;
  std::unique_ptr<Generator> generator_;
  std::optional<ChatTemplate> template_;
  double load_seconds_ = 0;
  mutable std::optional<std::optional<RequantizationLoss>> requantized_;
};

}  // namespace roofline::cli
