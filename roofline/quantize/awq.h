// AWQ (Lin et al. 2023, arXiv 2306.00978): columns whose inputs are loud are
// scaled up before rounding, and what makes those inputs is scaled down, so
// that the model stays the same and the columns that matter lose less. The
// scales are a power of the inputs' mean magnitude; the power is searched.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "roofline/base/thread_pool.h"
#include "roofline/quantize/calibrate.h"
#include "roofline/quantize/codes.h"
#include "roofline/quantize/plan_formats.h"
#include "roofline/spec/model_spec.h"

namespace roofline {

struct AwqScales {
  std::vector<float> scales;  ///< [cols], geometric mean 1
  float power = 0;            ///< 0: all scales are 1
  double error = 0;           ///< at the outputs of all matrices
  double plain_error = 0;     ///< the same without scales
};

/// One matrix that reads the input, and how it will be stored.
struct AwqMatrix {
  const FloatMatrix* weights = nullptr;
  MatrixFormat format;
};

/// The scales that lose least at the outputs of all matrices that read one
/// input: tr(Δ·M·Δᵀ) with Δ what rounding W·s and dividing by s again changes.
/// Never worse than plain rounding with the same ranges. moments: of the input
/// as it is; magnitudes: mean |x|.
AwqScales find_awq_scales(
    std::span<const AwqMatrix> matrices,
    const SquareMatrix& moments,
    std::span<const float> magnitudes,
    Encoding scale_type,
    ThreadPool& pool);

/// A layer's tensors with scales folded in, by our names.
struct FoldedLayer {
  std::map<std::string, FloatMatrix, std::less<>> tensors;
  /// By which a matrix's inputs became smaller.
  std::map<std::string, std::vector<float>, std::less<>> input_scales;
};

/// Folds scales into a layer where its structure allows it: of q, k, v into the
/// norm before them, of gate and up likewise, of down into the rows of a gated
/// up. Leaves alone what a norm after the sub-layer, a norm that two readers
/// share, or a matrix that stays floats rules out.
FoldedLayer fold_awq(
    const Checkpoint& checkpoint,
    const LayerSpec& spec,
    int layer,
    const FormatPlan& plan,
    const StatisticsByName& statistics,
    Encoding scale_type,
    ThreadPool& pool);

}  // namespace roofline
