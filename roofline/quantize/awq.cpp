#include "roofline/quantize/awq.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "roofline/quantize/input_statistics.h"

namespace roofline {

namespace {

/// Powers of the magnitude that are tried: 0, 0.1, … 0.9.
constexpr int kPowers = 10;
/// Scales stay within this factor of 1, so that no column drowns the others.
constexpr float kMostScale = 64.0f;

std::vector<float> scales_of(std::span<const float> magnitudes, float power) {
  std::vector<float> scales;
  double logs = 0;
  for (const float magnitude : magnitudes) {
    const float scale = std::pow(std::max(magnitude, 1e-6f), power);
    scales.push_back(scale);
    logs += std::log(static_cast<double>(scale));
  }
  const auto mean = static_cast<float>(std::exp(
      logs / static_cast<double>(std::max<std::size_t>(magnitudes.size(), 1))));
  for (float& scale : scales) {
    scale = std::clamp(scale / mean, 1 / kMostScale, kMostScale);
  }
  return scales;
}

void scale_columns(FloatMatrix& matrix, std::span<const float> scales) {
  for (int row = 0; row < matrix.rows; ++row) {
    const auto values = matrix.row(row);
    for (std::size_t i = 0; i < scales.size(); ++i) {
      values[i] *= scales[i];
    }
  }
}

std::vector<float> inverse(std::span<const float> scales) {
  std::vector<float> out;
  for (const float scale : scales) {
    out.push_back(1 / scale);
  }
  return out;
}

/// Error at the output when the columns are scaled for rounding.
double error_with(
    const AwqMatrix& matrix,
    std::span<const float> scales,
    const SquareMatrix& moments,
    Encoding scale_type,
    ThreadPool& pool) {
  FloatMatrix scaled = *matrix.weights;
  scale_columns(scaled, scales);
  std::vector<float> importance;
  for (std::size_t i = 0; i < scales.size(); ++i) {
    const int at = static_cast<int>(i);
    importance.push_back(moments.at(at, at) / (scales[i] * scales[i]));
  }
  FloatMatrix values = decode(
      round_plain(
          scaled,
          matrix.format,
          scale_type,
          pool,
          RangeSearch::narrower,
          importance),
      pool);
  scale_columns(values, inverse(scales));
  return output_error(*matrix.weights, values, moments, pool);
}

class Folding {
 public:
  Folding(
      const Checkpoint& checkpoint,
      const LayerSpec& spec,
      int layer,
      const FormatPlan& plan,
      const StatisticsByName& statistics,
      Encoding scale_type,
      ThreadPool& pool)
      : checkpoint_(checkpoint),
        spec_(spec),
        prefix_(fmt::format("layers.{}.", layer)),
        plan_(plan),
        statistics_(statistics),
        scale_type_(scale_type),
        pool_(pool) {}

  FoldedLayer run() {
    const bool norm_before = spec_.norm_placement == NormPlacement::pre ||
                             spec_.norm_placement == NormPlacement::sandwich;
    const bool gated = spec_.feed_forward && spec_.feed_forward->gated;
    // down first: its scales change the rows of up.
    if (gated) {
      fold({"feed_forward.down"}, "feed_forward.up");
    }
    // A low-rank twin of attention reads the same norm.
    if (norm_before && !spec_.low_rank_twin) {
      fold({"attention.q", "attention.k", "attention.v"}, "attention_norm");
    }
    if (norm_before) {
      fold(
          gated
              ? std::vector<std::string>{"feed_forward.gate", "feed_forward.up"}
              : std::vector<std::string>{"feed_forward.up"},
          "feed_forward_norm");
    }
    return std::move(out_);
  }

 private:
  FloatMatrix& tensor(const std::string& name) {
    auto found = out_.tensors.find(name);
    if (found == out_.tensors.end()) {
      found =
          out_.tensors.emplace(name, read_matrix(checkpoint_.at(name), pool_))
              .first;
    }
    return found->second;
  }

  /// Whether these matrices, and no others, read what `maker` makes, and all of
  /// them become codes.
  bool can_fold(
      const std::vector<std::string>& readers,
      const std::string& maker) const {
    const auto made = plan_.formats.find(maker);
    if (checkpoint_.find(maker) == nullptr ||
        (made != plan_.formats.end() && made->second.mode == QuantMode::keep)) {
      return false;
    }
    const auto first = statistics_.find(readers[0]);
    if (first == statistics_.end() || first->second->tokens() == 0) {
      return false;
    }
    const auto sharing = std::count_if(
        statistics_.begin(),
        statistics_.end(),
        [&](const auto& each) { return each.second == first->second; });
    return sharing == static_cast<std::ptrdiff_t>(readers.size()) &&
           std::all_of(
               readers.begin(),
               readers.end(),
               [&](const std::string& name) {
                 const auto format = plan_.formats.find(name);
                 return format != plan_.formats.end() &&
                        format->second.mode != QuantMode::keep;
               });
  }

  void fold(std::vector<std::string> readers, std::string maker) {
    for (auto& name : readers) {
      name = prefix_ + name;
    }
    maker = prefix_ + maker;
    if (!can_fold(readers, maker)) {
      return;
    }
    const InputStatistics& input = *statistics_.find(readers[0])->second;
    std::vector<AwqMatrix> matrices;
    for (const auto& name : readers) {
      matrices.push_back({&tensor(name), plan_.formats.find(name)->second});
    }
    const auto magnitudes = input.magnitudes();
    const AwqScales found = find_awq_scales(
        matrices,
        input.moments(),
        magnitudes,
        scale_type_,
        pool_);
    if (found.power == 0) {
      return;
    }
    const auto scales = divide(maker, found.scales);
    for (const auto& name : readers) {
      scale_columns(tensor(name), scales);
      out_.input_scales[name] = scales;
    }
  }

  /// Makes what a norm or the rows of a matrix give smaller. Returns by how
  /// much it became so, which for a norm is what its stored type makes of it.
  std::vector<float> divide(
      const std::string& maker,
      std::vector<float> scales) {
    FloatMatrix& values = tensor(maker);
    if (values.rows == 1) {
      const float shift = spec_.norm.plus_one ? 1.0f : 0.0f;
      for (std::size_t i = 0; i < scales.size(); ++i) {
        float& value = values.values[i];
        const float before = value + shift;
        const float wanted = rounded(before / scales[i] - shift, scale_type_);
        const float after = wanted + shift;
        if (after == 0 || before == 0) {
          scales[i] = 1;
        } else {
          value = wanted;
          scales[i] = before / after;
        }
      }
    } else {
      for (int row = 0; row < values.rows; ++row) {
        for (float& value : values.row(row)) {
          value /= scales[static_cast<std::size_t>(row)];
        }
      }
    }
    const std::string bias = maker + ".bias";
    if (checkpoint_.find(bias) != nullptr) {
      auto& bias_values = tensor(bias).values;
      for (std::size_t i = 0; i < scales.size(); ++i) {
        bias_values[i] /= scales[i];
      }
    }
    return scales;
  }

  const Checkpoint& checkpoint_;
  const LayerSpec& spec_;
  std::string prefix_;
  const FormatPlan& plan_;
  const StatisticsByName& statistics_;
  Encoding scale_type_;
  ThreadPool& pool_;
  FoldedLayer out_;
};

}  // namespace

AwqScales find_awq_scales(
    std::span<const AwqMatrix> matrices,
    const SquareMatrix& moments,
    std::span<const float> magnitudes,
    Encoding scale_type,
    ThreadPool& pool) {
  AwqScales best;
  best.error = std::numeric_limits<double>::infinity();
  for (int step = 0; step < kPowers; ++step) {
    const float power = 0.1f * static_cast<float>(step);
    const auto scales = scales_of(magnitudes, power);
    double error = 0;
    for (const AwqMatrix& matrix : matrices) {
      error += error_with(matrix, scales, moments, scale_type, pool);
    }
    if (step == 0) {
      best.plain_error = error;
    }
    if (error < best.error) {
      best.scales = scales;
      best.power = power;
      best.error = error;
    }
  }
  return best;
}

FoldedLayer fold_awq(
    const Checkpoint& checkpoint,
    const LayerSpec& spec,
    int layer,
    const FormatPlan& plan,
    const StatisticsByName& statistics,
    Encoding scale_type,
    ThreadPool& pool) {
  return Folding(checkpoint, spec, layer, plan, statistics, scale_type, pool)
      .run();
}

}  // namespace roofline
