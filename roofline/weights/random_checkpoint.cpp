#include "roofline/weights/random_checkpoint.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"
#include "roofline/base/half.h"
#include "roofline/base/paths.h"
#include "roofline/base/sha256.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/spec/tensor_parts.h"
#include "roofline/weights/opened_checkpoint.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

/// Raised whenever the same spec and format give other bytes.
constexpr int kVersion = 1;
/// Values of the block that is repeated: a prime, so that rows differ.
constexpr std::size_t kBlockValues = 262'139;
constexpr std::size_t kAlignment = 64;
/// Room that is left on the disk.
constexpr std::uintmax_t kDiskSlack = 256 * 1024 * 1024;
/// Standard deviation of norm weights and of biases.
constexpr float kSpread = 0.02f;

/// How a tensor's values are spread.
struct Spread {
  float mean = 0;
  float deviation = 1;
  bool operator<(const Spread& other) const {
    return std::pair(mean, deviation) < std::pair(other.mean, other.deviation);
  }
};

/// Where a tensor's parts lie in the file.
struct Place {
  ExpectedTensor tensor;
  bool affine = false;
  int bits = 16;  ///< of a code, where affine
  Spread spread;
  std::size_t begin = 0;
  std::size_t bytes = 0;       ///< of the values or codes
  std::size_t side_begin = 0;  ///< of the scales; the biases follow
  std::size_t side_bytes = 0;  ///< of the scales
};

/// Blocks of random bytes to repeat.
class Source {
 public:
  Source() : normal_(kBlockValues), words_(kBlockValues) {
    std::mt19937_64 random(kVersion);
    std::normal_distribution<float> normal;
    for (float& value : normal_) {
      value = std::clamp(normal(random), -4.0f, 4.0f);
    }
    for (std::uint32_t& word : words_) {
      word = static_cast<std::uint32_t>(random());
    }
  }

  std::span<const std::byte> words() const {
    return std::as_bytes(std::span(words_));
  }

  /// bf16 values of that spread. A factor on the same draws, so that the
  /// scales and the biases of affine codes keep their ratio.
  std::span<const std::byte> values(const Spread& spread) {
    std::vector<std::uint16_t>& block = blocks_[spread];
    if (block.empty()) {
      block.reserve(kBlockValues);
      for (const float value : normal_) {
        block.push_back(f32_to_bf16(spread.mean + spread.deviation * value));
      }
    }
    return std::as_bytes(std::span(block));
  }

 private:
  std::vector<float> normal_;
  std::vector<std::uint32_t> words_;
  std::map<Spread, std::vector<std::uint16_t>> blocks_;
};

/// A nameless file that is written first, then mapped.
class ScratchFile {
 public:
  explicit ScratchFile(std::size_t size) : size_(size) {
    for (const fs::path& folder : {cache_dir(), fs::temp_directory_path()}) {
      file_ = AtomicFile(folder / "random-weights");
      if (file_.is_open()) {
        reserve(folder);
        return;
      }
    }
    fail<UserError>(
        fmt::format("Can't write {} MB of random weights", size_ / 1'000'000),
        file_.error(),
        "Set ROOFLINE_CACHE or TMPDIR to a folder that can be written");
  }
  ~ScratchFile() {
    if (data_ != nullptr) {
      ::munmap(data_, size_);
    }
  }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  /// Fills [begin, begin + bytes) with a block, from `phase` on, over and over.
  void fill(
      std::size_t begin,
      std::size_t bytes,
      std::span<const std::byte> block,
      std::size_t phase) const {
    while (bytes > 0) {
      const auto piece = block.subspan(phase);
      const std::size_t count = std::min(bytes, piece.size());
      write(begin, piece.first(count));
      begin += count;
      bytes -= count;
      phase = 0;
    }
  }

  std::span<const std::byte> map() {
    void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file_.fd(), 0);
    if (data == MAP_FAILED) {
      fail<UserError>(
          "Can't map the random weights",
          std::strerror(errno),
          "Free some memory and try again");
    }
    data_ = data;
    return {static_cast<const std::byte*>(data), size_};
  }

  void release(std::span<const std::byte> bytes) const {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
    const std::uintptr_t first = (begin + page - 1) / page * page;
    const std::uintptr_t last = (begin + bytes.size()) / page * page;
    if (first < last) {
      ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
    }
  }

 private:
  void reserve(const fs::path& folder) const {
    std::error_code error;
    const fs::space_info space = fs::space(folder, error);
    const bool room = error || space.available >= size_ + kDiskSlack;
    const int failed = room ? reserve_disk(file_.fd(), size_) : ENOSPC;
    if (failed != 0) {
      fail<UserError>(
          fmt::format(
              "There is no room for {} MB of random weights in {}",
              size_ / 1'000'000,
              folder.string()),
          std::strerror(failed),
          "Free some disk, choose a smaller model or fewer bits, or set "
          "ROOFLINE_CACHE to a folder on another disk");
    }
  }

  void write(std::size_t at, std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t count = ::pwrite(
          file_.fd(),
          bytes.data(),
          bytes.size(),
          static_cast<off_t>(at));
      if (count < 0 && errno == EINTR) {
        continue;
      }
      if (count <= 0) {
        fail<UserError>(
            "Can't write the random weights",
            std::strerror(errno),
            "Check the disk of the cache folder");
      }
      at += static_cast<std::size_t>(count);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }

  AtomicFile file_;
  std::size_t size_ = 0;
  void* data_ = nullptr;
};

bool is_vector(const ExpectedTensor& tensor) {
  return tensor.rows == 1 || tensor.name.ends_with(".bias");
}

Spread spread_of(const ExpectedTensor& tensor, const ModelSpec& spec) {
  if (tensor.name.ends_with(".bias")) {
    return {0, kSpread};
  }
  if (is_vector(tensor)) {
    return {spec.final_norm.plus_one ? 0.0f : 1.0f, kSpread};
  }
  return {0, 1 / std::sqrt(static_cast<float>(tensor.cols))};
}

std::size_t aligned(std::size_t at) {
  return (at + kAlignment - 1) / kAlignment * kAlignment;
}

/// Where everything goes, by name; the file's size in `end`.
std::vector<Place> lay_out(
    const ModelSpec& spec,
    const RandomFormat& format,
    std::size_t& end) {
  std::vector<Place> places;
  std::vector<ExpectedTensor> tensors = expected_tensors(spec);
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return a.name < b.name;
  });
  end = 0;
  for (ExpectedTensor& tensor : tensors) {
    Place place;
    place.spread = spread_of(tensor, spec);
    place.affine = format.bits < 16 && !is_vector(tensor) &&
                   tensor.cols % format.group_size == 0;
    const auto layers = static_cast<int>(spec.layers.size());
    place.bits = belongs_to_parts(tensor.name, layers, format.eight_bit)
                     ? 8
                     : format.bits;
    const auto count = static_cast<std::size_t>(tensor.rows * tensor.cols);
    place.begin = end;
    place.bytes =
        count * static_cast<std::size_t>(place.affine ? place.bits : 16) / 8;
    end = aligned(place.begin + place.bytes);
    if (place.affine) {
      place.side_begin = end;
      place.side_bytes =
          count / static_cast<std::size_t>(format.group_size) * 2;
      end = aligned(place.side_begin + 2 * place.side_bytes);
    }
    place.tensor = std::move(tensor);
    places.push_back(std::move(place));
  }
  return places;
}

void fill_place(const ScratchFile& file, const Place& place, Source& source) {
  // Tensors begin at different places of the block.
  const std::size_t phase = place.begin / kAlignment % kBlockValues;
  if (!place.affine) {
    file.fill(place.begin, place.bytes, source.values(place.spread), phase * 2);
    return;
  }
  file.fill(place.begin, place.bytes, source.words(), phase * 4);
  // Codes 0 … top are uniform: their deviation is the root of a twelfth of
  // their range.
  const auto top = static_cast<float>((1 << place.bits) - 1);
  const float scale = place.spread.deviation * std::sqrt(12.0f) / top;
  const Spread scales{scale, scale * kSpread};
  const Spread biases{-scale * top / 2, scale * top / 2 * -kSpread};
  file.fill(
      place.side_begin,
      place.side_bytes,
      source.values(scales),
      phase * 2);
  file.fill(
      place.side_begin + place.side_bytes,
      place.side_bytes,
      source.values(biases),
      phase * 2);
}

class RandomCheckpoint final : public OpenedCheckpoint {
 public:
  RandomCheckpoint(
      const ModelSpec& spec,
      const RandomFormat& format,
      std::string_view name)
      : OpenedCheckpoint(fmt::format("random:{}", name)), format_(format) {
    spec_ = spec;
    const std::vector<Place> places = lay_out(spec, format, size_);
    file_ = std::make_unique<ScratchFile>(size_);
    {
      Source source;
      for (const Place& place : places) {
        fill_place(*file_, place, source);
      }
    }
    const std::span<const std::byte> all = file_->map();
    std::string identity = fmt::format(
        "random {} {}/{}\n",
        kVersion,
        format.bits,
        format.group_size);
    for (const Place& place : places) {
      tensors_.push_back(tensor_at(place, all));
      identity += fmt::format(
          "{} {} {}\n",
          place.tensor.name,
          place.tensor.rows,
          place.tensor.cols);
      if (place.bits != format.bits) {
        identity += fmt::format("{} bits\n", place.bits);
      }
    }
    fingerprint_ = sha256_hex(identity);
  }

  void release(const Tensor& tensor) const override {
    file_->release(tensor.bytes);
    file_->release(tensor.affine.scales);
    file_->release(tensor.affine.biases);
  }

  std::string format() const override {
    return format_.bits < 16 ? fmt::format(
                                   "random weights, affine {}-bit/{}",
                                   format_.bits,
                                   format_.group_size)
                             : "random weights, bf16";
  }
  std::size_t file_bytes() const override { return size_; }

  std::unique_ptr<Tokenizer> load_tokenizer() const override {
    fail<UnsupportedError>(
        path_.string() + " has no tokenizer",
        "Random weights have no vocabulary",
        "Name a model with files to read or write text");
  }
  std::optional<std::string> chat_template() const override {
    return std::nullopt;
  }

 private:
  Tensor tensor_at(const Place& place, std::span<const std::byte> all) const {
    Tensor tensor;
    tensor.name = place.tensor.name;
    tensor.rows = place.tensor.rows;
    tensor.cols = place.tensor.cols;
    tensor.encoding = place.affine ? Encoding::mlx_affine : Encoding::bf16;
    tensor.bytes = all.subspan(place.begin, place.bytes);
    if (place.affine) {
      const auto sides = all.subspan(place.side_begin, 2 * place.side_bytes);
      tensor.affine = {
          place.bits,
          format_.group_size,
          Encoding::bf16,
          sides.first(place.side_bytes),
          sides.subspan(place.side_bytes)};
    }
    return tensor;
  }

  RandomFormat format_;
  std::unique_ptr<ScratchFile> file_;
  std::size_t size_ = 0;
};

}  // namespace

std::unique_ptr<Checkpoint> make_random_checkpoint(
    const ModelSpec& spec,
    const RandomFormat& format,
    std::string_view name) {
  require_runnable(spec);
  const int bits = format.bits;
  const int group = format.group_size;
  if ((bits != 4 && bits != 8 && bits != 16) ||
      (bits < 16 && group != 32 && group != 64 && group != 128)) {
    fail<UserError>(
        fmt::format("Random weights can't have {} bits/{}", bits, group),
        "",
        "They have 4, 8 or 16 bits, in groups of 32, 64 or 128");
  }
  return std::make_unique<RandomCheckpoint>(
      spec,
      format,
      name.empty() ? std::string_view(spec.family) : name);
}

}  // namespace roofline
