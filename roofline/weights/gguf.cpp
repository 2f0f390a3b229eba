#include "roofline/weights/gguf.h"

#include <fmt/format.h>

#include <numeric>
#include <utility>

#include "roofline/base/errors.h"
#include "roofline/weights/gguf_cursor.h"
#include "roofline/weights/printable.h"

namespace roofline {

using nlohmann::json;

namespace {

[[noreturn]] void fail_array(
    const std::string& label,
    std::string_view key,
    const char* why) {
  fail<CheckpointError>(
      fmt::format("{}: {} can't be right", label, printable(key)),
      why,
      "Download or copy the file again");
}

template <class T>
json number(GgufCursor& cursor) {
  return cursor.number<T>("a value");
}

}  // namespace

json read_gguf_scalar(GgufCursor& cursor, std::uint32_t type) {
  switch (static_cast<GgufType>(type)) {
    case GgufType::u8:
      return number<std::uint8_t>(cursor);
    case GgufType::i8:
      return number<std::int8_t>(cursor);
    case GgufType::u16:
      return number<std::uint16_t>(cursor);
    case GgufType::i16:
      return number<std::int16_t>(cursor);
    case GgufType::u32:
      return number<std::uint32_t>(cursor);
    case GgufType::i32:
      return number<std::int32_t>(cursor);
    case GgufType::f32:
      return number<float>(cursor);
    case GgufType::boolean:
      return cursor.number<std::uint8_t>("a value") != 0;
    case GgufType::u64:
      return number<std::uint64_t>(cursor);
    case GgufType::i64:
      return number<std::int64_t>(cursor);
    case GgufType::f64:
      return number<double>(cursor);
    case GgufType::string:
      return std::string(cursor.text("a text"));
    default:
      fail<BugError>("read_gguf_scalar: no scalar", "", "Please report this");
  }
}

Tensor as_tensor(const GgufTensor& source) {
  Tensor out;
  out.name = source.name;
  out.encoding = source.encoding;
  out.rows = source.rows();
  out.cols = source.cols();
  out.bytes = source.bytes;
  return out;
}

std::int64_t GgufTensor::rows() const {
  return shape.empty() ? 1
                       : std::accumulate(
                             shape.begin() + 1,
                             shape.end(),
                             std::int64_t{1},
                             std::multiplies<>());
}

bool GgufFile::has_array(std::string_view key) const {
  return array(key) != nullptr;
}

const GgufFile::Array* GgufFile::array(std::string_view key) const {
  const auto found = arrays_.find(key);
  return found == arrays_.end() ? nullptr : &found->second;
}

std::vector<std::string_view> GgufFile::strings(std::string_view key) const {
  const Array* found = array(key);
  if (found == nullptr) {
    return {};
  }
  if (static_cast<GgufType>(found->type) != GgufType::string) {
    fail_array(label_, key, "It must be a list of texts");
  }
  GgufCursor cursor(found->bytes, label_);
  std::vector<std::string_view> out;
  out.reserve(found->count);
  for (std::uint64_t i = 0; i < found->count; ++i) {
    out.push_back(cursor.text("a text"));
  }
  return out;
}

std::vector<float> GgufFile::floats(std::string_view key) const {
  const Array* found = array(key);
  if (found == nullptr) {
    return {};
  }
  const auto type = static_cast<GgufType>(found->type);
  if (type != GgufType::f32 && type != GgufType::f64) {
    fail_array(label_, key, "It must be a list of floating-point numbers");
  }
  GgufCursor cursor(found->bytes, label_);
  std::vector<float> out(found->count);
  for (float& value : out) {
    value = type == GgufType::f32
                ? cursor.number<float>("a value")
                : static_cast<float>(cursor.number<double>("a value"));
  }
  return out;
}

std::vector<std::int32_t> GgufFile::integers(std::string_view key) const {
  const Array* found = array(key);
  if (found == nullptr) {
    return {};
  }
  GgufCursor cursor(found->bytes, label_);
  std::vector<std::int32_t> out;
  const auto fail_here = [&] {
    fail_array(label_, key, "It must be a list of integers below 2^31");
  };
  const auto type = static_cast<GgufType>(found->type);
  if (type == GgufType::f32 || type == GgufType::f64 ||
      gguf_value_bytes(found->type) == 0) {
    fail_here();
  }
  out.reserve(found->count);
  for (std::uint64_t i = 0; i < found->count; ++i) {
    const json value = read_gguf_scalar(cursor, found->type);
    if (value.is_boolean()) {
      out.push_back(value.get<bool>() ? 1 : 0);
      continue;
    }
    const bool fits =
        value.is_number_unsigned()
            ? value.get<std::uint64_t>() <= INT32_MAX
            : std::in_range<std::int32_t>(value.get<std::int64_t>());
    if (!fits) {
      fail_here();
    }
    out.push_back(value.get<std::int32_t>());
  }
  return out;
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

void GgufFile::release(std::span<const std::byte> bytes) const {
  const auto mapped = file_.bytes();
  if (!mapped.empty() && bytes.data() >= mapped.data() &&
      bytes.data() <= mapped.data() + mapped.size()) {
    file_.release(
        static_cast<std::size_t>(bytes.data() - mapped.data()),
        bytes.size());
    return;
  }
  for (const auto& part : parts_) {
    part->release(bytes);
  }
}

std::size_t GgufFile::file_bytes() const {
  std::size_t sum = bytes_.size();
  for (const auto& part : parts_) {
    sum += part->file_bytes();
  }
  return sum;
}

}  // namespace roofline
