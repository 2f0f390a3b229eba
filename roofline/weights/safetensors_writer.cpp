#include "roofline/weights/safetensors_writer.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"

namespace roofline {

namespace {

/// The header is padded so that the first tensor begins at a multiple of it.
constexpr std::size_t kAlignment = 64;

constexpr std::array<std::pair<std::string_view, std::size_t>, 10> kBytes = {{
    {"F64", 8},
    {"F32", 4},
    {"F16", 2},
    {"BF16", 2},
    {"U8", 1},
    {"I8", 1},
    {"U32", 4},
    {"I32", 4},
    {"I64", 8},
    {"BOOL", 1},
}};

[[noreturn]] void fail_call(const std::string& what, const std::string& why) {
  fail<BugError>("SafetensorsWriter: " + what, why, "Please report this");
}

[[noreturn]] void fail_write(const std::string& label, int reason) {
  const std::string what = "Can't write " + label;
  const std::string unchanged = "Nothing that was there before has changed. ";
  const char* told = std::strerror(reason);
  switch (reason) {
    case ENOSPC:
    case EDQUOT:
      fail<UserError>(
          what,
          fmt::format("The disk is full ({})", told),
          unchanged + "Free some space or choose another folder");
    case EFBIG:
      fail<UserError>(
          what,
          fmt::format(
              "The disk is full, or files may not become so large ({})",
              told),
          unchanged +
              "Raise the limit (`ulimit -f`), free some space or choose "
              "another folder");
    default:
      fail<UserError>(what, told, unchanged + "Check the folder");
  }
}

std::string header_of(
    const std::vector<PlannedTensor>& tensors,
    const SafetensorsMetadata& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) {
    header["__metadata__"] = metadata;
  }
  std::size_t at = 0;
  for (const PlannedTensor& tensor : tensors) {
    const std::size_t end = at + tensor.bytes();
    header[tensor.name] = {
        {"dtype", tensor.dtype},
        {"shape", tensor.shape},
        {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump();
  text.append((kAlignment - (8 + text.size()) % kAlignment) % kAlignment, ' ');
  std::string out(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) {
    out[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
  }
  return out + text;
}

}  // namespace

std::size_t PlannedTensor::bytes() const {
  for (const auto& [known, size] : kBytes) {
    if (known == dtype) {
      std::size_t out = size;
      for (const std::int64_t axis : shape) {
        out *= static_cast<std::size_t>(axis);
      }
      return out;
    }
  }
  fail_call(name + " has the dtype " + dtype, "It can't be written");
}

SafetensorsWriter::SafetensorsWriter(
    int fd,
    std::string label,
    const std::vector<PlannedTensor>& tensors,
    const SafetensorsMetadata& metadata)
    : fd_(fd), label_(std::move(label)), places_("SafetensorsWriter", label_) {
  const std::string header = header_of(tensors, metadata);
  std::size_t at = header.size();
  for (const PlannedTensor& tensor : tensors) {
    const std::size_t bytes = tensor.bytes();
    places_.add(tensor.name, at, bytes);
    at += bytes;
  }
  file_bytes_ = at;
  reserve_or_fail(fd_, file_bytes_, label_);
  write_at(fd_, 0, std::as_bytes(std::span(header)), label_);
}

void SafetensorsWriter::put(
    std::string_view name,
    std::span<const std::byte> bytes,
    std::size_t offset) {
  const std::size_t at = places_.begin_of(name, bytes.size(), offset);
  write_at(fd_, at, bytes, label_);
  places_.written(name, bytes.size());
}

void SafetensorsWriter::finish() {
  places_.require_complete();
  sync_or_fail(fd_, label_);
}

void write_at(
    int fd,
    std::size_t at,
    std::span<const std::byte> bytes,
    const std::string& label) {
  while (!bytes.empty()) {
    const ssize_t count =
        ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      fail_write(label, count == 0 ? ENOSPC : errno);
    }
    at += static_cast<std::size_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void reserve_or_fail(int fd, std::size_t bytes, const std::string& label) {
  const int reason = bytes == 0 ? 0 : reserve_disk(fd, bytes);
  // What a file system can't do, writing will find out.
  if (reason == ENOSPC || reason == EDQUOT || reason == EFBIG) {
    fail_write(
        fmt::format("{} ({:.1f} MB)", label, static_cast<double>(bytes) / 1e6),
        reason);
  }
}

void sync_or_fail(int fd, const std::string& label) {
  if (::fsync(fd) != 0) {
    fail_write(label, errno);
  }
}

}  // namespace roofline
