// Attention over keys and values in codes, beside the same attention over the
// floats that the codes stand for (which attention_test.cpp checks by its
// definition).
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/isas.h"
#include "kernels/packed_helpers.h"
#include "roofline/kernels/attention/attention.h"
#include "roofline/kernels/attention/bf16_rows.h"
#include "roofline/kernels/attention/plan.h"

namespace roofline {
namespace {

using testing::random_floats;

struct Case {
  int key_bits = 8;
  int value_bits = 8;
  int group = 32;
  int heads = 4;
  int kv_heads = 2;
  int head_dim = 32;
  int tokens = 1;
  int position = 0;  ///< of the first query
  int full_slots = 0;
  std::optional<int> window;
  std::optional<float> softcap;
  bool sinks = false;
  /// Slots of a ring behind the full ones; 0: position = slot.
  int ring = 0;
  /// A latent: values are the first dims of the keys.
  int latent_value_dim = 0;
};

std::string in_words(const Case& c) {
  return "keys " + std::to_string(c.key_bits) + ", values " +
         std::to_string(c.value_bits) + ", group " + std::to_string(c.group) +
         ", heads " + std::to_string(c.heads) + "/" +
         std::to_string(c.kv_heads) + ", dim " + std::to_string(c.head_dim) +
         ", tokens " + std::to_string(c.tokens) + " at " +
         std::to_string(c.position) + ", full " + std::to_string(c.full_slots);
}

/// One of keys and values: what is kept, and the floats it stands for.
struct Part {
  Part(const Case& c, int bits, int slots, unsigned seed, bool f16) {
    const auto dims = static_cast<std::size_t>(c.head_dim);
    const int full = bits < 16 ? c.full_slots : slots;
    floats = random_floats(
        static_cast<std::size_t>(c.kv_heads * slots) * dims,
        seed,
        1.5f);
    codes.bits = bits < 16 ? bits : 0;
    codes.group = c.group;
    codes.dims = c.head_dim;
    codes.slots = slots - full;
    const auto rows = static_cast<std::size_t>(c.kv_heads * codes.slots);
    if (codes.bits > 0) {
      bytes.resize(rows * static_cast<std::size_t>(codes.row_bytes()));
      scales.resize(rows * static_cast<std::size_t>(codes.groups()));
      biases.resize(scales.size());
      codes.codes = bytes.data();
      codes.scales = scales.data();
      codes.biases = biases.data();
    }
    for (int head = 0; head < c.kv_heads; ++head) {
      for (int slot = 0; slot < slots; ++slot) {
        float* row = floats.data() +
                     static_cast<std::size_t>(head * slots + slot) * dims;
        if (slot >= full) {
          kv_code_kernels_generic().encode(row, codes, head, slot - full);
          decode_kv(codes, head, slot - full, row);
          continue;
        }
        for (std::size_t d = 0; d < dims; ++d) {
          halves.push_back(f32_to_f16(row[d]));
          row[d] = f16 ? f16_to_f32(halves.back()) : row[d];
          whole.push_back(row[d]);
        }
      }
    }
    held = f16 ? static_cast<void*>(halves.data()) : whole.data();
  }

  std::vector<float> floats;  ///< [kv_heads, slots, head_dim]
  std::vector<std::uint16_t> halves;
  std::vector<float> whole;
  void* held = nullptr;
  std::vector<std::uint8_t> bytes;
  std::vector<std::uint16_t> scales, biases;
  KvCodes codes;
};

std::vector<KvSegment> segments_of(const Case& c, int slots) {
  const int length = c.position + c.tokens;
  if (c.ring == 0) {
    return {{0, 0, length}};
  }
  std::vector<KvSegment> segments;
  const int keep = c.full_slots;
  if (keep > 0) {
    segments.push_back({0, 0, std::min(keep, length)});
  }
  for (int p = std::max(keep, length - c.ring); p < length;) {
    const int slot = keep + (p - keep) % c.ring;
    const int count = std::min(length - p, slots - slot);
    segments.push_back({p, slot, count});
    p += count;
  }
  return segments;
}

int slots_of(const Case& c) {
  return c.ring ? c.full_slots + c.ring : c.position + c.tokens;
}

KvView coded_view(const Case& c, Part& keys, Part& values, bool f16) {
  KvView view;
  view.type = f16 ? KvType::f16 : KvType::f32;
  view.keys = keys.held;
  view.values = values.held;
  view.full_slots = c.full_slots;
  view.key_codes = keys.codes;
  view.value_codes = values.codes;
  return view;
}

/// What attention gives over the keys and values of a view. only: one of the
/// tokens, before the later ones are there; -1: all.
std::vector<float> run(
    const Case& c,
    KvView view,
    int threads,
    AttentionProducts products = AttentionProducts::float32,
    int only = -1) {
  Case seen = c;
  seen.tokens = only < 0 ? c.tokens : only + 1;
  const auto segments = segments_of(seen, slots_of(c));
  const int value_dim = c.latent_value_dim ? c.latent_value_dim : c.head_dim;
  const auto q = random_floats(
      static_cast<std::size_t>(c.tokens * c.heads * c.head_dim),
      43,
      2.0f);
  const auto sinks = random_floats(static_cast<std::size_t>(c.heads), 44, 3);
  AttentionArgs args;
  const int first = std::max(only, 0);
  args.q_stride = c.heads * c.head_dim;
  args.q = q.data() + static_cast<std::ptrdiff_t>(first) * args.q_stride;
  args.out_stride = c.heads * value_dim;
  args.tokens = only < 0 ? c.tokens : 1;
  args.heads = c.heads;
  args.first_position = c.position + first;
  args.scale = 1 / std::sqrt(static_cast<float>(c.head_dim));
  args.window_tokens = c.window;
  args.softcap = c.softcap;
  args.sinks = c.sinks ? sinks.data() : nullptr;
  view.kv_heads = c.kv_heads;
  view.head_dim = c.head_dim;
  view.slots = slots_of(c);
  view.segments = segments;
  if (c.latent_value_dim) {
    view.values = view.keys;
    view.value_codes = view.key_codes;
    view.value_dim = value_dim;
    view.value_row = c.head_dim;
  }
  std::vector<float> out(
      static_cast<std::size_t>(args.tokens * args.out_stride),
      NAN);
  args.out = out.data();
  args.kv = view;
  ThreadPool pool(threads);
  AttentionPlan plan;
  plan.prepare({&args, 1}, threads, products);
  auto piece = [&plan](int index, int worker) { plan.run(index, worker); };
  pool.run(plan.pieces(), piece);
  return out;
}

/// How far few rows may be from floats, which round queries and weights to
/// whole numbers of 16 bits: by 2⁻¹⁶ of the largest at most, 1 / √3 of that on
/// average. Queries are below 7 and keys' codes span 9, half of that on
/// average: a score is off by 2⁻¹⁶ · 7 · 4.5 / √3 · √dim times the scale 1 /
/// √dim, and moves a value, mostly below 1.5, by as much. Weights are below 1,
/// 64 at a time, and values span 9. Room for four such deviations.
double room_of_whole(const Case& c) {
  const double step = std::exp2(-16) / std::sqrt(3.0);
  const double by_query = c.key_bits < 16 ? step * 7 * 4.5 * 1.5 : 0;
  const double by_weight = c.value_bits < 16 ? step * 4.5 * 8 : 0;
  return 4e-5 + 4 * std::hypot(by_query, by_weight);
}

class AttentionCodesTest : public testing::EveryIsa {
 protected:
  void expect_as_floats(const Case& c, int threads = 2) {
    for (const bool f16 : {true, false}) {
      expect_as_floats(c, threads, f16);
    }
  }

  void expect_as_floats(const Case& c, int threads, bool f16) {
    const int slots = slots_of(c);
    Part keys(c, c.key_bits, slots, 41, f16);
    Part values(c, c.value_bits, slots, 42, f16);
    KvView plain;
    plain.type = KvType::f32;
    plain.keys = keys.floats.data();
    plain.values = values.floats.data();
    const auto expected = run(c, plain, threads);
    const auto actual = run(c, coded_view(c, keys, values, f16), threads);
    // Scores: dim products of about 3, each rounded, on both sides. Values:
    // Σ (w·s)·c + Σ w·b has terms up to 15 steps or a range of 10 on either
    // side of a sum below 7, so 2⁻²⁴ of about 20 in each of two roundings a
    // key, which average out.
    const double room =
        f16 ? room_of_whole(c) : 2e-5 + 2 * 4e-7 * std::sqrt(c.head_dim) * 7;
    double worst = 0;
    for (std::size_t i = 0; i < actual.size(); ++i) {
      const double error = std::abs(actual[i] - expected[i]);
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
    EXPECT_LT(worst, room) << in_words(c) << (f16 ? ", f16" : ", f32");
  }
};

INSTANTIATE_TEST_SUITE_P(
    Variants,
    AttentionCodesTest,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

TEST_P(AttentionCodesTest, ManyRowsInBfloat16DifferInNothingFromHalves) {
  if (bf16_rows() == nullptr) {
    GTEST_SKIP() << "there are no products of bfloat16";
  }
  const auto expect_as_halves = [](const Case& c) {
    const int slots = slots_of(c);
    Part keys(c, c.key_bits, slots, 41, true);
    Part values(c, c.value_bits, slots, 42, true);
    std::vector<std::uint16_t> halves[2];
    for (const float x : keys.floats) {
      halves[0].push_back(f32_to_f16(x));
    }
    for (const float x : values.floats) {
      halves[1].push_back(f32_to_f16(x));
    }
    KvView plain;
    plain.type = KvType::f16;
    plain.keys = halves[0].data();
    plain.values = halves[1].data();
    constexpr auto kProducts = AttentionProducts::bfloat16;
    const auto expected = run(c, plain, 2, kProducts);
    const auto actual = run(c, coded_view(c, keys, values, true), 2, kProducts);
    // A value may be rounded to the other side: by 2⁻⁸ of itself, below 5.
    for (std::size_t i = 0; i < actual.size(); ++i) {
      ASSERT_NEAR(actual[i], expected[i], 5.0 / 256) << in_words(c);
    }
  };
  for (const int key_bits : {16, 8, 4}) {
    for (const int value_bits : {16, 8, 4}) {
      for (const int group : {32, 64}) {
        for (const int dim : {32, 64, 96, 128}) {
          Case c;
          c.key_bits = key_bits;
          c.value_bits = value_bits;
          c.group = group;
          c.head_dim = dim;
          c.tokens = 33;
          c.position = 70;
          expect_as_halves(c);
          c.full_slots = 5;
          c.window = 40;
          c.ring = 80;
          expect_as_halves(c);
        }
      }
    }
  }
  Case deep;
  deep.tokens = 70;
  deep.position = 1100;
  deep.full_slots = 3;
  expect_as_halves(deep);
}

TEST_P(AttentionCodesTest, EveryFormatAndHeadSizeWorks) {
  for (const int key_bits : {16, 8, 4}) {
    for (const int value_bits : {16, 8, 4}) {
      for (const int group : {32, 64}) {
        for (const int dim : {8, 16, 20, 32, 48, 64, 80, 128, 256}) {
          for (const int tokens : {1, 5, 33}) {
            Case c;
            c.key_bits = key_bits;
            c.value_bits = value_bits;
            c.group = group;
            c.head_dim = dim;
            c.tokens = tokens;
            c.position = 70;
            expect_as_floats(c, 2, true);
          }
        }
      }
    }
  }
}

TEST_P(AttentionCodesTest, EveryNumberOfKeysAndQueriesWorks) {
  for (int keys = 1; keys <= 35; ++keys) {
    for (const int bits : {8, 4}) {
      Case c;
      c.key_bits = c.value_bits = bits;
      c.position = keys - 1;
      expect_as_floats(c);
      c.tokens = keys;
      expect_as_floats(c);
    }
  }
  for (const int keys : {63, 64, 65, 127, 128, 129, 700}) {
    Case c;
    c.heads = 9;
    c.kv_heads = 3;
    c.head_dim = 64;
    c.group = 64;
    c.value_bits = 4;
    c.position = keys - 1;
    expect_as_floats(c, 1);
    expect_as_floats(c, 4);
  }
}

TEST_P(AttentionCodesTest, GuessesAreCheckedAsIfAlone) {
  for (const int bits : {8, 4}) {
    for (const int position : {3, 61, 200, 509}) {
      for (const int heads : {2, 6, 14}) {
        Case c;
        c.key_bits = c.value_bits = bits;
        c.heads = heads;
        c.head_dim = 96;
        c.position = position;
        c.tokens = 6;
        const int slots = slots_of(c);
        Part keys(c, bits, slots, 41, true);
        Part values(c, bits, slots, 42, true);
        const KvView view = coded_view(c, keys, values, true);
        const auto all = run(c, view, 2, AttentionProducts::row_by_row);
        const auto width = static_cast<std::ptrdiff_t>(heads * c.head_dim);
        for (int t = 0; t < c.tokens; ++t) {
          const auto row = all.begin() + t * width;
          const auto alone = run(c, view, 2, AttentionProducts::float32, t);
          EXPECT_TRUE(std::equal(alone.begin(), alone.end(), row))
              << in_words(c) << ", token " << t;
        }
      }
    }
  }
}

TEST_P(AttentionCodesTest, TheFirstSlotsAreReadAsFloats) {
  for (const int full : {1, 3, 4, 64, 70, 200}) {
    for (const int tokens : {1, 30}) {
      Case c;
      c.full_slots = full;
      c.key_bits = 4;
      c.tokens = tokens;
      c.position = std::max(full, 90);
      expect_as_floats(c);
      c.value_bits = 16;
      expect_as_floats(c);
    }
  }
}

TEST_P(AttentionCodesTest, RingsAndWindowsWork) {
  for (const int position : {10, 90, 130, 255}) {
    for (const int tokens : {1, 5, 32}) {
      for (const int full : {0, 4}) {
        Case c;
        c.position = position;
        c.tokens = tokens;
        c.ring = 96;
        c.window = 64;
        c.full_slots = full;
        expect_as_floats(c);
        c.window.reset();
        expect_as_floats(c);
      }
    }
  }
}

TEST_P(AttentionCodesTest, SoftcapAndSinksWork) {
  for (const int tokens : {1, 20}) {
    for (const int threads : {1, 4}) {
      Case c;
      c.position = 500;
      c.tokens = tokens;
      c.softcap = 2.0f;
      expect_as_floats(c, threads);
      c.sinks = true;
      expect_as_floats(c, threads);
    }
  }
}

TEST_P(AttentionCodesTest, ALatentIsKeyAndValue) {
  for (const int bits : {8, 4}) {
    for (const int group : {32, 64}) {
      for (const int value_dim : {16, 32, 64, 90}) {
        for (const int tokens : {1, 3, 20}) {
          Case c;
          c.key_bits = c.value_bits = bits;
          c.group = group;
          c.kv_heads = 1;
          c.head_dim = 96;
          c.latent_value_dim = value_dim;
          c.tokens = tokens;
          c.position = 150;
          c.full_slots = 2;
          expect_as_floats(c);
        }
      }
    }
  }
}

/// A sink takes its share of every softmax: with logit equal to the scores of
/// two equal keys, a third.
TEST_P(AttentionCodesTest, ASinkTakesItsWeight) {
  for (const int threads : {1, 4}) {
    const int keys = 500;
    std::vector<float> k(static_cast<std::size_t>(keys * 8), 0.0f);
    std::vector<float> v(k.size(), 1.0f);
    const std::vector<float> q(8, 0.0f);
    // As much as all keys together.
    const float sink = std::log(static_cast<float>(keys));
    const std::vector<KvSegment> segments = {{0, 0, keys}};
    std::vector<float> out(8);
    AttentionArgs args;
    args.q = q.data();
    args.q_stride = args.out_stride = 8;
    args.out = out.data();
    args.tokens = args.heads = 1;
    args.first_position = keys - 1;
    args.sinks = &sink;
    args.kv = {KvType::f32, k.data(), v.data(), 1, 8, keys, segments};
    ThreadPool pool(threads);
    attend(args, pool);
    for (const float value : out) {
      EXPECT_NEAR(value, 0.5f, 1e-5f);
    }
  }
}

}  // namespace
}  // namespace roofline
