#include "roofline/quantize/predict_memory.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace roofline {
namespace {

/// Names and shapes of a checkpoint with a tied head; no values.
class ShapesOnly : public Checkpoint {
 public:
  struct Sizes {
    int vocab, dim, layers, heads_rows, kv_rows, hidden;
  };
  explicit ShapesOnly(const Sizes& sizes) {
    spec_.vocab = sizes.vocab;
    spec_.dim = sizes.dim;
    spec_.tied_embeddings = true;
    spec_.layers.resize(static_cast<std::size_t>(sizes.layers));
    add("embed", sizes.vocab, sizes.dim);
    for (int layer = 0; layer < sizes.layers; ++layer) {
      const auto in = [&](const char* name) {
        return fmt::format("layers.{}.{}", layer, name);
      };
      add(in("attention.q"), sizes.heads_rows, sizes.dim);
      add(in("attention.k"), sizes.kv_rows, sizes.dim);
      add(in("attention.v"), sizes.kv_rows, sizes.dim);
      add(in("attention.o"), sizes.dim, sizes.heads_rows);
      add(in("feed_forward.gate"), sizes.hidden, sizes.dim);
      add(in("feed_forward.up"), sizes.hidden, sizes.dim);
      add(in("feed_forward.down"), sizes.dim, sizes.hidden);
    }
  }

  const std::filesystem::path& path() const override { return path_; }
  const ModelSpec& spec() const override { return spec_; }
  const std::vector<Tensor>& tensors() const override { return tensors_; }
  void release(const Tensor&) const override {}
  std::string format() const override { return ""; }
  std::size_t file_bytes() const override { return 0; }
  std::string fingerprint() const override { return ""; }
  std::unique_ptr<Tokenizer> load_tokenizer() const override { return nullptr; }
  std::optional<std::string> chat_template() const override {
    return std::nullopt;
  }

 private:
  void add(std::string name, int rows, int cols) {
    Tensor tensor;
    tensor.name = std::move(name);
    tensor.rows = rows;
    tensor.cols = cols;
    tensors_.push_back(std::move(tensor));
  }

  std::filesystem::path path_;
  ModelSpec spec_;
  std::vector<Tensor> tensors_;
};

constexpr ShapesOnly::Sizes kSmolLm2{49152, 576, 30, 576, 192, 1536};
constexpr ShapesOnly::Sizes kGemma3{262144, 640, 18, 1024, 256, 2048};

/// Megabytes with 4096 tokens of calibration and of comparison.
double predicted(const ShapesOnly::Sizes& sizes, QuantizeMethod method) {
  const ShapesOnly checkpoint(sizes);
  QuantizeOptions options;
  options.method = method;
  if (method != QuantizeMethod::plain) {
    options.windows.assign(8, std::vector<std::int32_t>(512));
  }
  return static_cast<double>(
             predict_quantize_memory(checkpoint, {}, options, 4096)) /
         1e6;
}

void expect_met(double prediction, double measured) {
  EXPECT_GE(prediction, measured);
  EXPECT_LE(prediction, 1.4 * measured);
}

// Peaks of the whole program, measured on Linux with two threads.
TEST(PredictQuantizeMemory, HoldsWhatWasMeasured) {
  expect_met(predicted(kGemma3, QuantizeMethod::plain), 493.3);
  expect_met(predicted(kGemma3, QuantizeMethod::awq), 493.2);
  expect_met(predicted(kGemma3, QuantizeMethod::gptq), 536.9);
  expect_met(predicted(kSmolLm2, QuantizeMethod::plain), 253.9);
  expect_met(predicted(kSmolLm2, QuantizeMethod::gptq), 326.0);
}

TEST(PredictQuantizeMemory, ALargerVocabularyCostsItsTokenizerAlone) {
  auto twice = kGemma3;
  twice.vocab *= 2;
  const double entries = kGemma3.vocab / 1e6;
  for (const auto method :
       {QuantizeMethod::plain, QuantizeMethod::awq, QuantizeMethod::gptq}) {
    const double more = predicted(twice, method) - predicted(kGemma3, method);
    EXPECT_GT(more, 0);
    EXPECT_LT(more, 2000 * entries) << "no head of 2560 bytes an entry";
  }
}

}  // namespace
}  // namespace roofline
