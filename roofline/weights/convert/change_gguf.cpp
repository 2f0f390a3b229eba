#include "roofline/weights/convert/change_gguf.h"

#include <array>
#include <vector>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/weights/convert/ggml_quantize.h"
#include "roofline/weights/convert/gguf_output.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/gguf.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

/// Types that can be written, by their bits.
constexpr std::array<Encoding, 6> kByBits = {
    Encoding::q4_k,
    Encoding::q4_0,
    Encoding::q4_1,
    Encoding::q5_0,
    Encoding::q8_0,
    Encoding::bf16};

Encoding changed_encoding(const GgufTensor& tensor, bool decode) {
  if (is_float(tensor.encoding)) {
    return tensor.encoding;
  }
  if (decode) {
    return Encoding::bf16;
  }
  if (can_encode(tensor.encoding)) {
    return tensor.encoding;
  }
  const auto own = row_bytes(tensor.encoding, tensor.cols());
  for (const Encoding encoding : kByBits) {
    const auto bytes = row_bytes(encoding, tensor.cols());
    if (bytes && bytes >= own) {
      return encoding;
    }
  }
  return Encoding::bf16;
}

}  // namespace

void change_gguf(
    const Checkpoint& checkpoint,
    const WeightChanges& changes,
    const fs::path& target,
    const ChangeGgufOptions& options) {
  require_gguf_target(target, options.force);
  const GgufFile source(checkpoint.path());
  if (source.files().size() > 1) {
    fail<UnsupportedError>(
        fmt::format("{} can't be changed", source.label()),
        "It is in several parts",
        "Merge them into one file first (llama-gguf-split --merge)");
  }
  FileChanges changed(changes, NameStyle::gguf, checkpoint.spec());
  std::vector<PlannedGgufTensor> plan;
  for (const GgufTensor& tensor : source.tensors()) {
    changed.add(tensor.name);
    const bool changes_here = changed.changes(tensor.name);
    plan.push_back(
        {tensor.name,
         changes_here ? changed_encoding(tensor, options.decode)
                      : tensor.encoding,
         tensor.shape});
  }
  changed.require_all();
  AtomicFile file = open_gguf_target(target);
  GgufWriter writer(file.fd(), target.string(), source.raw_metadata(), plan);
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const GgufTensor& tensor = source.tensors()[i];
    if (!changed.changes(tensor.name)) {
      writer.put(tensor.name, tensor.bytes);
      source.release(tensor.bytes);
      continue;
    }
    const Tensor rows = as_tensor(tensor);
    write_gguf_rows(
        writer,
        plan[i],
        rows.rows,
        rows.cols,
        [&](std::int64_t row, std::span<float> out) {
          decode_row(rows, row, out);
          changed.apply(rows, row, out);
        });
    source.release(tensor.bytes);
  }
  writer.finish();
  publish_gguf(file, target);
}

}  // namespace roofline
