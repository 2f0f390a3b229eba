#include "roofline/base/staged_folder.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kEnd = ".roofline-tmp";

std::string stage_prefix(const fs::path& target) {
  return fmt::format(".{}.", target.filename().string());
}

/// The process that a stage's name tells; 0 when it tells none.
long owner_of(const std::string& name, const std::string& prefix) {
  if (!name.starts_with(prefix) || !name.ends_with(kEnd)) {
    return 0;
  }
  char* end = nullptr;
  const long pid = std::strtol(name.c_str() + prefix.size(), &end, 10);
  return end != nullptr && *end == '-' ? pid : 0;
}

/// A stage is held by a lock on the folder itself, which ends with its process.
int lock_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0 && ::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    return -1;
  }
  return fd;
}

void sweep(const fs::path& parent, const std::string& prefix) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(parent, error)) {
    const long owner = owner_of(entry.path().filename().string(), prefix);
    const bool gone = owner > 0 && ::kill(static_cast<pid_t>(owner), 0) != 0 &&
                      errno == ESRCH;
    if (!gone) {
      continue;
    }
    const int lock = lock_folder(entry.path());
    if (lock >= 0) {
      std::error_code ignored;
      fs::remove_all(entry.path(), ignored);
      ::close(lock);
    }
  }
}

bool sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool done = fd >= 0 && (::fsync(fd) == 0 || errno == EINVAL);
  if (fd >= 0) {
    ::close(fd);
  }
  return done;
}

/// Swaps two folders in one step. False where the system can't.
bool exchange(const fs::path& a, const fs::path& b) {
#if defined(__APPLE__)
  return ::renamex_np(a.c_str(), b.c_str(), RENAME_SWAP) == 0;
#elif defined(RENAME_EXCHANGE)
  return ::renameat2(
             AT_FDCWD,
             a.c_str(),
             AT_FDCWD,
             b.c_str(),
             RENAME_EXCHANGE) == 0;
#else
  return false;
#endif
}

fs::path absolute_path(const fs::path& target) {
  if (target.empty()) {
    fail<UserError>("The name of the folder to write is empty", "", "Give one");
  }
  return fs::absolute(target).lexically_normal();
}

}  // namespace

StagedFolder::StagedFolder(const fs::path& target)
    : target_(absolute_path(target)) {
  if (!target_.has_filename()) {  // a trailing slash
    target_ = target_.parent_path();
  }
  static std::atomic<unsigned> counter{0};
  const std::string prefix = stage_prefix(target_);
  const fs::path parent = target_.parent_path();
  std::error_code error;
  fs::create_directories(parent, error);
  sweep(parent, prefix);
  path_ =
      parent / fmt::format("{}{}-{}{}", prefix, ::getpid(), counter++, kEnd);
  if (error || !fs::create_directory(path_, error)) {
    fail<UserError>(
        "Can't write in " + parent.string(),
        error.message(),
        "Check the path, or choose another folder");
  }
  lock_ = lock_folder(path_);
}

StagedFolder::~StagedFolder() {
  if (!path_.empty()) {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  if (lock_ >= 0) {
    ::close(lock_);
  }
}

void StagedFolder::publish() {
  bool done = sync_folder(path_);
  const bool swapped = done && exchange(path_, target_);
  if (done && !swapped) {
    // Nothing there, an empty folder, or a file system that can't swap.
    done = ::rename(path_.c_str(), target_.c_str()) == 0;
    if (!done && (errno == ENOTEMPTY || errno == EEXIST)) {
      const fs::path old = path_.string() + "-old";
      done = ::rename(target_.c_str(), old.c_str()) == 0 &&
             ::rename(path_.c_str(), target_.c_str()) == 0;
      const int reason = errno;
      if (done) {
        std::error_code ignored;
        fs::remove_all(old, ignored);
      } else {
        ::rename(old.c_str(), target_.c_str());
        errno = reason;
      }
    }
  }
  if (!done) {
    fail<UserError>(
        "Can't make " + target_.string(),
        std::strerror(errno),
        "Check that the folder can be written");
  }
  sync_folder(target_.parent_path());
  if (!swapped) {
    path_.clear();
  }  // else the destructor removes what was there before
}

}  // namespace roofline
