#include "roofline/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

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

bool write_all(int fd, const char* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(fd, bytes, size);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return false;
    }
    bytes += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

/// Copies a whole file to a new one, durably.
bool copy_file(int from, const fs::path& target) {
  const int to =
      ::open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  std::vector<char> buffer(std::size_t{1} << 20);
  off_t at = 0;
  bool done = to >= 0;
  while (done) {
    const ssize_t n = ::pread(from, buffer.data(), buffer.size(), at);
    if (n == 0) {
      break;
    }
    at += n;
    done = n > 0 && write_all(to, buffer.data(), static_cast<std::size_t>(n));
  }
  done = done && make_durable(to) == 0;
  if (to >= 0) {
    ::close(to);
  }
  return done;
}

}  // namespace

AtomicFile::AtomicFile(const fs::path& path, Naming naming)
    : path_(path), naming_(naming) {
  const fs::path folder =
      path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (!ensure_private_dir(folder)) {
    error_ = folder.string() + " can't be created";
    return;
  }
  if (naming_ == Naming::by_link) {
    fd_ = open_nameless(folder);
  }
  if (fd_ >= 0) {
    return;
  }
  // Without a name from here on, as above, but for good.
  naming_ = Naming::by_copy;
  const fs::path temporary = temporary_name(path);
  fd_ = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd_ < 0) {
    error_ = folder.string() + ": " + std::strerror(errno);
    return;
  }
  ::unlink(temporary.c_str());
}

AtomicFile::~AtomicFile() {
  close();
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      naming_(other.naming_),
      fd_(std::exchange(other.fd_, -1)),
      error_(std::move(other.error_)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this != &other) {
    close();
    path_ = std::move(other.path_);
    naming_ = other.naming_;
    fd_ = std::exchange(other.fd_, -1);
    error_ = std::move(other.error_);
  }
  return *this;
}

void AtomicFile::close() {
  if (fd_ >= 0) {
    ::close(std::exchange(fd_, -1));
  }
}

bool AtomicFile::publish() {
  if (!is_open()) {
    return false;
  }
  const bool done = give_name();
  if (!done) {
    error_ = path_.string() + ": " + std::strerror(errno);
  }
  close();
  return done;
}

bool AtomicFile::give_name() {
  const bool by_link = naming_ == Naming::by_link;
  if (by_link && make_durable(fd_) != 0) {
    return false;
  }
  if (by_link && link_nameless(fd_, path_)) {
    return true;
  }
  // A link never replaces, so the file takes a temporary name first; only a
  // kill before the rename could leave it there.
  const fs::path temporary = temporary_name(path_);
  const bool named = by_link && link_nameless(fd_, temporary);
  if ((named || copy_file(fd_, temporary)) &&
      ::rename(temporary.c_str(), path_.c_str()) == 0) {
    return true;
  }
  const int reason = errno;
  ::unlink(temporary.c_str());
  errno = reason;
  return false;
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
  if (file.is_open() && !write_all(
                            file.fd(),
                            reinterpret_cast<const char*>(bytes.data()),
                            bytes.size())) {
    fail<UserError>(
        "Can't write " + path.string(),
        std::strerror(errno),
        "Free some disk space or choose another folder");
  }
  if (!file.publish()) {
    fail<UserError>(
        "Can't write " + path.string(),
        file.error(),
        "Check that the folder exists and can be written");
  }
}

}  // namespace roofline
