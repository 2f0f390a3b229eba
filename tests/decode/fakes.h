// A decoder whose answer is written down beforehand, and a tokenizer of bytes,
// so that the loop can be tested without a model.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <mlx/ops.h>

#include "roofline/model/decoder.h"
#include "roofline/text/tokenizer.h"
#include "roofline/text/utf8.h"

namespace roofline::fakes {

constexpr std::int32_t kBos = 256;
constexpr std::int32_t kEos = 257;
constexpr std::int32_t kVocab = 258;

inline std::vector<std::int32_t> ids_of(std::string_view text) {
  std::vector<std::int32_t> ids;
  for (const char c : text) {
    ids.push_back(static_cast<unsigned char>(c));
  }
  return ids;
}

/// Token i is byte i; 256 begins and 257 ends a text.
class ByteTokenizer : public Tokenizer {
 public:
  explicit ByteTokenizer(bool adds_bos = true, bool adds_eos = false)
      : adds_bos_(adds_bos), adds_eos_(adds_eos) {
    bos = kBos;
    eos = kEos;
    bos_text = "<s>";
    eos_text = "</s>";
  }

  std::vector<std::int32_t> encode(std::string_view text, Specials specials)
      const override {
    std::vector<std::int32_t> ids;
    if (specials == Specials::add && adds_bos_) {
      ids.push_back(kBos);
    }
    while (!text.empty()) {
      if (text.starts_with(bos_text)) {
        ids.push_back(kBos);
        text.remove_prefix(bos_text.size());
      } else {
        ids.push_back(static_cast<unsigned char>(text[0]));
        text.remove_prefix(1);
      }
    }
    if (specials == Specials::add && adds_eos_) {
      ids.push_back(kEos);
    }
    return ids;
  }

  std::string decode(std::span<const std::int32_t> ids, bool keep_specials)
      const override {
    std::string out;
    Utf8Gate gate;
    for (const std::int32_t id : ids) {
      if (id < 256) {
        gate.push(std::string(1, static_cast<char>(id)), out);
      } else if (keep_specials) {
        out += token_text(id);
      }
    }
    gate.flush(out);
    return out;
  }

  std::int32_t vocab_size() const override { return kVocab; }
  std::optional<std::int32_t> token_id(std::string_view) const override {
    return std::nullopt;
  }
  std::string token_text(std::int32_t id) const override {
    return id == kBos   ? bos_text
           : id == kEos ? eos_text
                        : std::string(1, static_cast<char>(id));
  }

 private:
  bool adds_bos_, adds_eos_;
};

/// The likeliest token at position p is script(p), whatever was said before.
class ScriptedDecoder : public Decoder {
 public:
  using Script = std::function<std::int32_t(std::int64_t position)>;

  explicit ScriptedDecoder(Script script, std::int64_t context_tokens = 4096)
      : script_(std::move(script)) {
    LayerSpec layer;
    layer.attention->heads = 1;
    layer.attention->kv_heads = 1;
    layer.attention->head_dim = 8;
    spec_.layers = {layer};
    spec_.vocab = kVocab;
    spec_.context_tokens = context_tokens;
    spec_.eos_tokens = {kEos};
  }

  const ModelSpec& spec() const override { return spec_; }
  std::string device_name() const override { return "a script"; }
  std::unique_ptr<KvCache> make_cache(const KvOptions& options) const override {
    return std::make_unique<KvCache>(spec_, options);
  }
  std::size_t step_weight_bytes(bool = true) const override { return 1000; }
  bool takes_drawn() const override { return lazy; }

  mx::array forward(std::span<const Slice> slices, std::int64_t) override {
    const Slice& slice = slices[0];
    calls.push_back({slice.tokens.begin(), slice.tokens.end()});
    slice.cache->reserve(static_cast<int>(slice.tokens.size()));
    if (on_forward) {
      on_forward();
    }
    last_cache_bytes = slice.cache->bytes();
    const int rows = slice.rows == LogitRows::all
                         ? static_cast<int>(slice.tokens.size())
                         : 1;
    std::vector<float> values;
    for (int row = 0; row < rows; ++row) {
      append_row(slice.cache->position() - rows + 1 + row, values);
      if (estimates) {
        estimate(slice.deciding, std::span(values).last(kVocab));
      }
    }
    asked.push_back(slice.deciding);
    const mx::array logits(values.data(), {rows, kVocab});
    return lazy ? logits + mx::array(0.0f) : logits;
  }

  std::vector<std::vector<std::int32_t>> calls;
  std::function<void()> on_forward;
  std::size_t last_cache_bytes = 0;
  float peak = 20.0f;
  bool lazy = false;
  /// Whether logits that don't decide are as wrong as they may be.
  bool estimates = true;
  std::vector<DecidingLogits> asked;  ///< in each call

 private:
  static void estimate(const DecidingLogits& deciding, std::span<float> row) {
    if (deciding.all() || deciding.largest > kVocab) {
      return;
    }
    std::vector<float> noisy;
    for (int i = 0; i < kVocab; ++i) {
      noisy.push_back(row[i] + deciding.noise_of(i));
    }
    std::vector<float> sorted = noisy;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const float least = sorted[deciding.largest - 1] - deciding.depth;
    for (int i = 0; i < kVocab; ++i) {
      if (noisy[i] < least) {
        row[i] = least - deciding.noise_of(i) - 1e-3f;
      }
    }
  }

  void append_row(std::int64_t position, std::vector<float>& values) const {
    const auto begin = values.size();
    for (int i = 0; i < kVocab; ++i) {
      values.push_back(static_cast<float>((i * 37 + position) % 101) / 50);
    }
    values[begin + script_(position)] = peak;
  }

  Script script_;
  ModelSpec spec_;
};

/// Says `text` after a prompt of `prompt_tokens`, then eos.
inline ScriptedDecoder::Script says(std::string text, int prompt_tokens) {
  return [text = std::move(text), prompt_tokens](std::int64_t position) {
    const auto at = static_cast<std::size_t>(position - prompt_tokens);
    return position >= prompt_tokens && at < text.size()
               ? static_cast<std::int32_t>(static_cast<unsigned char>(text[at]))
               : kEos;
  };
}

}  // namespace roofline::fakes
