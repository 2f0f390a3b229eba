// Walks the header of a GGUF file: numbers, strings and arrays one after
// another. Every step is checked against the end of the file.
#pragma once

#include <fmt/format.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"

namespace roofline {

/// GGUF's numbers for the types of metadata values.
enum class GgufType : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64,
};

/// Bytes of one value; 0 for strings, arrays and unknown types.
inline std::size_t gguf_value_bytes(std::uint32_t type) {
  constexpr std::size_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < std::size(kBytes) ? kBytes[type] : 0;
}

class GgufCursor {
 public:
  GgufCursor(std::span<const std::byte> bytes, const std::string& label)
      : bytes_(bytes), label_(label) {}

  std::size_t position() const { return at_; }
  std::size_t remaining() const { return bytes_.size() - at_; }

  std::span<const std::byte> take(std::uint64_t size, std::string_view what) {
    if (size > remaining()) {
      fail<CheckpointError>(
          label_ + " is truncated or corrupt",
          fmt::format(
              "At byte {}, {} would take {} bytes; {} are left",
              at_,
              what,
              size,
              remaining()),
          "Download or copy the file again");
    }
    const auto out = bytes_.subspan(at_, static_cast<std::size_t>(size));
    at_ += out.size();
    return out;
  }

  template <class T>
  T number(std::string_view what) {
    static_assert(
        std::endian::native == std::endian::little,
        "GGUF's numbers are little endian");
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::string_view text(std::string_view what) {
    const auto size = number<std::uint64_t>(what);
    const auto bytes = take(size, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& label_;
  std::size_t at_ = 0;
};

/// The next value of a scalar type or a string. Throws BugError for an array.
nlohmann::json read_gguf_scalar(GgufCursor& cursor, std::uint32_t type);

}  // namespace roofline
