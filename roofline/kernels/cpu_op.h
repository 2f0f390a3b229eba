// An MLX op on the CPU from two functions: what it computes on plain memory,
// and its gradient as a graph of other ops. For ops of training, which are
// large enough that a std::function costs nothing.
#pragma once

#include <functional>
#include <vector>

#include <mlx/array.h>
#include <mlx/utils.h>

namespace roofline {

namespace mx = mlx::core;

/// Memory of the inputs and of the outputs, in order; all float32 but the
/// inputs that came as int32.
struct CpuOpMemory {
  std::vector<const float*> in;
  std::vector<float*> out;
};

struct CpuOp {
  const char* name = "";
  std::vector<mx::Shape> out_shapes;
  /// Fills the outputs. Captures values, nothing of the graph: it runs when
  /// the primitive may be gone.
  std::function<void(const CpuOpMemory&)> eval;
  /// (inputs, cotangents, outputs, wanted) → one gradient for each wanted
  /// input. Absent: the op has no gradient.
  std::function<std::vector<mx::array>(
      const std::vector<mx::array>& inputs,
      const std::vector<mx::array>& cotangents,
      const std::vector<mx::array>& outputs,
      const std::vector<int>& wanted)>
      vjp;
  /// Its output costs less to compute again than to keep: computed_again().
  bool cheap = false;
};

/// Inputs are made contiguous; floating ones become float32. The stream is the
/// CPU's default one.
std::vector<mx::array> cpu_op(CpuOp op, const std::vector<mx::array>& inputs);

/// For gradients: the output of a cheap op, to be computed again from that op's
/// inputs (cheap ones of them likewise), so that x itself needn't stay until
/// then; x where another op made it.
mx::array computed_again(const mx::array& x);

}  // namespace roofline
