// Writes planned tensors from rows that are computed piece by piece, several
// pieces at once.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/weights/convert/mlx_quantize.h"
#include "roofline/weights/convert/rows.h"
#include "roofline/weights/save.h"

namespace roofline {

/// One tensor's way into a file: cast to dtype, then packed where there is a
/// form; or in the form that its source holds it in.
struct RowJob {
  const RowTensor* tensor = nullptr;
  mlx::core::Dtype dtype = mlx::core::float32;
  std::optional<MlxForm> form;
  bool keep_packed = false;

  std::vector<PlannedTensor> plan() const;
};

/// Called with the share of all elements done and the tensor at work.
using RowProgress = std::function<void(double share, std::string_view name)>;

/// Writes every job's tensors, which must be planned.
void write_rows(
    CheckpointWriter& writer,
    std::span<const RowJob> jobs,
    const RowProgress& progress);

}  // namespace roofline
