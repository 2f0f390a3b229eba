// When an op of ours on the CPU gets memory for its output.
#pragma once

#include <vector>

#include <mlx/array.h>
#include <mlx/stream.h>

namespace roofline {

namespace mx = mlx::core;

/// From so many bytes on an op waits for those before it.
inline constexpr std::size_t kLargeOutputBytes = 1 << 20;

/// MLX hands out memory for up to a hundred ops ahead of the one that runs,
/// which of a long step's sizes is most of its peak. Called before an op's
/// outputs get theirs: where they are large, waits until the stream has
/// finished what came before.
void wait_if_large(const std::vector<mx::array>& outputs, mx::Stream stream);

}  // namespace roofline
