// What our GGUF files say beside what llama.cpp's own conversion writes of the
// same models: keys, values and their types, tensors, sizes and encodings.
// tests/data/gguf/make_headers.py makes the listings.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/weights/convert/to_gguf.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/gguf.h"
#include "weights/temp_folder.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using roofline::testing::TempFolder;

fs::path data() {
  return ROOFLINE_TEST_DATA;
}

// Three tokens; the others are filled up.
constexpr std::string_view kTokenizer = R"({
  "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
  "normalizer": null,
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false,
                    "trim_offsets": true, "use_regex": true},
  "post_processor": null,
  "decoder": {"type": "ByteLevel", "add_prefix_space": true,
              "trim_offsets": true, "use_regex": true},
  "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
})";

// Keys that ours have and theirs needn't: what their readers derive, or take
// for absent.
constexpr std::array<std::string_view, 11> kOnlyOurs = {
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "expert_feed_forward_length",
    "expert_gating_func",
    "expert_shared_count",
    "expert_shared_feed_forward_length",
    "interleave_moe_layer_step",
    "rope.dimension_count",
    "rope.freq_base",
    "vocab_size"};

struct Otherwise {
  std::string_view golden;
  std::string_view key;  ///< without the architecture
};

// Theirs say another thing there, for a reason.
constexpr std::array kOtherwise = {
    // Their conversion takes no hybrid for one with positions.
    Otherwise{"granitemoehybrid", "context_length"},
    Otherwise{"granitemoehybrid", "rope.scaling.finetuned"},
    Otherwise{"nemotron_h", "rope.scaling.finetuned"},
    // There are no positions, and no experts.
    Otherwise{"nemotron_h", "rope.dimension_count"},
    Otherwise{"nemotron_h", "context_length"},
    // No layer has a window, or a length that it grows beyond.
    Otherwise{"phi3", "attention.sliding_window"},
    Otherwise{"phi3", "rope.scaling.original_context_length"},
    Otherwise{"phi3_longrope", "attention.sliding_window"},
    Otherwise{"phi3_longrope", "rope.scaling.type"},
    // Which layers are recurrent is listed beside the interval.
    Otherwise{"qwen3_5_equal_dims", "full_attention_interval"},
    Otherwise{"qwen3_next_equal_dims", "full_attention_interval"},
    // Its axes are more than these heads have pairs.
    Otherwise{"qwen3_5_equal_dims", "rope.dimension_sections"},
    // Width of a part that no layer has.
    Otherwise{"qwen3_next_equal_dims", "feed_forward_length"},
};

/// "key  uint32  7" or "tensor  f16  32 8".
struct Line {
  std::string kind;
  std::string value;
};
using Listing = std::map<std::string, Line>;

Listing read_listing(const fs::path& path) {
  Listing out;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    const std::size_t kind = line.find("  ");
    const std::size_t value = line.find("  ", kind + 2);
    out[line.substr(0, kind)] = {
        line.substr(kind + 2, value - kind - 2),
        line.substr(value + 2)};
  }
  return out;
}

std::string_view without_architecture(std::string_view key) {
  return key.starts_with("xielu.") ? key : key.substr(key.find('.') + 1);
}

bool is_otherwise(std::string_view golden, std::string_view key) {
  return std::any_of(
      kOtherwise.begin(),
      kOtherwise.end(),
      [&](const Otherwise& each) {
        return each.golden == golden && each.key == without_architecture(key);
      });
}

std::string kind_of(const json& value) {
  if (value.is_array()) {
    return "array of " + (value.empty() ? "" : kind_of(value.front()));
  }
  return value.is_boolean()           ? "bool"
         : value.is_string()          ? "string"
         : value.is_number_float()    ? "float32"
         : value.is_number_unsigned() ? "uint32"
                                      : "int32";
}

bool is_near(const json& a, const json& b) {
  if (a.is_array() && b.is_array()) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), is_near);
  }
  if (a.is_number_float() && b.is_number()) {
    return std::abs(a.get<double>() - b.get<double>()) <=
           2e-5 * std::abs(a.get<double>());
  }
  return a == b;
}

/// Cols first, without ones at the end.
std::string sizes_of(std::vector<std::int64_t> shape) {
  while (shape.size() > 1 && shape.back() == 1) {
    shape.pop_back();
  }
  std::ostringstream out;
  for (const std::int64_t size : shape) {
    out << (out.tellp() == 0 ? "" : " ") << size;
  }
  return out.str();
}

std::string sizes_of(const std::string& listed) {
  std::istringstream in(listed);
  std::vector<std::int64_t> shape;
  for (std::int64_t size = 0; in >> size;) {
    shape.push_back(size);
  }
  return sizes_of(shape);
}

bool is_tensor(const std::string& name) {
  return name.starts_with("blk.") || name.ends_with(".weight") ||
         name.ends_with(".bias");
}

class GgufHeaders : public ::testing::TestWithParam<std::string> {
 protected:
  GgufHeaders() {
    const fs::path golden = data().parent_path() / "goldens" / GetParam();
    for (const char* name : {"config.json", "model.safetensors"}) {
      fs::create_directories(temp_.path() / "in");
      fs::copy_file(golden / name, temp_.path() / "in" / name);
    }
    temp_.write("in/tokenizer.json", kTokenizer);
    ToGgufOptions options;
    options.encoding = Encoding::f16;
    convert_to_gguf(temp_.path() / "in", temp_.path() / "out.gguf", options);
    theirs_ = read_listing(data() / "gguf/headers" / (GetParam() + ".txt"));
  }

  TempFolder temp_;
  Listing theirs_;
};

TEST_P(GgufHeaders, KeysAreThoseOfLlamaCpp) {
  const GgufFile file(temp_.path() / "out.gguf");
  for (const auto& [key, line] : theirs_) {
    if (is_tensor(key) || is_otherwise(GetParam(), key)) {
      continue;
    }
    const auto ours = file.metadata().find(key);
    ASSERT_NE(ours, file.metadata().end()) << key << " = " << line.value;
    EXPECT_EQ(kind_of(*ours), line.kind) << key;
    EXPECT_TRUE(is_near(*ours, json::parse(line.value)))
        << key << ": " << *ours << ", not " << line.value;
  }
  for (const auto& [key, value] : file.metadata().items()) {
    const bool described = key.starts_with("general.") ||
                           key.starts_with("tokenizer.") ||
                           theirs_.contains(key);
    const bool allowed = std::find(
                             kOnlyOurs.begin(),
                             kOnlyOurs.end(),
                             without_architecture(key)) != kOnlyOurs.end();
    EXPECT_TRUE(described || allowed || is_otherwise(GetParam(), key))
        << key << " = " << value;
  }
}

TEST_P(GgufHeaders, TensorsAreThoseOfLlamaCpp) {
  const GgufFile file(temp_.path() / "out.gguf");
  std::size_t found = 0;
  for (const GgufTensor& tensor : file.tensors()) {
    const auto theirs = theirs_.find(tensor.name);
    if (theirs == theirs_.end()) {
      // Its readers can't do without one, and its conversion writes none.
      EXPECT_TRUE(tensor.name.ends_with(".ssm_conv1d.bias")) << tensor.name;
      continue;
    }
    ++found;
    EXPECT_EQ(encoding_name(tensor.encoding), theirs->second.kind)
        << tensor.name;
    EXPECT_EQ(sizes_of(tensor.shape), sizes_of(theirs->second.value))
        << tensor.name;
  }
  const auto listed =
      std::count_if(theirs_.begin(), theirs_.end(), [](const auto& line) {
        return is_tensor(line.first);
      });
  EXPECT_EQ(found, static_cast<std::size_t>(listed));
}

std::vector<std::string> listed_goldens() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(data() / "gguf/headers")) {
    out.push_back(entry.path().stem().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    GgufHeaders,
    ::testing::ValuesIn(listed_goldens()),
    [](const auto& info) { return info.param; });

}  // namespace
}  // namespace roofline
