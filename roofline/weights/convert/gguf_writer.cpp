#include "roofline/weights/convert/gguf_writer.h"

#include <unistd.h>

#include <type_traits>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/ggml_types.h"
#include "roofline/weights/safetensors_writer.h"

namespace roofline {

namespace {

constexpr std::uint32_t kVersion = 3;
/// The format's default, so that no key need say it.
constexpr std::size_t kAlignment = 32;
constexpr std::uint32_t kArray = 9;

std::size_t aligned(std::size_t at, std::size_t alignment) {
  return (at + alignment - 1) / alignment * alignment;
}

template <class T>
void put_raw(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void put_string(std::string& out, std::string_view text) {
  put_raw(out, static_cast<std::uint64_t>(text.size()));
  out += text;
}

/// GGUF's number of a value's type.
template <class T>
constexpr std::uint32_t type_number() {
  if constexpr (std::is_same_v<T, std::uint32_t>) {
    return 4;
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    return 5;
  } else if constexpr (std::is_same_v<T, float>) {
    return 6;
  } else if constexpr (std::is_same_v<T, bool>) {
    return 7;
  } else {
    static_assert(std::is_same_v<T, std::string>);
    return 8;
  }
}

template <class T>
void put_element(std::string& out, const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    put_string(out, value);
  } else if constexpr (std::is_same_v<T, bool>) {
    put_raw(out, static_cast<std::uint8_t>(value));
  } else {
    put_raw(out, value);
  }
}

template <class T>
void put_value(std::string& out, const T& value) {
  put_raw(out, type_number<T>());
  put_element(out, value);
}

template <class T>
void put_value(std::string& out, const std::vector<T>& values) {
  put_raw(out, kArray);
  put_raw(out, type_number<T>());
  put_raw(out, static_cast<std::uint64_t>(values.size()));
  for (const T& value : values) {
    put_element<T>(out, value);
  }
}

/// Throws BugError for an encoding without a GGML number.
std::uint32_t ggml_number(Encoding encoding) {
  constexpr std::uint32_t kNumbers = 64;
  for (std::uint32_t i = 0; i < kNumbers; ++i) {
    if (ggml_encoding(i) == encoding) {
      return i;
    }
  }
  fail<BugError>(
      fmt::format("{} is no GGML type", encoding_name(encoding)),
      "",
      "Please report this");
}

std::string pairs_of(const GgufMetadata& metadata) {
  std::string out;
  for (const auto& [key, value] : metadata) {
    put_string(out, key);
    std::visit([&](const auto& held) { put_value(out, held); }, value);
  }
  return out;
}

std::string header_of(
    std::uint64_t count,
    std::string_view pairs,
    const std::vector<PlannedGgufTensor>& tensors,
    std::size_t alignment) {
  std::string out = "GGUF";
  put_raw(out, kVersion);
  put_raw(out, static_cast<std::uint64_t>(tensors.size()));
  put_raw(out, count);
  out += pairs;
  std::size_t at = 0;
  for (const PlannedGgufTensor& tensor : tensors) {
    put_string(out, tensor.name);
    put_raw(out, static_cast<std::uint32_t>(tensor.shape.size()));
    for (const std::int64_t axis : tensor.shape) {
      put_raw(out, static_cast<std::uint64_t>(axis));
    }
    put_raw(out, ggml_number(tensor.encoding));
    put_raw(out, static_cast<std::uint64_t>(at));
    at = aligned(at + tensor.bytes(), alignment);
  }
  out.resize(aligned(out.size(), alignment), '\0');
  return out;
}

[[noreturn]] void fail_call(const std::string& what, const std::string& why) {
  fail<BugError>("GgufWriter: " + what, why, "Please report this");
}

}  // namespace

nlohmann::json metadata_json(const GgufMetadata& metadata) {
  constexpr std::size_t kShortArray = 4096;
  auto out = nlohmann::json::object();
  for (const auto& [key, value] : metadata) {
    std::visit(
        [&, name = key](const auto& held) {
          using T = std::decay_t<decltype(held)>;
          if constexpr (std::is_same_v<T, std::vector<std::string>>) {
            out[name + ".length"] = held.size();
          } else if constexpr (
              requires { held.push_back({}); } &&
              !std::is_same_v<T, std::string>) {
            if (held.size() <= kShortArray) {
              out[name] = held;
            }
          } else {
            out[name] = held;
          }
        },
        value);
  }
  return out;
}

std::size_t PlannedGgufTensor::bytes() const {
  std::size_t rows = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) {
    rows *= static_cast<std::size_t>(shape[i]);
  }
  const auto row = row_bytes(encoding, shape.empty() ? 1 : shape[0]);
  if (!row) {
    fail_call(
        fmt::format("{} can't be {}", name, encoding_name(encoding)),
        fmt::format("A row has {} values", shape[0]));
  }
  return rows * static_cast<std::size_t>(*row);
}

GgufWriter::GgufWriter(
    int fd,
    std::string label,
    const GgufMetadata& metadata,
    const std::vector<PlannedGgufTensor>& tensors)
    : fd_(fd), label_(std::move(label)), places_("GgufWriter", label_) {
  const auto pairs = pairs_of(metadata);
  begin(
      header_of(metadata.size(), pairs, tensors, kAlignment),
      tensors,
      kAlignment);
}

GgufWriter::GgufWriter(
    int fd,
    std::string label,
    const GgufFile::RawMetadata& metadata,
    const std::vector<PlannedGgufTensor>& tensors)
    : fd_(fd), label_(std::move(label)), places_("GgufWriter", label_) {
  const std::string_view pairs(
      reinterpret_cast<const char*>(metadata.bytes.data()),
      metadata.bytes.size());
  begin(
      header_of(metadata.count, pairs, tensors, metadata.alignment),
      tensors,
      metadata.alignment);
}

void GgufWriter::begin(
    const std::string& header,
    const std::vector<PlannedGgufTensor>& tensors,
    std::size_t alignment) {
  std::size_t at = header.size();
  for (const PlannedGgufTensor& tensor : tensors) {
    const std::size_t bytes = tensor.bytes();
    places_.add(tensor.name, at, bytes);
    at = aligned(at + bytes, alignment);
  }
  file_bytes_ = at;
  reserve_or_fail(fd_, file_bytes_, label_);
  write_at(fd_, 0, std::as_bytes(std::span(header)), label_);
}

void GgufWriter::put(
    std::string_view name,
    std::span<const std::byte> bytes,
    std::size_t offset) {
  const std::size_t at = places_.begin_of(name, bytes.size(), offset);
  write_at(fd_, at, bytes, label_);
  places_.written(name, bytes.size());
}

void GgufWriter::finish() {
  places_.require_complete();
  // The last tensor's padding: readers map up to the aligned end.
  if (const int failed = ::ftruncate(fd_, static_cast<off_t>(file_bytes_));
      failed != 0) {
    fail_call("the file's size can't be set", label_);
  }
  sync_or_fail(fd_, label_);
}

}  // namespace roofline
