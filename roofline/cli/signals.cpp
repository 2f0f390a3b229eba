#include "roofline/cli/signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "roofline/cli/command.h"

namespace roofline::cli {

namespace {

// A handler reaches nothing but globals.
std::atomic<bool> stop_wanted{false};
volatile std::sig_atomic_t last_signal = 0;

extern "C" void on_signal(int signal) {
  last_signal = signal;
  stop_wanted.store(true, std::memory_order_relaxed);
}

void set_handler(int signal, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

void occupy_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
      // The lowest number that is free; for the other direction, that an
      // answer isn't lost without a word.
      ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
  }
}

void ignore_output_signals() {
  set_handler(SIGPIPE, SIG_IGN, 0);
  set_handler(SIGXFSZ, SIG_IGN, 0);
}

InterruptGuard::InterruptGuard() {
  last_signal = 0;
  stop_wanted = false;
  // SA_RESETHAND: the second signal meets the default action.
  const int flags = static_cast<int>(SA_RESETHAND);
  set_handler(SIGINT, on_signal, flags);
  set_handler(SIGTERM, on_signal, flags);
}

InterruptGuard::~InterruptGuard() {
  set_handler(SIGINT, SIG_DFL, 0);
  set_handler(SIGTERM, SIG_DFL, 0);
}

const std::atomic<bool>& InterruptGuard::flag() const {
  return stop_wanted;
}

void InterruptGuard::stop() {
  stop_wanted = true;
}

int InterruptGuard::signal() const {
  return last_signal;
}

int exit_code_of(int signal) {
  return signal == SIGTERM ? kTerminated : kInterrupted;
}

}  // namespace roofline::cli
