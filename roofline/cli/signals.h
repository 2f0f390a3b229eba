// Ctrl-C and SIGTERM while an answer is being made: the first one asks for the
// end, the second one ends the process the hard way.
#pragma once

#include <atomic>

namespace roofline::cli {

/// Opens those of standard input, output and error that were closed when the
/// program began, so that no file that it opens gets their number, and with it
/// what is written there. Reading and writing them fails as before.
void occupy_standard_descriptors();

/// Ignores SIGPIPE and SIGXFSZ, so that a closed output and a file that may not
/// grow are errors that we see.
void ignore_output_signals();

/// Catches SIGINT and SIGTERM as long as it lives. One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// True once a signal came, or stop() was called.
  const std::atomic<bool>& flag() const;
  /// Asks for the end as a signal would.
  void stop();
  /// The signal that came; 0 for none.
  int signal() const;
};

/// 130 or 143, as shells count the signal.
int exit_code_of(int signal);

}  // namespace roofline::cli
