#include "roofline/evaluate/windows.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

void check(const WindowOptions& options) {
  if (options.context_tokens < 2) {
    fail<UserError>(
        fmt::format("A context of {} tokens", options.context_tokens),
        "A token and the one that follows it are the least",
        "Give a context of 2 or more");
  }
  if (options.stride_tokens < 1 ||
      options.stride_tokens > options.context_tokens) {
    fail<UserError>(
        fmt::format("A stride of {} tokens", options.stride_tokens),
        fmt::format(
            "With windows of {} tokens a longer one would leave tokens out",
            options.context_tokens),
        fmt::format("Give one from 1 to {}", options.context_tokens));
  }
  if (options.least_context < 1 ||
      options.least_context >= options.context_tokens) {
    fail<UserError>(
        fmt::format("At least {} tokens before one", options.least_context),
        fmt::format(
            "A window has {} tokens: its last one has {} before it",
            options.context_tokens,
            options.context_tokens - 1),
        fmt::format("Give from 1 to {}", options.context_tokens - 1));
  }
}

}  // namespace

std::vector<Window> make_windows(
    std::size_t tokens,
    const WindowOptions& options) {
  check(options);
  const auto context = static_cast<std::size_t>(options.context_tokens);
  const auto stride = static_cast<std::size_t>(options.stride_tokens);
  const auto least = static_cast<std::size_t>(options.least_context);
  std::vector<Window> windows;
  std::size_t counted = 0;
  for (std::size_t begin = 0; begin < tokens && counted < tokens;
       begin += stride) {
    const std::size_t end = std::min(begin + context, tokens);
    if (options.whole_only && end - begin < context) {
      break;
    }
    const std::size_t first = std::max(counted, begin + least);
    if (first < end) {
      windows.push_back({begin, end, first});
    }
    counted = end;
  }
  return windows;
}

std::vector<std::int32_t> window_tokens(
    std::span<const std::int32_t> tokens,
    const Window& window,
    const WindowOptions& options) {
  const auto part = tokens.subspan(window.begin, window.end - window.begin);
  std::vector<std::int32_t> ids(part.begin(), part.end());
  if (options.first_token && !ids.empty()) {
    ids.front() = *options.first_token;
  }
  return ids;
}

}  // namespace roofline
