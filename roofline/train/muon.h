// The step that makes Muon's direction orthogonal.
#pragma once

#include <span>

namespace roofline {

/// Moves the singular values of g [rows, cols] close to one, by five
/// Newton-Schulz iterations of K. Jordan's quintic (2024). In place.
void orthogonalize(std::span<float> g, int rows, int cols);

}  // namespace roofline
