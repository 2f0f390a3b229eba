#include "roofline/weights/convert/gguf_output.h"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>
#include <vector>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/weights/convert/ggml_quantize.h"
#include "roofline/weights/encodings.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

/// Elements that are encoded before they are written: 16 MB of float32.
constexpr std::int64_t kPieceElements = std::int64_t{4} << 20;

[[noreturn]] void fail_target(const fs::path& target, const std::string& why) {
  fail<UserError>(
      "Can't write " + target.string(),
      why,
      "Check that the folder can be written");
}

}  // namespace

void require_gguf_target(const fs::path& target, bool force) {
  std::error_code error;
  if (fs::is_directory(target, error)) {
    fail<UserError>(
        target.string() + " is a folder",
        "A GGUF file is to be written",
        "Name a file, such as " + (target / "model.gguf").string());
  }
  if (!force && fs::exists(target, error)) {
    fail<UserError>(
        target.string() + " exists already",
        "Nothing is overwritten unasked",
        "Choose another name, or add --force to replace it");
  }
}

AtomicFile open_gguf_target(const fs::path& target) {
  AtomicFile file(target);
  if (!file.is_open()) {
    fail_target(target, file.error());
  }
  return file;
}

void publish_gguf(AtomicFile& file, const fs::path& target) {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(file.fd(), 0666 & ~mask);
  if (!file.publish()) {
    fail_target(target, file.error());
  }
}

void write_gguf_blocks(
    GgufWriter& writer,
    const PlannedGgufTensor& tensor,
    std::int64_t rows,
    std::int64_t cols,
    const std::function<void(std::int64_t row, std::span<std::byte> out)>&
        fill) {
  const auto row_size =
      static_cast<std::size_t>(row_bytes(tensor.encoding, cols).value());
  const std::int64_t step = std::max<std::int64_t>(1, kPieceElements / cols);
  std::vector<std::byte> bytes;
  for (std::int64_t first = 0; first < rows; first += step) {
    const std::int64_t count = std::min(step, rows - first);
    bytes.resize(row_size * static_cast<std::size_t>(count));
    auto make = [&](int row, int) {
      fill(
          first + row,
          std::span(bytes).subspan(
              row_size * static_cast<std::size_t>(row),
              row_size));
    };
    ThreadPool::global().run(static_cast<int>(count), make);
    writer.put(tensor.name, bytes, row_size * static_cast<std::size_t>(first));
  }
}

void write_gguf_rows(
    GgufWriter& writer,
    const PlannedGgufTensor& tensor,
    std::int64_t rows,
    std::int64_t cols,
    const std::function<void(std::int64_t row, std::span<float> out)>& read) {
  write_gguf_blocks(
      writer,
      tensor,
      rows,
      cols,
      [&](std::int64_t row, std::span<std::byte> out) {
        std::vector<float> values(static_cast<std::size_t>(cols));
        read(row, values);
        encode_row(tensor.encoding, values, out);
      });
}

}  // namespace roofline
