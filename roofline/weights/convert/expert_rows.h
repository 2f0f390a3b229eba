// Experts on their way into MLX's layout: one by one they become stacks, and
// stacks of gate and up are taken apart. No value changes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "roofline/weights/convert/rows.h"

namespace roofline {

/// Where MLX keeps a family's experts: "….experts.12.up_proj.weight" becomes
/// "….<folder>up_proj.weight" or, with `numbered`, "….<folder>fc1.weight".
struct ExpertNames {
  std::string_view folder = "switch_mlp.";
  bool numbered = false;  ///< up_proj is fc1, down_proj fc2
};

/// Tensors of one projection, by expert, become one [experts, out, in]. Throws
/// CheckpointError when an expert is missing or unlike the others.
std::vector<RowTensor> stack_experts(
    std::vector<RowTensor> tensors,
    const ExpertNames& names);

/// "….experts.gate_up_proj" [experts, 2·hidden, in] → gate and up, each
/// [experts, hidden, in]; "….experts.down_proj" gets its name. Other tensors
/// come back as they are.
std::vector<RowTensor> split_stacked_experts(
    const RowTensor& tensor,
    const ExpertNames& names);

/// The same of "….input_linear.weight" and "….output_linear.weight", which
/// become those of `part`: "switch_mlp." beside them, or "mlp." for a dense
/// part [2·hidden, in].
std::vector<RowTensor> split_input_linear(
    const RowTensor& tensor,
    std::string_view from,
    std::string_view part);

/// Experts stored [in, out] with columns of gate and up in turns, and their
/// biases → [experts, out, in] of each.
std::vector<RowTensor> split_turned_experts(const RowTensor& tensor);

/// The same of blocks of four-bit floats, which are stored [out, in]:
/// "….gate_up_proj_blocks" with rows of gate and up in turns, and
/// "….down_proj_blocks".
std::vector<RowTensor> split_expert_blocks(const RowTensor& tensor);

}  // namespace roofline
