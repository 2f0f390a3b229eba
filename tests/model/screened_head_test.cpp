#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "model/golden.h"
#include "roofline/model/decoder.h"
#include "roofline/model/session.h"
#include "roofline/weights/random_checkpoint.h"
#include "weights/temp_folder.h"

namespace roofline {
namespace {

using testing::argmax;
using testing::golden_folder;
using testing::ScopedVariable;
using testing::TempFolder;
using testing::to_host;

using Tokens = std::vector<std::int32_t>;

/// A small Llama with a vocabulary whose head is worth screening.
std::unique_ptr<Checkpoint> large_head(int bits, bool tied) {
  ModelSpec spec = Checkpoint::open(golden_folder("llama"))->spec();
  spec.vocab = 5003;
  spec.tied_embeddings = tied;
  return make_random_checkpoint(spec, {bits, 32});
}

ModelOptions on_cpu() {
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  return options;
}

/// The likeliest tokens, one after the other.
Tokens greedy(Decoder& decoder, const DecidingLogits& deciding, int count) {
  Session session(decoder, {});
  Tokens out;
  Tokens next = {1, 2, 3, 5, 7};
  for (int i = 0; i < count; ++i) {
    const auto logits =
        to_host(*session.extend(next, LogitRows::last, {}, deciding));
    next = {argmax(logits)};
    out.push_back(next[0]);
  }
  return out;
}

/// Tokens drawn one after the other, and the last logits; screened: from those
/// that decide.
std::pair<Tokens, std::vector<float>> drawn(
    Decoder& decoder,
    bool screened,
    int count) {
  Session session(decoder, {});
  Tokens out;
  Tokens next = {1, 2, 3, 5, 7};
  std::vector<float> logits;
  for (int i = 0; i < count; ++i) {
    DecidingLogits deciding{1};
    deciding.temperature = 0.7f;
    deciding.noise = GumbelNoise(5, static_cast<std::uint32_t>(i));
    logits = to_host(*session.extend(
        next,
        LogitRows::last,
        {},
        screened ? deciding : DecidingLogits{}));
    for (std::size_t t = 0; t < logits.size(); ++t) {
      logits[t] += deciding.noise_of(static_cast<int>(t));
    }
    next = {argmax(logits)};
    out.push_back(next[0]);
  }
  return {out, logits};
}

class ScreenedModel : public ::testing::Test {
 private:
  TempFolder folder_;
  ScopedVariable cache_{"ROOFLINE_CACHE", folder_.path().string()};
};

TEST_F(ScreenedModel, SaysTheSamePackedAndMappedAgain) {
  for (const int bits : {8, 16}) {
    for (const bool tied : {false, true}) {
      const auto checkpoint = large_head(bits, tied);
      for (int start = 0; start < 2; ++start) {
        const auto decoder = Decoder::load(*checkpoint, on_cpu());
        EXPECT_EQ(decoder->cache_note(), "");
        EXPECT_LT(
            decoder->step_weight_bytes(false),
            decoder->step_weight_bytes());
        EXPECT_EQ(greedy(*decoder, {1}, 24), greedy(*decoder, {}, 24))
            << bits << " bits, start " << start;
      }
    }
  }
}

TEST_F(ScreenedModel, DrawsTheSame) {
  for (const bool tied : {false, true}) {
    const auto checkpoint = large_head(8, tied);
    const auto decoder = Decoder::load(*checkpoint, on_cpu());
    const auto [screened, estimates] = drawn(*decoder, true, 40);
    const auto [said, logits] = drawn(*decoder, false, 40);
    EXPECT_EQ(screened, said);
    EXPECT_NE(estimates, logits);
  }
}

TEST_F(ScreenedModel, ChecksGuessesAsItSaysThem) {
  const auto checkpoint = large_head(8, true);
  const auto decoder = Decoder::load(*checkpoint, on_cpu());
  const Tokens said = greedy(*decoder, {}, 12);
  for (const std::size_t count : {2, 5, 11}) {
    Session session(*decoder, {});
    session.extend(Tokens{1, 2, 3, 5, 7});
    const auto rows = to_host(
        *session.extend(std::span(said).first(count), LogitRows::all, {}, {1}));
    const auto vocab = rows.size() / count;
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_EQ(argmax(std::span(rows).subspan(i * vocab, vocab)), said[i + 1]);
    }
  }
}

TEST_F(ScreenedModel, ReadsTheHeadWhereItMustOrIsTold) {
  const auto checkpoint = large_head(8, true);
  ModelOptions options = on_cpu();
  options.exact = true;
  const auto exact = Decoder::load(*checkpoint, options);
  EXPECT_EQ(exact->step_weight_bytes(false), exact->step_weight_bytes());
  options = on_cpu();
  options.screen_head = false;
  const auto whole = Decoder::load(*checkpoint, options);
  EXPECT_EQ(whole->step_weight_bytes(false), whole->step_weight_bytes());
  const auto small = Checkpoint::open(golden_folder("llama"));
  const auto decoder = Decoder::load(*small, on_cpu());
  EXPECT_EQ(decoder->step_weight_bytes(false), decoder->step_weight_bytes());
}

}  // namespace
}  // namespace roofline
