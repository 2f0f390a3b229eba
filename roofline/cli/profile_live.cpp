#include "roofline/cli/profile_live.h"

#include <algorithm>

#include <fmt/format.h>
#include <mlx/memory.h>
#include <unistd.h>

#include "roofline/base/memory.h"
#include "roofline/base/terminal.h"
#include "roofline/cli/loaded_model.h"
#include "roofline/cli/output.h"
#include "roofline/cli/startup_trace.h"
#include "roofline/plan/roof.h"
#include "roofline/report/utf8_cells.h"

namespace roofline::cli {

namespace {

constexpr double kTerminalSeconds = 0.2;
constexpr double kLineSeconds = 1;

}  // namespace

ProfileLive::ProfileLive(
    const Decoder& decoder,
    const Tokenizer& tokenizer,
    std::size_t prompt_tokens,
    double bandwidth,
    bool silent)
    : decoder_(decoder),
      bandwidth_(bandwidth),
      terminal_(::isatty(STDERR_FILENO) == 1),
      on_text_([this, silent](std::string_view piece) {
        if (silent) {
          return;
        }
        // One terminal can't hold a growing text and a line that is redrawn.
        if (terminal_ && people_read_output()) {
          text_ += piece;
        } else {
          write_output(piece);
        }
      }),
      answer_(tokenizer, {}, on_text_),
      depth_(static_cast<std::int64_t>(prompt_tokens)) {}

bool ProfileLive::push(std::int32_t token) {
  ++depth_;
  ++tokens_;
  const double now = process_seconds();
  times_.push_back(now);
  while (now - times_.front() > 1) {
    times_.pop_front();
  }
  answer_.push(token, false);
  if (now - shown_ >= (terminal_ ? kTerminalSeconds : kLineSeconds)) {
    show(now);
  }
  return true;
}

void ProfileLive::show(double now) {
  shown_ = now;
  const double span = times_.back() - times_.front();
  const double speed =
      span > 0 ? static_cast<double>(times_.size() - 1) / span : 0;
  const double roof = roof_tokens_per_second(
      step_bytes(decoder_, depth_, std::nullopt, 1),
      bandwidth_);
  const auto memory =
      std::max(resident_bytes(), mlx::core::get_active_memory());
  std::string line = fmt::format(
      "{} tokens · {:.1f} tok/s · {}",
      tokens_,
      speed,
      format_bytes(static_cast<double>(memory)));
  if (roof > 0) {
    line += fmt::format(" · {:.0f} % of the roof", 100 * speed / roof);
  }
  const int columns = terminal_columns(STDERR_FILENO).value_or(80);
  write_notice(
      terminal_ ? fmt::format("\r\033[K{}", first_columns(line, columns - 1))
                : fmt::format("{}\n", line));
}

void ProfileLive::finish() {
  if (!times_.empty()) {
    show(process_seconds());
  }
  if (terminal_) {
    write_notice("\n");
  }
  answer_.finish(false);
  if (!answer_.text().empty()) {
    on_text_("\n\n");
  }
  if (!text_.empty()) {
    write_output(text_);
  }
}

}  // namespace roofline::cli
