#include "roofline/weights/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "roofline/base/errors.h"
#include "roofline/weights/checked.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/ggml_types.h"
#include "roofline/weights/gguf_cursor.h"
#include "roofline/weights/printable.h"
#include "roofline/weights/sniff.h"

namespace roofline {

using nlohmann::json;

namespace {

constexpr std::string_view kAgain = "Download or copy the file again";
// GGML_MAX_DIMS: no file can list more axes.
constexpr std::uint32_t kMostDims = 4;
// The format knows arrays of arrays; nobody writes deeper ones.
constexpr int kDeepestArray = 4;
// Arrays of this length are a value per layer; longer ones are vocabulary.
constexpr std::uint64_t kLongestCopiedArray = 4096;
// The least bytes that an entry takes: an empty key, a type and one byte; an
// empty name, no axes, type and offset.
constexpr std::uint64_t kLeastPairBytes = 8 + 4 + 1;
constexpr std::uint64_t kLeastTensorBytes = 8 + 4 + 4 + 8;
// Beyond this an alignment is no alignment but a broken number.
constexpr std::uint64_t kLargestAlignment = std::uint64_t{1} << 30;

[[noreturn]] void fail_value(const std::string& what, const std::string& why) {
  fail<CheckpointError>(what, why, kAgain);
}

}  // namespace

/// Reads the header from front to back into a GgufFile.
class GgufFile::Parser {
 public:
  explicit Parser(GgufFile& file)
      : file_(file), cursor_(file.bytes_, file.label_) {}

  void run() {
    read_magic();
    const auto tensors = read_count("tensors", kLeastTensorBytes);
    const auto pairs = read_count("metadata values", kLeastPairBytes);
    const std::size_t begin = cursor_.position();
    for (std::uint64_t i = 0; i < pairs; ++i) {
      read_pair();
    }
    const std::uint64_t alignment = read_alignment();
    file_.raw_metadata_ = {
        pairs,
        file_.bytes_.subspan(begin, cursor_.position() - begin),
        alignment};
    std::vector<std::uint64_t> offsets;
    for (std::uint64_t i = 0; i < tensors; ++i) {
      offsets.push_back(read_tensor());
    }
    if (tensors > 0) {
      place_tensors(offsets, alignment);
      check_overlaps();
    }
  }

 private:
  const std::string& label() const { return file_.label_; }

  void read_magic() {
    const auto bytes = file_.bytes_;
    if (bytes.size() < 4 || std::memcmp(bytes.data(), "GGUF", 4) != 0) {
      const std::string looks = describe_content(bytes);
      fail<CheckpointError>(
          label() + " is no GGUF file",
          looks.empty() ? "It doesn't begin with the letters GGUF"
                        : "It looks like " + looks,
          kAgain);
    }
    cursor_.take(4, "the magic");
    const auto version = cursor_.number<std::uint32_t>("the version");
    if (version != 0 && (version & 0xffff) == 0) {
      fail<UnsupportedError>(
          "Can't read " + label(),
          "It is a big-endian GGUF file; only little-endian ones can be read",
          "Convert it again for a little-endian machine");
    }
    if (version != 2 && version != 3) {
      fail<UnsupportedError>(
          "Can't read " + label(),
          fmt::format(
              "It is a GGUF file of version {}; versions 2 and 3 can be read",
              version),
          "Convert the model again with a current converter");
    }
    file_.version_ = static_cast<int>(version);
  }

  std::uint64_t read_count(std::string_view what, std::uint64_t least_bytes) {
    const auto count = cursor_.number<std::uint64_t>(what);
    if (count > cursor_.remaining() / least_bytes) {
      fail<CheckpointError>(
          label() + " is truncated or corrupt",
          fmt::format(
              "It claims {} {} in {} bytes",
              count,
              what,
              file_.bytes_.size()),
          kAgain);
    }
    return count;
  }

  void read_pair() {
    const std::string key(cursor_.text("a metadata key"));
    if (file_.metadata_.contains(key) || file_.arrays_.count(key) != 0) {
      fail_value(
          label() + " can't be right",
          "Its metadata names " + printable(key) + " twice");
    }
    const auto type = cursor_.number<std::uint32_t>("a value's type");
    if (type == static_cast<std::uint32_t>(GgufType::array)) {
      read_array(key);
      return;
    }
    check_type(key, type);
    file_.metadata_[key] = read_gguf_scalar(cursor_, type);
  }

  void check_type(const std::string& key, std::uint32_t type) {
    if (type > static_cast<std::uint32_t>(GgufType::f64)) {
      fail_value(
          fmt::format(
              "{}: metadata value {} can't be right",
              label(),
              printable(key)),
          fmt::format("Its type is {}; GGUF has types 0 to 12", type));
    }
  }

  void read_array(const std::string& key) {
    Array array;
    array.type = cursor_.number<std::uint32_t>("an array's type");
    array.count = cursor_.number<std::uint64_t>("an array's length");
    const std::size_t begin = cursor_.position();
    skip_elements(key, array.type, array.count, 1);
    array.bytes = file_.bytes_.subspan(begin, cursor_.position() - begin);
    const bool scalars =
        array.type != static_cast<std::uint32_t>(GgufType::array);
    if (scalars && array.count <= kLongestCopiedArray &&
        key.rfind("tokenizer.", 0) != 0) {
      GgufCursor elements(array.bytes, label());
      json& copy = file_.metadata_[key] = json::array();
      for (std::uint64_t i = 0; i < array.count; ++i) {
        copy.push_back(read_gguf_scalar(elements, array.type));
      }
    }
    file_.arrays_.emplace(key, array);
  }

  void skip_elements(
      const std::string& key,
      std::uint32_t type,
      std::uint64_t count,
      int depth) {
    check_type(key, type);
    if (const std::size_t bytes = gguf_value_bytes(type)) {
      const auto size = checked_mul(count, bytes);
      cursor_.take(size.value_or(UINT64_MAX), "the array " + printable(key));
      return;
    }
    // A string or an array takes at least its length's 8 bytes.
    if (count > cursor_.remaining() / 8 || depth > kDeepestArray) {
      fail_value(
          fmt::format("{}: array {} can't be right", label(), printable(key)),
          depth > kDeepestArray
              ? fmt::format("It nests deeper than {}", kDeepestArray)
              : fmt::format(
                    "It claims {} elements where {} bytes are left",
                    count,
                    cursor_.remaining()));
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      if (type == static_cast<std::uint32_t>(GgufType::string)) {
        cursor_.text("a text");
        continue;
      }
      const auto inner = cursor_.number<std::uint32_t>("an array's type");
      const auto length = cursor_.number<std::uint64_t>("an array's length");
      skip_elements(key, inner, length, depth + 1);
    }
  }

  std::uint64_t read_alignment() {
    const auto found = file_.metadata_.find("general.alignment");
    if (found == file_.metadata_.end()) {
      return 32;  // GGUF's default
    }
    const std::uint64_t value =
        found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
    if (!std::has_single_bit(value) || value < 8 || value > kLargestAlignment) {
      fail_value(
          label() + " can't be right",
          "Its general.alignment is " + printable(found->dump()) +
              ", which is no power of two from 8 on");
    }
    return value;
  }

  [[noreturn]] void fail_tensor(std::string_view name, const std::string& why) {
    fail_value(
        fmt::format("{}: tensor {} can't be right", label(), printable(name)),
        why);
  }

  /// Returns the tensor's claimed offset into the data.
  std::uint64_t read_tensor() {
    GgufTensor tensor;
    tensor.name = std::string(cursor_.text("a tensor's name"));
    const auto dims = cursor_.number<std::uint32_t>("a tensor's axes");
    if (dims > kMostDims) {
      fail_tensor(
          tensor.name,
          fmt::format("It claims {} axes; {} is the most", dims, kMostDims));
    }
    std::uint64_t elements = 1;
    for (std::uint32_t i = 0; i < dims; ++i) {
      const auto size = cursor_.number<std::uint64_t>("a tensor's shape");
      const auto product = checked_mul(elements, size);
      if (size == 0 || !product || *product > INT64_MAX) {
        fail_tensor(
            tensor.name,
            fmt::format("Its axis {} claims {} elements", i, size));
      }
      elements = *product;
      tensor.shape.push_back(static_cast<std::int64_t>(size));
    }
    read_type(tensor);
    const auto offset = cursor_.number<std::uint64_t>("a tensor's offset");
    if (!file_.by_name_.emplace(tensor.name, file_.tensors_.size()).second) {
      fail_tensor(tensor.name, "The file lists it twice");
    }
    file_.tensors_.push_back(std::move(tensor));
    return offset;
  }

  void read_type(GgufTensor& tensor) {
    const auto type = cursor_.number<std::uint32_t>("a tensor's type");
    const auto encoding = ggml_encoding(type);
    if (!encoding) {
      const std::string name = ggml_type_name(type);
      fail<UnsupportedError>(
          "Can't use " + label(),
          fmt::format(
              "Tensor {} has the type {}, which Roofline doesn't read",
              printable(tensor.name),
              name.empty() ? fmt::format("number {}", type) : name),
          "Take a file of another quantization, for instance Q4_0, Q4_1, "
          "Q8_0, Q4_K_M or Q6_K");
    }
    tensor.encoding = *encoding;
  }

  void place_tensors(
      const std::vector<std::uint64_t>& offsets,
      std::uint64_t alignment) {
    const std::uint64_t start =
        (cursor_.position() + alignment - 1) / alignment * alignment;
    for (std::size_t i = 0; i < offsets.size(); ++i) {
      GgufTensor& tensor = file_.tensors_[i];
      const auto row = row_bytes(tensor.encoding, tensor.cols());
      if (!row) {
        fail_tensor(
            tensor.name,
            fmt::format(
                "Its rows of {} values are no whole blocks of {}",
                tensor.cols(),
                encoding_name(tensor.encoding)));
      }
      const auto size = checked_mul(*row, tensor.rows());
      const auto begin = checked_add(start, offsets[i]);
      const auto end =
          checked_add(begin.value_or(UINT64_MAX), size.value_or(UINT64_MAX));
      if (!size || !begin || !end || *end > file_.bytes_.size()) {
        fail_tensor(
            tensor.name,
            fmt::format(
                "Its {} bytes at offset {} end behind the file's {} bytes; the "
                "file may be truncated",
                size ? fmt::to_string(*size) : "countless",
                offsets[i],
                file_.bytes_.size()));
      }
      if (offsets[i] % alignment != 0) {
        fail_tensor(
            tensor.name,
            fmt::format(
                "Its offset {} doesn't divide by the alignment {}",
                offsets[i],
                alignment));
      }
      tensor.bytes = file_.bytes_.subspan(*begin, *size);
    }
  }

  void check_overlaps() {
    std::vector<const GgufTensor*> sorted;
    for (const GgufTensor& tensor : file_.tensors_) {
      sorted.push_back(&tensor);
    }
    std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) {
      return a->bytes.data() < b->bytes.data();
    });
    for (std::size_t i = 1; i < sorted.size(); ++i) {
      const auto& before = sorted[i - 1]->bytes;
      if (before.data() + before.size() > sorted[i]->bytes.data()) {
        fail_tensor(
            sorted[i]->name,
            "Its bytes overlap those of " + printable(sorted[i - 1]->name));
      }
    }
  }

  GgufFile& file_;
  GgufCursor cursor_;
};

GgufFile::GgufFile(const std::filesystem::path& path, OnePart)
    : file_(path),
      label_(path.string()),
      bytes_(file_.bytes()),
      files_({path}) {
  Parser(*this).run();
}

GgufFile::GgufFile(const std::filesystem::path& path)
    : GgufFile(path, OnePart{}) {
  join_parts(path);
}

GgufFile::GgufFile(std::span<const std::byte> bytes, std::string label)
    : label_(std::move(label)), bytes_(bytes) {
  Parser(*this).run();
}

}  // namespace roofline
