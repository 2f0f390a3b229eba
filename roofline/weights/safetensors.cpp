#include "roofline/weights/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "roofline/base/errors.h"
#include "roofline/weights/checked.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/printable.h"
#include "roofline/weights/sniff.h"

namespace roofline {

using nlohmann::json;

namespace {

// The limit of the format's reference implementation.
constexpr std::uint64_t kLargestHeader = 100'000'000;
// name → {dtype, shape: [..]}: nothing legitimate nests deeper.
constexpr int kDeepestHeader = 4;
constexpr std::size_t kMostDims = 8;
constexpr std::string_view kAgain = "Download or copy the file again";

struct Dtype {
  std::string_view name;
  int bits;
};

constexpr std::array<Dtype, 23> kDtypes = {{
    {"BOOL", 8},    {"U8", 8},      {"I8", 8},          {"F8_E5M2", 8},
    {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
    {"I16", 16},    {"U16", 16},    {"F16", 16},        {"BF16", 16},
    {"I32", 32},    {"U32", 32},    {"F32", 32},        {"F64", 64},
    {"I64", 64},    {"U64", 64},    {"C64", 64},        {"F4", 4},
    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4_E2M1", 4},
}};

[[noreturn]] void fail_tensor(
    const std::string& label,
    std::string_view name,
    const std::string& why) {
  fail<CheckpointError>(
      fmt::format("{}: tensor {} can't be right", label, printable(name)),
      why,
      kAgain);
}

std::uint64_t read_length(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (int i = 7; i >= 0; --i) {
    value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  }
  return value;
}

/// One entry's JSON, turned into numbers that can be trusted.
class EntryReader {
 public:
  EntryReader(
      const std::string& label,
      const std::string& name,
      const json& value,
      std::span<const std::byte> data)
      : label_(label), name_(name), value_(value), data_(data) {}

  SafetensorsEntry read() const {
    if (!value_.is_object()) {
      fail_tensor(label_, name_, "Its entry is no JSON object");
    }
    SafetensorsEntry entry;
    entry.name = name_;
    const int bits = read_dtype(entry);
    const std::uint64_t elements = read_shape(entry);
    const auto [begin, end] = read_offsets();
    const auto total_bits = checked_mul(elements, bits);
    if (!total_bits || *total_bits % 8 != 0 || *total_bits / 8 != end - begin) {
      fail_tensor(
          label_,
          name_,
          fmt::format(
              "{} of shape [{}] and its data_offsets of {} bytes disagree",
              entry.dtype,
              fmt::join(entry.shape, ", "),
              end - begin));
    }
    entry.bytes = data_.subspan(begin, end - begin);
    return entry;
  }

 private:
  const json& field(const char* key) const {
    const auto found = value_.find(key);
    if (found == value_.end()) {
      fail_tensor(label_, name_, fmt::format("Its entry has no \"{}\"", key));
    }
    return *found;
  }

  int read_dtype(SafetensorsEntry& entry) const {
    const json& dtype = field("dtype");
    if (!dtype.is_string()) {
      fail_tensor(label_, name_, "Its dtype is no string");
    }
    entry.dtype = dtype.get<std::string>();
    for (const Dtype& known : kDtypes) {
      if (known.name == entry.dtype) {
        return known.bits;
      }
    }
    fail<CheckpointError>(
        fmt::format(
            "{}: tensor {} has an unknown dtype",
            label_,
            printable(name_)),
        fmt::format(
            "The file says \"{}\"; F32, F16 and BF16 can be used",
            printable(entry.dtype)),
        "Convert the checkpoint to one of these");
  }

  std::uint64_t read_shape(SafetensorsEntry& entry) const {
    const json& shape = field("shape");
    if (!shape.is_array() || shape.size() > kMostDims) {
      fail_tensor(
          label_,
          name_,
          fmt::format(
              "Its shape must be a list of at most {} sizes",
              kMostDims));
    }
    std::uint64_t elements = 1;
    for (const json& size : shape) {
      if (!size.is_number_unsigned()) {
        fail_tensor(
            label_,
            name_,
            "Its shape has " + printable(size.dump()) +
                ", which is no size of an axis");
      }
      const auto product = checked_mul(elements, size.get<std::uint64_t>());
      if (!product || *product > INT64_MAX ||
          size.get<std::uint64_t>() > INT64_MAX) {
        fail_tensor(
            label_,
            name_,
            "Its shape " + printable(shape.dump()) +
                " has more elements than any machine can hold");
      }
      elements = *product;
      entry.shape.push_back(size.get<std::int64_t>());
    }
    return elements;
  }

  std::pair<std::uint64_t, std::uint64_t> read_offsets() const {
    const json& offsets = field("data_offsets");
    if (!offsets.is_array() || offsets.size() != 2 ||
        !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned()) {
      fail_tensor(label_, name_, "Its data_offsets must be two byte positions");
    }
    const auto begin = offsets[0].get<std::uint64_t>();
    const auto end = offsets[1].get<std::uint64_t>();
    if (begin > end || end > data_.size()) {
      fail_tensor(
          label_,
          name_,
          fmt::format(
              "Its data_offsets [{}, {}] leave the {} bytes of data; the "
              "file may be truncated",
              begin,
              end,
              data_.size()));
    }
    return {begin, end};
  }

  const std::string& label_;
  const std::string& name_;
  const json& value_;
  std::span<const std::byte> data_;
};

/// The format asks that the tensors fill the data without gaps or overlaps.
void check_layout(
    const std::vector<SafetensorsEntry>& entries,
    std::span<const std::byte> data,
    const std::string& label) {
  const std::byte* at = data.data();
  for (const SafetensorsEntry& entry : entries) {
    if (entry.bytes.data() != at) {
      fail_tensor(
          label,
          entry.name,
          fmt::format(
              "Its bytes begin at {} where the tensor before ends at {}: they "
              "overlap or leave a gap",
              entry.bytes.data() - data.data(),
              at - data.data()));
    }
    at += entry.bytes.size();
  }
  if (at != data.data() + data.size()) {
    fail<CheckpointError>(
        label + " can't be right",
        fmt::format(
            "It has {} bytes after its last tensor",
            data.data() + data.size() - at),
        kAgain);
  }
}

std::string_view header_text(
    std::span<const std::byte> bytes,
    const std::string& label) {
  const std::uint64_t length = bytes.size() < 8 ? 0 : read_length(bytes);
  if (bytes.size() >= 9 && length <= bytes.size() - 8 &&
      length <= kLargestHeader && bytes[8] == std::byte{'{'}) {
    return {
        reinterpret_cast<const char*>(bytes.data()) + 8,
        static_cast<std::size_t>(length)};
  }
  const std::string looks = describe_content(bytes);
  if (!looks.empty() && looks != "a safetensors file") {
    fail<CheckpointError>(
        label + " is no safetensors file",
        "It looks like " + looks,
        kAgain);
  }
  fail<CheckpointError>(
      label + " is no usable safetensors file",
      fmt::format(
          "Its first 8 bytes claim a header of {} bytes; the file has {}, and "
          "a header at most {}",
          length,
          bytes.size(),
          kLargestHeader),
      "The file may be truncated. Download or copy it again");
}

}  // namespace

std::int64_t SafetensorsEntry::elements() const {
  return std::accumulate(
      shape.begin(),
      shape.end(),
      std::int64_t{1},
      std::multiplies<>());
}

std::optional<Encoding> SafetensorsEntry::encoding() const {
  if (dtype == "F32") {
    return Encoding::f32;
  }
  if (dtype == "F16") {
    return Encoding::f16;
  }
  if (dtype == "BF16") {
    return Encoding::bf16;
  }
  return std::nullopt;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(path), label_(path.string()), bytes_(file_.bytes()) {
  parse();
}

SafetensorsFile::SafetensorsFile(
    std::span<const std::byte> bytes,
    std::string label)
    : label_(std::move(label)), bytes_(bytes) {
  parse();
}

void SafetensorsFile::parse() {
  const std::string_view text = header_text(bytes_, label_);
  const json header =
      parse_json(text, "The header of " + label_, kDeepestHeader);
  const auto data = bytes_.subspan(8 + text.size());
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      entries_.push_back(EntryReader(label_, name, value, data).read());
    }
  }
  std::sort(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) <
           std::pair(b.bytes.data(), b.bytes.size());
  });
  check_layout(entries_, data, label_);
  by_name_.resize(entries_.size());
  std::iota(by_name_.begin(), by_name_.end(), std::size_t{0});
  std::sort(by_name_.begin(), by_name_.end(), [&](auto a, auto b) {
    return entries_[a].name < entries_[b].name;
  });
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto at = std::lower_bound(
      by_name_.begin(),
      by_name_.end(),
      name,
      [&](auto index, auto wanted) { return entries_[index].name < wanted; });
  if (at == by_name_.end() || entries_[*at].name != name) {
    return nullptr;
  }
  return &entries_[*at];
}

void SafetensorsFile::release(std::span<const std::byte> bytes) const {
  const auto mapped = file_.bytes();
  if (!mapped.empty() && bytes.data() >= mapped.data() &&
      bytes.data() <= mapped.data() + mapped.size()) {
    file_.release(
        static_cast<std::size_t>(bytes.data() - mapped.data()),
        bytes.size());
  }
}

}  // namespace roofline
