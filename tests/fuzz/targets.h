// What each fuzz target does with its input. The libFuzzer programs and the
// plain test that replays the corpus call the same functions. A target returns
// when the reader accepts or refuses the input; anything else is a fault.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/base/errors.h"
#include "roofline/base/sha256.h"
#include "roofline/spec/read_config.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/blob_file.h"
#include "roofline/weights/convert/mlx_layout.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/gguf.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/mlx_packed.h"
#include "roofline/weights/name_tensors.h"
#include "roofline/weights/safetensors.h"
#include "roofline/weights/text_files.h"

namespace roofline::fuzz {

using Bytes = std::span<const std::byte>;

/// Runs f; errors for users are fine, a BugError or a foreign exception isn't.
template <class F>
void expect_sound(F f) {
  try {
    f();
  } catch (const BugError&) {
    throw;
  } catch (const Error& error) {
    if (std::string_view(error.what()).empty()) {
      std::abort();
    }
  }
}

/// Reads the first and the last row, so that a sanitizer sees wrong bounds.
inline void touch(const Tensor& tensor) {
  constexpr std::int64_t kMostCols = 1 << 16;  // keeps an input fast
  if (tensor.rows == 0 || tensor.cols > kMostCols) {
    return;
  }
  std::vector<float> row(static_cast<std::size_t>(tensor.cols));
  decode_row(tensor, 0, row);
  decode_row(tensor, tensor.rows - 1, row);
  if (const auto form = code_form(tensor)) {
    const auto groups =
        static_cast<std::size_t>(tensor.cols / form->group_size);
    std::vector<std::uint8_t> codes(row.size());
    std::vector<float> scales(groups), biases(groups);
    read_code_row(tensor, tensor.rows - 1, {codes, scales, biases});
  }
}

/// The whole way of a GGUF file: header, arrays, spec, our tensor names.
inline void gguf(Bytes input) {
  expect_sound([&] {
    const GgufFile file(input, "input.gguf");
    std::vector<Tensor> sources;
    for (const GgufTensor& tensor : file.tensors()) {
      sources.push_back(as_tensor(tensor));
      touch(sources.back());
    }
    expect_sound([&] { gguf_vocabulary(file); });
    expect_sound([&] { file.floats("tokenizer.ggml.tokens"); });
    expect_sound([&] { file.integers("tokenizer.ggml.scores"); });
    ModelSpec spec = read_gguf_metadata(file.metadata(), {});
    MadeBytes made;
    for (const Tensor& tensor : name_tensors(
             std::move(sources),
             NameStyle::gguf,
             TieFlag::by_tensors,
             spec,
             "input.gguf",
             "the metadata",
             made)) {
      touch(tensor);
    }
  });
}

/// A safetensors file, its packed matrices included.
inline void safetensors(Bytes input) {
  expect_sound([&] {
    const SafetensorsFile file(input, "input.safetensors");
    for (const SafetensorsEntry& entry : file.entries()) {
      if (entry.encoding()) {
        touch(shaped_tensor(entry));
        continue;
      }
      const std::string module =
          entry.name.substr(0, entry.name.rfind(".weight"));
      const SafetensorsEntry* scales = file.find(module + ".scales");
      const SafetensorsEntry* biases = file.find(module + ".biases");
      for (const StoredQuantization& form :
           {StoredQuantization{4, 32, "affine"},
            StoredQuantization{4, 16, "nvfp4"},
            StoredQuantization{8, 32, "mxfp8"}}) {
        expect_sound([&] {
          touch(mlx_tensor(entry, scales, biases, form, "input.safetensors"));
        });
      }
    }
  });
}

/// A cache file, once as it is and once with a right digest, without which
/// no change would get past the first check.
inline void blob_file(Bytes input) {
  const auto read = [](Bytes bytes) {
    if (const auto file = BlobFile::parse(bytes, "key")) {
      for (const char* name : {"a", "b", ""}) {
        const auto blob = file->find(name);
        if (blob && !blob->empty() && blob->front() == blob->back()) {
          continue;  // the read is what matters
        }
      }
    }
  };
  read(input);
  std::uint64_t header = 0;
  if (input.size() < 32) {
    return;
  }
  std::memcpy(&header, input.data() + 16, sizeof(header));
  if (header < 64 || header > input.size()) {
    return;
  }
  std::string copy(reinterpret_cast<const char*>(input.data()), input.size());
  const std::uint64_t size = copy.size();
  std::memcpy(copy.data() + 8, &size, sizeof(size));
  const std::size_t at = static_cast<std::size_t>(header) - 64;
  copy.replace(at, 64, sha256_hex(std::string_view(copy).substr(0, at)));
  read(std::as_bytes(std::span(copy)));
}

/// A config.json, up to its spec and the rules for packed tensors.
inline void config(Bytes input) {
  const std::string_view text(
      reinterpret_cast<const char*>(input.data()),
      input.size());
  expect_sound([&] {
    const nlohmann::json parsed = parse_json(text, "config.json");
    expect_sound([&] { packing_of("m", parsed, "config.json"); });
    const ModelSpec spec = read_config(parsed);
    expected_tensors(spec);
  });
}

/// Tensor names, a line each, after a line with the family: our names for them
/// in both styles, and their layout in MLX.
inline void names(Bytes input) {
  constexpr std::size_t kMostNames = 64;  // keeps an input fast
  std::string_view text(
      reinterpret_cast<const char*>(input.data()),
      input.size());
  const auto take_line = [&text] {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    return line;
  };
  nlohmann::json config = {
      {"model_type", take_line()},
      {"hidden_size", 64},
      {"intermediate_size", 128},
      {"num_hidden_layers", 2},
      {"num_attention_heads", 4},
      {"num_key_value_heads", 2},
      {"vocab_size", 256},
      {"rms_norm_eps", 1e-6},
      {"max_position_embeddings", 512}};
  std::vector<std::string> lines;
  while (!text.empty() && lines.size() < kMostNames) {
    lines.push_back(take_line());
  }
  expect_sound([&] {
    const ModelSpec spec = read_config(config);
    for (const std::string& line : lines) {
      for (const NameStyle style : {NameStyle::hugging_face, NameStyle::gguf}) {
        expect_sound([&] { map_tensor_name(line, style, spec); });
      }
    }
  });
  expect_sound([&] {
    std::vector<RowTensor> tensors;
    for (const std::string& line : lines) {
      RowTensor tensor;
      tensor.name = line;
      // Vectors, matrices and stacks, by the name's length.
      tensor.shape.assign(1 + line.size() % 3, 4);
      tensors.push_back(tensor);
    }
    to_mlx_layout(std::move(tensors), config, lines.size() % 2 == 0);
  });
}

struct Target {
  const char* name;  ///< of its corpus folder
  void (*run)(Bytes input);
};

constexpr Target kTargets[] = {
    {"gguf", gguf},
    {"safetensors", safetensors},
    {"blob_file", blob_file},
    {"config", config},
    {"names", names},
};

}  // namespace roofline::fuzz
