#include <gtest/gtest.h>
#include <mlx/transforms.h>

#include "model/golden.h"
#include "roofline/model/session.h"

// Models with recurrent layers: what their states make different.

namespace roofline {
namespace {

using testing::Golden;
using testing::max_error;
using testing::open_golden;
using testing::to_host;

constexpr double kRecurrentTolerance = 0.01;

std::unique_ptr<Decoder> load_exact(const Checkpoint& checkpoint) {
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  options.exact = true;
  return Decoder::load(checkpoint, options);
}

/// `count` tokens of the golden's, over and over.
std::vector<std::int32_t> many_tokens(const Golden& golden, std::size_t count) {
  std::vector<std::int32_t> out;
  while (out.size() < count) {
    out.push_back(golden.ids[out.size() / 40 % 2][out.size() * 7 % 40]);
  }
  return out;
}

std::vector<float> last_logits(
    Decoder& decoder,
    std::span<const std::int32_t> ids) {
  Session session(decoder, {});
  return to_host(*session.extend(ids));
}

class RecurrentModel : public ::testing::TestWithParam<std::string> {};

TEST_P(RecurrentModel, KeepsWhatALaterPromptShares) {
  const Golden golden = open_golden(GetParam());
  const auto decoder = load_exact(*golden.checkpoint);
  const auto ids = many_tokens(golden, 200);
  const std::span<const std::int32_t> all(ids);
  Session session(*decoder, {});
  mx::eval(*session.extend(all.first(150)));
  // As much as stands before the tail of the first prompt, where they part.
  std::vector<std::int32_t> next(ids.begin(), ids.begin() + 140);
  next.insert(next.end(), ids.begin() + 160, ids.begin() + 190);
  const auto kept = session.keep_prefix_of(next);
  EXPECT_EQ(kept, 134);
  EXPECT_EQ(session.tokens().size(), 134u);
  const auto logits = to_host(*session.extend(std::span(next).subspan(134)));
  EXPECT_LT(
      max_error(logits, last_logits(*decoder, next)),
      kRecurrentTolerance);
}

TEST_P(RecurrentModel, GoesOnFromTheEndOfATurn) {
  const Golden golden = open_golden(GetParam());
  const auto decoder = load_exact(*golden.checkpoint);
  const auto ids = many_tokens(golden, 90);
  const std::span<const std::int32_t> all(ids);
  Session session(*decoder, {});
  mx::eval(*session.extend(all.first(20)));
  for (std::size_t i = 20; i < 30; ++i) {
    mx::eval(*session.extend(all.subspan(i, 1)));
  }
  EXPECT_EQ(session.keep_prefix_of(all), 30);
  const auto logits = to_host(*session.extend(all.subspan(30)));
  EXPECT_LT(max_error(logits, last_logits(*decoder, all)), kRecurrentTolerance);
}

TEST_P(RecurrentModel, GoesBackToWhereItKeptAStateAndSaysWhatIsLost) {
  const Golden golden = open_golden(GetParam());
  const auto decoder = load_exact(*golden.checkpoint);
  const auto ids = many_tokens(golden, 90);
  const std::span<const std::int32_t> all(ids);
  Session session(*decoder, {});
  mx::eval(*session.extend(all.first(20)));
  std::vector<std::int32_t> again;
  for (std::size_t at = 20; at < 60; at += 3) {
    ASSERT_TRUE(session.can_try(static_cast<std::int64_t>(again.size()) + 7));
    session.keep_state();
    // Three that stay, and four guesses that were wrong.
    std::vector<std::int32_t> tokens = again;
    const auto right = all.subspan(at, 3);
    tokens.insert(tokens.end(), right.begin(), right.end());
    tokens.insert(tokens.end(), 4, 1);
    mx::eval(*session.extend(tokens, LogitRows::all));
    again = session.go_back(static_cast<std::int64_t>(at) + 3);
    EXPECT_EQ(session.tokens().size() + again.size(), at + 3);
  }
  const auto rest = all.subspan(session.tokens().size());
  const auto logits = to_host(*session.extend(rest));
  EXPECT_LT(max_error(logits, last_logits(*decoder, all)), kRecurrentTolerance);
}

TEST_P(RecurrentModel, TriesNothingWhereNoStatesAreKept) {
  const Golden golden = open_golden(GetParam());
  const auto decoder = load_exact(*golden.checkpoint);
  KvOptions options;
  options.kept_states = 1;
  Session session(*decoder, options);
  mx::eval(*session.extend(std::span(golden.ids[0]).first(20)));
  EXPECT_FALSE(session.can_try(2));
}

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    RecurrentModel,
    ::testing::Values("mamba2", "lfm2", "falcon_h1", "qwen3_5_text"),
    [](const auto& name) { return name.param; });

class RecurrentFile : public ::testing::TestWithParam<std::string> {};

TEST_P(RecurrentFile, GivesTheReferenceLogitsFromGguf) {
  const Golden golden = open_golden(GetParam());
  const auto file = Checkpoint::open(
      std::filesystem::path(ROOFLINE_GOLDENS) / "gguf" /
      (GetParam() + ".gguf"));
  const auto decoder = load_exact(*file);
  for (std::size_t i = 0; i < golden.ids.size(); ++i) {
    const auto logits = testing::chunked_logits(*decoder, golden.ids[i], 40);
    EXPECT_LT(max_error(logits, golden.logits[i]), kRecurrentTolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    RecurrentFile,
    ::testing::Values(
        "mamba2",
        "lfm2",
        "falcon_h1_gate_first",
        "granitemoehybrid",
        "granitemoehybrid_dense",
        "nemotron_h",
        "nemotron_h_experts",
        "qwen3_next",
        "qwen3_5_text",
        "qwen3_5_moe_text"),
    [](const auto& name) { return name.param; });

}  // namespace
}  // namespace roofline
