#include "roofline/base/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

#include <fmt/format.h>

#include "roofline/base/errors.h"

extern char** environ;

namespace roofline {

namespace {

struct Pipe {
  int read = -1;
  int write = -1;
};

void close_fd(int& fd) {
  if (fd >= 0) {
    ::close(fd);
    fd = -1;
  }
}

// Neither end stays open in another child.
std::optional<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) {
    return std::nullopt;
  }
  for (const int end : ends) {
    ::fcntl(end, F_SETFD, FD_CLOEXEC);
  }
  return Pipe{ends[0], ends[1]};
}

// What a child must not inherit from a program that ignores a closed pipe.
class SpawnRules {
 public:
  SpawnRules(const Pipe& in, const Pipe& out, bool quiet) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_adddup2(&actions_, in.read, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, out.write, STDOUT_FILENO);
    if (quiet) {
      posix_spawn_file_actions_addopen(
          &actions_,
          STDERR_FILENO,
          "/dev/null",
          O_WRONLY,
          0);
    }
    posix_spawnattr_init(&attributes_);
    sigset_t broken_pipe;
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes_, &broken_pipe);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnRules() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnRules(const SpawnRules&) = delete;
  SpawnRules& operator=(const SpawnRules&) = delete;

  int spawn(pid_t& pid, const std::vector<std::string>& command) const {
    std::vector<char*> words;
    words.reserve(command.size() + 1);
    for (const std::string& word : command) {
      words.push_back(const_cast<char*>(word.c_str()));
    }
    words.push_back(nullptr);
    return posix_spawnp(
        &pid,
        words[0],
        &actions_,
        &attributes_,
        words.data(),
        environ);
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

[[noreturn]] void fail_to_start(const std::string& program, int error) {
  fail<UserError>(
      fmt::format("{} can't be started", program),
      std::strerror(error),
      "Check that it is installed and may be run");
}

}  // namespace

ChildProcess::ChildProcess(
    const std::vector<std::string>& command,
    bool quiet) {
  auto in = make_pipe();
  auto out = make_pipe();
  if (!in || !out) {
    fail_to_start(command.at(0), errno);
  }
  const int error = SpawnRules(*in, *out, quiet).spawn(pid_, command);
  close_fd(in->read);
  close_fd(out->write);
  if (error != 0) {
    close_fd(in->write);
    close_fd(out->read);
    pid_ = -1;
    fail_to_start(command.at(0), error);
  }
  input_ = in->write;
  output_ = out->read;
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    wait();
  }
  close_fd(output_);
}

bool ChildProcess::write_line(std::string_view line) {
  const std::string text = fmt::format("{}\n", line);
  std::size_t done = 0;
  while (done < text.size()) {
    const auto count = ::write(input_, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return false;
    }
    done += static_cast<std::size_t>(count);
  }
  return true;
}

bool ChildProcess::fill() {
  std::array<char, 4096> bytes{};
  ssize_t count = 0;
  do {
    count = ::read(output_, bytes.data(), bytes.size());
  } while (count < 0 && errno == EINTR);
  if (count <= 0) {
    return false;
  }
  buffer_.append(bytes.data(), static_cast<std::size_t>(count));
  return true;
}

std::optional<std::string> ChildProcess::read_line() {
  std::size_t end = 0;
  while ((end = buffer_.find('\n')) == std::string::npos) {
    if (!fill()) {
      return std::nullopt;
    }
  }
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  return line;
}

std::string ChildProcess::read_all() {
  while (fill()) {
  }
  return std::move(buffer_);
}

int ChildProcess::wait() {
  constexpr int kSignalBase = 128;
  close_fd(input_);
  int status = 0;
  while (pid_ > 0 && ::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status)
                           : kSignalBase + WTERMSIG(status);
}

CommandOutput run_command(const std::vector<std::string>& command, bool quiet) {
  ChildProcess child(command, quiet);
  std::string text = child.read_all();
  return {child.wait(), std::move(text)};
}

std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const auto file = std::filesystem::path(folder) / name;
    if (::access(file.c_str(), X_OK) == 0 &&
        std::filesystem::is_regular_file(file)) {
      return file.string();
    }
  }
  return {};
}

}  // namespace roofline
