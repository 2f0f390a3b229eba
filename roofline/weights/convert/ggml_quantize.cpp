#include "roofline/weights/convert/ggml_quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "roofline/base/errors.h"
#include "roofline/base/half.h"
#include "roofline/weights/blocks.h"
#include "roofline/weights/encodings.h"

namespace roofline {

namespace {

constexpr int kBlock = 32;
constexpr int kSuper = 256;
constexpr int kGroups = kSuper / kBlock;
/// Rounds of codes, then scale, then codes again. Most settle in two or three.
constexpr int kRounds = 4;

using Codes = std::array<std::uint8_t, kBlock>;
using Values = std::span<const float, kBlock>;

/// w = scale·code + offset
struct Fit {
  float scale = 0;
  float offset = 0;
  Codes codes{};
  float error = std::numeric_limits<float>::infinity();
};

void put_half(std::byte* out, float value) {
  const std::uint16_t half = f32_to_f16(value);
  std::memcpy(out, &half, sizeof(half));
}

float through_half(float value) {
  return f16_to_f32(f32_to_f16(value));
}

/// The nearest codes for a scale and an offset, and their squared error.
void choose_codes(Values values, int most, Fit& fit) {
  const float inverse = fit.scale == 0 ? 0 : 1 / fit.scale;
  float error = 0;
  for (int i = 0; i < kBlock; ++i) {
    const float code = (values[i] - fit.offset) * inverse;
    // Written so that NaN becomes a code as well.
    const float inside =
        code > 0 ? (code < static_cast<float>(most) ? code
                                                    : static_cast<float>(most))
                 : 0;
    fit.codes[i] = static_cast<std::uint8_t>(inside + 0.5f);
    const float miss =
        fit.scale * static_cast<float>(fit.codes[i]) + fit.offset - values[i];
    error += miss * miss;
  }
  fit.error = error;
}

/// The scale of least error for codes whose zero lies at `zero`: offset is
/// −zero·scale.
void solve_scale(Values values, int zero, Fit& fit) {
  float numerator = 0;
  float denominator = 0;
  for (int i = 0; i < kBlock; ++i) {
    const auto code = static_cast<float>(fit.codes[i] - zero);
    numerator += code * values[i];
    denominator += code * code;
  }
  if (denominator > 0) {
    fit.scale = numerator / denominator;
  }
}

/// Scale and offset of least error for the codes; the offset at most `highest`.
void solve_both(Values values, float highest, Fit& fit) {
  float sum_c = 0, sum_cc = 0, sum_w = 0, sum_cw = 0;
  for (int i = 0; i < kBlock; ++i) {
    const auto code = static_cast<float>(fit.codes[i]);
    sum_c += code;
    sum_cc += code * code;
    sum_w += values[i];
    sum_cw += code * values[i];
  }
  const float determinant = kBlock * sum_cc - sum_c * sum_c;
  if (determinant <= 0) {
    return;
  }
  fit.scale = (kBlock * sum_cw - sum_c * sum_w) / determinant;
  fit.offset = (sum_cc * sum_w - sum_c * sum_cw) / determinant;
  if (fit.offset > highest) {
    fit.offset = highest;
    fit.scale = sum_cc > 0 ? (sum_cw - highest * sum_c) / sum_cc : 0;
  }
}

/// Codes 0 … most around `zero`, one scale. The value of largest magnitude may
/// take the end code, which reaches one step further on one side.
Fit fit_symmetric(Values values, int most, int zero) {
  float extreme = 0;
  for (const float value : values) {
    if (std::abs(value) > std::abs(extreme)) {
      extreme = value;
    }
  }
  Fit best;
  // Starts: the extreme sits on a code, or up to a step beyond the last one.
  constexpr std::array<float, 5> kReach = {0.0f, 0.35f, 0.7f, 1.0f, -0.4f};
  for (const float reach : kReach) {
    for (const float end : {-static_cast<float>(zero), most - zero + 0.0f}) {
      const float steps = end < 0 ? end - reach : end + reach;
      Fit fit;
      fit.scale = through_half(extreme / steps);
      for (int round = 0; round < kRounds; ++round) {
        fit.offset = -static_cast<float>(zero) * fit.scale;
        const Codes before = fit.codes;
        choose_codes(values, most, fit);
        if (fit.error < best.error) {
          best = fit;
        }
        if (round > 0 && fit.codes == before) {
          break;
        }
        solve_scale(values, zero, fit);
        fit.scale = through_half(fit.scale);
      }
    }
  }
  return best;
}

/// Codes 0 … most with scale and offset; exact in f16 where `half`.
Fit fit_affine(Values values, int most, float highest, bool half) {
  const auto [low_at, high_at] =
      std::minmax_element(values.begin(), values.end());
  const float low = std::min(*low_at, highest);
  const float range = *high_at - low;
  const auto rounded = [half](float value) {
    return half ? through_half(value) : value;
  };
  Fit best;
  // Starts: the range cut by up to a tenth at both ends.
  constexpr std::array<float, 5> kCuts = {0.0f, 0.02f, 0.04f, 0.07f, 0.1f};
  for (const float cut : kCuts) {
    Fit fit;
    fit.offset = rounded(std::min(low + cut * range, highest));
    fit.scale = rounded((range * (1 - 2 * cut)) / static_cast<float>(most));
    for (int round = 0; round < kRounds; ++round) {
      const Codes before = fit.codes;
      choose_codes(values, most, fit);
      if (fit.error < best.error) {
        best = fit;
      }
      if (round > 0 && fit.codes == before) {
        break;
      }
      solve_both(values, highest, fit);
      fit.scale = rounded(fit.scale);
      fit.offset = rounded(fit.offset);
    }
  }
  return best;
}

void put_nibbles(const Codes& codes, std::byte* out) {
  for (int i = 0; i < kBlock / 2; ++i) {
    out[i] =
        static_cast<std::byte>((codes[i] & 15) | (codes[i + 16] & 15) << 4);
  }
}

void encode_q4_0(Values values, std::byte* out) {
  const Fit fit = fit_symmetric(values, 15, 8);
  put_half(out, fit.scale);
  put_nibbles(fit.codes, out + 2);
}

void encode_q4_1(Values values, std::byte* out) {
  const Fit fit =
      fit_affine(values, 15, std::numeric_limits<float>::infinity(), true);
  put_half(out, fit.scale);
  put_half(out + 2, fit.offset);
  put_nibbles(fit.codes, out + 4);
}

void encode_q5_0(Values values, std::byte* out) {
  const Fit fit = fit_symmetric(values, 31, 16);
  put_half(out, fit.scale);
  std::uint32_t high = 0;
  for (int i = 0; i < kBlock; ++i) {
    high |= static_cast<std::uint32_t>(fit.codes[i] >> 4) << i;
  }
  std::memcpy(out + 2, &high, sizeof(high));
  put_nibbles(fit.codes, out + 6);
}

/// 255 codes leave nothing to search for.
void encode_q8_0(Values values, std::byte* out) {
  float extreme = 0;
  for (const float value : values) {
    extreme = std::max(extreme, std::abs(value));
  }
  const float scale = through_half(extreme / 127);
  put_half(out, scale);
  const float inverse = scale == 0 ? 0 : 1 / scale;
  for (int i = 0; i < kBlock; ++i) {
    const float code = std::rint(values[i] * inverse);
    const float inside = code > -127 ? std::min(code, 127.0f) : -127.0f;
    out[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(inside));
  }
}

/// A super-block: w = d·scale·code − dmin·minimum, scales and minima 6 bits.
struct SuperFit {
  float d = 0;
  float dmin = 0;
  std::array<int, kGroups> scales{};
  std::array<int, kGroups> minima{};
  std::array<Codes, kGroups> codes{};
  float error = 0;
};

Values group_of(std::span<const float, kSuper> values, int group) {
  return Values(values.data() + group * kBlock, kBlock);
}

/// The best of the neighbouring pairs of 6-bit numbers for one group.
void refine_group(Values values, int group, SuperFit& fit, float& error) {
  constexpr int kMost = 63;
  Fit best;
  int best_scale = fit.scales[group];
  int best_minimum = fit.minima[group];
  for (int ds = -1; ds <= 1; ++ds) {
    for (int dm = -1; dm <= 1; ++dm) {
      const int scale = std::clamp(fit.scales[group] + ds, 0, kMost);
      const int minimum = std::clamp(fit.minima[group] + dm, 0, kMost);
      Fit trial;
      trial.scale = fit.d * static_cast<float>(scale);
      trial.offset = -fit.dmin * static_cast<float>(minimum);
      choose_codes(values, 15, trial);
      if (trial.error < best.error) {
        best = trial;
        best_scale = scale;
        best_minimum = minimum;
      }
    }
  }
  fit.scales[group] = best_scale;
  fit.minima[group] = best_minimum;
  fit.codes[group] = best.codes;
  error += best.error;
}

/// d and dmin of least error for all codes of the super-block.
void solve_super(std::span<const float, kSuper> values, SuperFit& fit) {
  double aa = 0, ab = 0, bb = 0, aw = 0, bw = 0;
  for (int group = 0; group < kGroups; ++group) {
    const double b = -fit.minima[group];
    for (int i = 0; i < kBlock; ++i) {
      const double a = fit.scales[group] * int{fit.codes[group][i]};
      const double w = values[group * kBlock + i];
      aa += a * a;
      ab += a * b;
      bb += b * b;
      aw += a * w;
      bw += b * w;
    }
  }
  const double determinant = aa * bb - ab * ab;
  if (determinant > 1e-9 * aa * bb) {
    fit.d = static_cast<float>((aw * bb - bw * ab) / determinant);
    fit.dmin = static_cast<float>((bw * aa - aw * ab) / determinant);
  } else if (aa > 0) {
    fit.d = static_cast<float>((aw + fit.dmin * -ab) / aa);
  }
  fit.d = through_half(fit.d);
  fit.dmin = through_half(std::max(fit.dmin, 0.0f));
}

SuperFit fit_super(std::span<const float, kSuper> values) {
  const float kMost = 63;
  std::array<Fit, kGroups> fits;
  float scale = 0;
  float minimum = 0;
  for (int group = 0; group < kGroups; ++group) {
    fits[group] = fit_affine(group_of(values, group), 15, 0.0f, false);
    scale = std::max(scale, fits[group].scale);
    minimum = std::max(minimum, -fits[group].offset);
  }
  SuperFit fit;
  fit.d = through_half(scale / kMost);
  fit.dmin = through_half(minimum / kMost);
  const auto quantized = [kMost](float value, float step) {
    return step == 0 ? 0
                     : static_cast<int>(
                           std::clamp(std::rint(value / step), 0.0f, kMost));
  };
  for (int group = 0; group < kGroups; ++group) {
    fit.scales[group] = quantized(fits[group].scale, fit.d);
    fit.minima[group] = quantized(-fits[group].offset, fit.dmin);
  }
  SuperFit best;
  best.error = std::numeric_limits<float>::infinity();
  for (int round = 0; round < kRounds; ++round) {
    fit.error = 0;
    for (int group = 0; group < kGroups; ++group) {
      refine_group(group_of(values, group), group, fit, fit.error);
    }
    if (fit.error >= best.error) {
      break;
    }
    best = fit;
    solve_super(values, fit);
  }
  return best;
}

void encode_q4_k(std::span<const float, kSuper> values, std::byte* out) {
  const SuperFit fit = fit_super(values);
  put_half(out, fit.d);
  put_half(out + 2, fit.dmin);
  std::array<std::uint8_t, 12> packed{};
  for (int i = 0; i < kGroups; ++i) {
    const int s = fit.scales[i];
    const int m = fit.minima[i];
    if (i < 4) {
      packed[i] = static_cast<std::uint8_t>(packed[i] | s);
      packed[i + 4] = static_cast<std::uint8_t>(packed[i + 4] | m);
    } else {
      packed[i + 4] = static_cast<std::uint8_t>((s & 15) | (m & 15) << 4);
      packed[i - 4] = static_cast<std::uint8_t>(packed[i - 4] | s >> 4 << 6);
      packed[i] = static_cast<std::uint8_t>(packed[i] | m >> 4 << 6);
    }
  }
  std::memcpy(out + 4, packed.data(), packed.size());
  for (int pair = 0; pair < 4; ++pair) {
    for (int i = 0; i < kBlock; ++i) {
      out[16 + 32 * pair + i] = static_cast<std::byte>(
          fit.codes[2 * pair][i] | fit.codes[2 * pair + 1][i] << 4);
    }
  }
}

void encode_floats(
    Encoding encoding,
    std::span<const float> values,
    std::byte* out) {
  if (encoding == Encoding::f32) {
    std::memcpy(out, values.data(), values.size_bytes());
    return;
  }
  for (const float value : values) {
    const std::uint16_t half =
        encoding == Encoding::bf16 ? f32_to_bf16(value) : f32_to_f16(value);
    std::memcpy(out, &half, sizeof(half));
    out += sizeof(half);
  }
}

using EncodeBlock = void (*)(Values, std::byte*);

EncodeBlock block_encoder(Encoding encoding) {
  switch (encoding) {
    case Encoding::q4_0:
      return encode_q4_0;
    case Encoding::q4_1:
      return encode_q4_1;
    case Encoding::q5_0:
      return encode_q5_0;
    case Encoding::q8_0:
      return encode_q8_0;
    default:
      return nullptr;
  }
}

}  // namespace

bool can_encode(Encoding encoding) {
  return is_float(encoding) || encoding == Encoding::q4_k ||
         block_encoder(encoding) != nullptr;
}

void encode_row(
    Encoding encoding,
    std::span<const float> values,
    std::span<std::byte> out) {
  const auto bytes =
      row_bytes(encoding, static_cast<std::int64_t>(values.size()));
  if (!can_encode(encoding) || bytes != out.size()) {
    fail<BugError>(
        "encode_row: sizes don't fit",
        std::string(encoding_name(encoding)),
        "Please report this");
  }
  if (is_float(encoding)) {
    encode_floats(encoding, values, out.data());
    return;
  }
  const BlockFormat& shape = block_format(encoding);
  const EncodeBlock encode = block_encoder(encoding);
  std::byte* block = out.data();
  for (std::size_t at = 0; at < values.size();
       at += static_cast<std::size_t>(shape.values)) {
    if (encode != nullptr) {
      encode(Values(values.data() + at, kBlock), block);
    } else {
      encode_q4_k(
          std::span<const float, kSuper>(values.data() + at, kSuper),
          block);
    }
    block += shape.bytes;
  }
}

}  // namespace roofline
