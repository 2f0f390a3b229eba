#include "roofline/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

[[noreturn]] void fail_open(
    const std::filesystem::path& path,
    const std::string& why,
    const std::string& action) {
  fail<UserError>("Can't read " + path.string(), why, action);
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    fail_open(path, std::strerror(errno), "Check the path and its permissions");
  }
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    fail_open(path, "It is not a regular file", "Name a file of weights");
  }
  if (info.st_size == 0) {
    ::close(fd);
    fail_open(path, "The file is empty", "Download or copy it again");
  }
  size_ = static_cast<std::size_t>(info.st_size);
  void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (data == MAP_FAILED) {
    size_ = 0;
    fail_open(path, std::strerror(errno), "Free some memory and try again");
  }
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    ::munmap(const_cast<std::byte*>(data_), size_);
  }
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::release(std::size_t offset, std::size_t size) const {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  if (offset > size_ || size > size_ - offset) {
    return;
  }
  std::size_t first = (offset + page - 1) / page * page;
  std::size_t last = (offset + size) / page * page;
  if (first < last) {
    ::madvise(
        const_cast<std::byte*>(data_) + first,
        last - first,
        MADV_DONTNEED);
  }
}

}  // namespace roofline
