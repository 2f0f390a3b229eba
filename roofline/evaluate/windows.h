// How a long text is cut into windows that a model reads one by one, and
// which of its tokens count in which window. Pure arithmetic.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace roofline {

struct WindowOptions {
  /// Tokens of a window.
  int context_tokens = 512;
  /// Tokens from one window's begin to the next one's. Fewer than the context:
  /// windows overlap, and a token counts in the first window that has it.
  int stride_tokens = 512;
  /// A token counts when so many tokens of its window stand before it.
  int least_context = 1;
  /// Leave out a last window that is shorter than the others.
  bool whole_only = false;
  /// Put in place of each window's first token.
  std::optional<std::int32_t> first_token;
};

/// Tokens [begin, end) of the text; those from first_target on are predicted.
struct Window {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t first_target = 0;

  std::size_t targets() const { return end - first_target; }
};

/// Windows that predict at least one token, in order. Throws UserError for a
/// stride outside 1 … context, a context below 2, or a least context that no
/// token of a window has.
std::vector<Window> make_windows(
    std::size_t tokens,
    const WindowOptions& options);

/// The ids of one window, its first token replaced when asked for.
std::vector<std::int32_t> window_tokens(
    std::span<const std::int32_t> tokens,
    const Window& window,
    const WindowOptions& options);

}  // namespace roofline
