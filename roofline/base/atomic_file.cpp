#include "roofline/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "roofline/base/errors.h"
#include "roofline/base/paths.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

/// A name beside `path` that no other process or thread uses now.
fs::path temporary_name(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  return path.string() + "." + std::to_string(::getpid()) + "." +
         std::to_string(counter++) + ".tmp";
}

int open_nameless([[maybe_unused]] const fs::path& folder) {
#ifdef O_TMPFILE
  return ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
#else
  return -1;
#endif
}

bool link_nameless(int fd, const fs::path& target) {
  const std::string self = "/proc/self/fd/" + std::to_string(fd);
  return ::linkat(
             AT_FDCWD,
             self.c_str(),
             AT_FDCWD,
             target.c_str(),
             AT_SYMLINK_FOLLOW) == 0;
}

int make_durable(int fd) {
#ifdef __APPLE__
  return ::fsync(fd);
#else
  return ::fdatasync(fd);
#endif
}

}  // namespace

AtomicFile::AtomicFile(const fs::path& path) : path_(path) {
  const fs::path folder =
      path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (!ensure_private_dir(folder)) {
    error_ = folder.string() + " can't be created";
    return;
  }
  fd_ = open_nameless(folder);
  if (fd_ >= 0) {
    return;
  }
  temporary_ = temporary_name(path);
  fd_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd_ < 0) {
    error_ = folder.string() + ": " + std::strerror(errno);
    temporary_.clear();
  }
}

AtomicFile::~AtomicFile() {
  close();
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      fd_(std::exchange(other.fd_, -1)),
      error_(std::move(other.error_)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this != &other) {
    close();
    path_ = std::move(other.path_);
    temporary_ = std::exchange(other.temporary_, {});
    fd_ = std::exchange(other.fd_, -1);
    error_ = std::move(other.error_);
  }
  return *this;
}

void AtomicFile::close() {
  if (fd_ >= 0) {
    ::close(std::exchange(fd_, -1));
  }
  if (!temporary_.empty()) {
    ::unlink(temporary_.c_str());
    temporary_.clear();
  }
}

bool AtomicFile::publish() {
  if (!is_open()) {
    return false;
  }
  const bool done = make_durable(fd_) == 0 && give_name();
  if (!done) {
    error_ = path_.string() + ": " + std::strerror(errno);
  }
  close();
  return done;
}

bool AtomicFile::give_name() {
  if (temporary_.empty()) {
    if (link_nameless(fd_, path_)) {
      return true;
    }
    // A link never replaces, so the file takes a temporary name first; only a
    // kill before the rename could leave it there, whole.
    temporary_ = temporary_name(path_);
    if (!link_nameless(fd_, temporary_)) {
      temporary_.clear();
      return false;
    }
  }
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return false;
  }
  temporary_.clear();
  return true;
}

int reserve_disk(int fd, std::size_t bytes) {
  const auto size = static_cast<off_t>(bytes);
  if (size < 0 || static_cast<std::size_t>(size) != bytes) {
    return EFBIG;
  }
#ifdef __APPLE__
  fstore_t store{};
  store.fst_flags = F_ALLOCATEALL;
  store.fst_posmode = F_PEOFPOSMODE;
  store.fst_length = size;
  if (::fcntl(fd, F_PREALLOCATE, &store) == -1) {
    return errno;
  }
  return ::ftruncate(fd, size) == 0 ? 0 : errno;
#else
  return ::posix_fallocate(fd, 0, size);
#endif
}

void write_file_atomically(
    const fs::path& path,
    std::span<const std::byte> bytes) {
  AtomicFile file(path);
  while (file.is_open() && !bytes.empty()) {
    const ssize_t n = ::write(file.fd(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      fail<UserError>(
          "Can't write " + path.string(),
          std::strerror(errno),
          "Free some disk space or choose another folder");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  if (!file.publish()) {
    fail<UserError>(
        "Can't write " + path.string(),
        file.error(),
        "Check that the folder exists and can be written");
  }
}

}  // namespace roofline
