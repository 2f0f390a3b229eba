#include "roofline/weights/convert/to_mlx.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/errors.h"
#include "roofline/base/sha256.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/convert/mlx_layout.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/safetensors.h"
#include "roofline/weights/shards.h"
#include "weights/file_builders.h"
#include "weights/temp_folder.h"
#include "weights/tiny_model.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;
namespace mx = mlx::core;
using namespace roofline::testing;
using nlohmann::json;

fs::path golden(const std::string& name) {
  return fs::path(ROOFLINE_GOLDENS) / name;
}

std::string digest_of(const SafetensorsEntry& entry) {
  const std::string_view bytes(
      reinterpret_cast<const char*>(entry.bytes.data()),
      entry.bytes.size());
  return fmt::format(
      "{} {} {}",
      entry.dtype,
      fmt::join(entry.shape, "x"),
      sha256_hex(bytes).substr(0, 16));
}

ToMlxOptions options_for(const json& form) {
  ToMlxOptions options;
  if (form.is_string()) {
    options.quantize = parse_mlx_form("affine", 4, 64);
    options.recipe = form.get<std::string>();
  } else if (form.is_array()) {
    options.quantize = parse_mlx_form(
        form[0].get<std::string>(),
        form[1].get<int>(),
        form[2].get<int>());
  }
  return options;
}

TEST(ToMlx, EveryTensorIsBitForBitWhatMlxLmWrites) {
  const json cases =
      read_json_file(fs::path(ROOFLINE_TEST_DATA) / "mlx" / "expected.json");
  for (const json& one : cases) {
    const TempFolder temp;
    const std::string name = one["golden"];
    SCOPED_TRACE(name + " " + one["form"].dump());
    convert_to_mlx(golden(name), temp.path() / "out", options_for(one["form"]));
    const Shards shards(temp.path() / "out");
    std::string lines;
    for (const SafetensorsEntry* entry : shards.entries()) {  // sorted
      lines += fmt::format(
          "{}{} {}",
          lines.empty() ? "" : "\n",
          entry->name,
          digest_of(*entry));
    }
    EXPECT_EQ(shards.entries().size(), one["tensors"]["count"]);
    EXPECT_EQ(sha256_hex(lines), one["tensors"]["digest"]) << lines;
  }
}

TEST(ToMlx, TheConfigSaysWhatIsPackedAndHow) {
  const json cases =
      read_json_file(fs::path(ROOFLINE_TEST_DATA) / "mlx" / "expected.json");
  for (const json& one : cases) {
    if (one["form"].is_null()) {
      continue;
    }
    const TempFolder temp;
    convert_to_mlx(
        golden(one["golden"]),
        temp.path() / "out",
        options_for(one["form"]));
    const json config = read_json_file(temp.path() / "out" / "config.json");
    EXPECT_EQ(config["quantization"], config["quantization_config"]);
    json wanted = one["quantization"];
    for (json& entry : wanted) {
      if (entry.is_object() && !entry.contains("mode")) {
        entry["mode"] = "affine";  // mlx-lm's default, written out
      }
    }
    EXPECT_EQ(config["quantization"], wanted) << one["golden"] << one["form"];
  }
}

TEST(ToMlx, WhatIsWrittenOpensWithTheSameFloats) {
  for (const char* name : {"llama", "phi3", "gemma3_text", "llama_bias_tied"}) {
    const TempFolder temp;
    const ConvertedModel done =
        convert_to_mlx(golden(name), temp.path() / "out", {});
    EXPECT_DOUBLE_EQ(done.bits_per_weight(), 16) << name;
    const auto before = Checkpoint::open(golden(name));
    const auto after = Checkpoint::open(temp.path() / "out");
    ASSERT_EQ(before->tensors().size(), after->tensors().size()) << name;
    for (const Tensor& tensor : before->tensors()) {
      const Tensor& other = after->at(tensor.name);
      ASSERT_EQ(tensor.bytes.size(), other.bytes.size()) << tensor.name;
      EXPECT_EQ(
          std::memcmp(
              tensor.bytes.data(),
              other.bytes.data(),
              tensor.bytes.size()),
          0)
          << tensor.name;
    }
  }
}

TEST(ToMlx, PackedWeightsAreCopiedAndCanBeUnpacked) {
  const TempFolder temp;
  ToMlxOptions options;
  options.quantize = parse_mlx_form("affine", 4, 32);
  convert_to_mlx(golden("llama"), temp.path() / "packed", options);
  convert_to_mlx(temp.path() / "packed", temp.path() / "copy", {});
  EXPECT_EQ(
      read_file(temp.path() / "packed" / "config.json"),
      read_file(temp.path() / "copy" / "config.json"));
  const Shards packed(temp.path() / "packed");
  const Shards copy(temp.path() / "copy");
  ASSERT_EQ(packed.entries().size(), copy.entries().size());
  for (const SafetensorsEntry* entry : packed.entries()) {
    EXPECT_EQ(digest_of(*entry), digest_of(*copy.find(entry->name)));
  }
  expect_error<UserError>(
      [&] {
        convert_to_mlx(temp.path() / "packed", temp.path() / "twice", options);
      },
      {"quantized already", "--dequantize"});
  ToMlxOptions unpack;
  unpack.dequantize = true;
  convert_to_mlx(temp.path() / "packed", temp.path() / "floats", unpack);
  const Shards floats(temp.path() / "floats");
  EXPECT_EQ(floats.find("model.embed_tokens.weight")->dtype, "BF16");
  EXPECT_EQ(floats.find("model.embed_tokens.scales"), nullptr);
  EXPECT_FALSE(read_json_file(temp.path() / "floats" / "config.json")
                   .contains("quantization"));
  // What was packed comes back packed the same.
  convert_to_mlx(temp.path() / "floats", temp.path() / "again", options);
  EXPECT_EQ(
      digest_of(*packed.find("model.layers.0.mlp.up_proj.weight")).size(),
      digest_of(*Shards(temp.path() / "again")
                     .find("model.layers.0.mlp.up_proj.weight"))
          .size());
}

TEST(ToMlx, AnotherDtypeIsCastAndWrittenDown) {
  const TempFolder temp;
  ToMlxOptions options;
  options.dtype = parse_float_dtype("f16", "--dtype");
  convert_to_mlx(golden("qwen2"), temp.path() / "out", options);
  const Shards shards(temp.path() / "out");
  for (const SafetensorsEntry* entry : shards.entries()) {
    EXPECT_EQ(entry->dtype, "F16") << entry->name;
  }
  const json config = read_json_file(temp.path() / "out" / "config.json");
  EXPECT_EQ(config["torch_dtype"], "float16");
}

TEST(ToMlx, FilesBesideTheWeightsComeAlong) {
  const TempFolder temp;
  for (const char* file : {"config.json", "model.safetensors"}) {
    temp.write(fmt::format("in/{}", file), read_file(golden("llama") / file));
  }
  temp.write("in/tokenizer.json", "{}");
  temp.write("in/chat_template.jinja", "{{ messages }}");
  temp.write("in/private-notes.txt", "mine");
  temp.write(
      "in/README.md",
      "---\nlicense: apache-2.0\nlanguage:\n- en\ntags:\n- old\n---\n# Long\n");
  ToMlxOptions options;
  options.base_model = "org/name";
  convert_to_mlx(temp.path() / "in", temp.path() / "out", options);
  EXPECT_EQ(read_file(temp.path() / "out" / "tokenizer.json"), "{}");
  EXPECT_EQ(
      read_file(temp.path() / "out" / "chat_template.jinja"),
      "{{ messages }}");
  EXPECT_FALSE(fs::exists(temp.path() / "out" / "private-notes.txt"));
  const std::string card = read_file(temp.path() / "out" / "README.md");
  EXPECT_NE(card.find("license: apache-2.0\nlanguage:\n- en\n"), card.npos);
  EXPECT_EQ(card.find("old"), card.npos);
  EXPECT_NE(card.find("base_model: org/name"), card.npos);
}

TEST(ToMlx, AnInterruptionLeavesNothing) {
  const TempFolder temp;
  ToMlxOptions options;
  int calls = 0;
  options.progress = [&](double share, std::string_view) {
    EXPECT_LE(share, 1);
    if (++calls == 5) {
      throw std::runtime_error("stop");
    }
  };
  EXPECT_THROW(
      convert_to_mlx(golden("llama"), temp.path() / "out", options),
      std::runtime_error);
  EXPECT_TRUE(fs::is_empty(temp.path()));
}

/// Two experts of one layer under Mixtral's names.
std::string mixture(const std::string& missing = "") {
  SafetensorsBuilder builder;
  builder.fill("model.layers.0.block_sparse_moe.gate.weight", {2, 64}, 1);
  float value = 0;
  for (const char* expert : {"0", "1"}) {
    for (const char* name : {"w1", "w2", "w3"}) {
      const std::string full = fmt::format(
          "model.layers.0.block_sparse_moe.experts.{}.{}.weight",
          expert,
          name);
      if (full != missing) {
        builder.fill(full, {4, 64}, value);
      }
      ++value;
    }
  }
  return builder.build();
}

std::vector<RowTensor> in_mlx_layout(const SafetensorsFile& file) {
  std::vector<RowTensor> tensors;
  for (const SafetensorsEntry& entry : file.entries()) {
    tensors.push_back(rows_of(entry, "x"));
  }
  return to_mlx_layout(
      std::move(tensors),
      {{"model_type", "mixtral"}, {"num_hidden_layers", 1}},
      false);
}

TEST(ToMlx, ExpertsAreStackedUnderMlxNames) {
  const std::string bytes = mixture();
  const SafetensorsFile file(as_bytes(bytes), "x");
  const std::vector<RowTensor> tensors = in_mlx_layout(file);
  ASSERT_EQ(tensors.size(), 4u);
  const auto down =
      std::find_if(tensors.begin(), tensors.end(), [](const RowTensor& tensor) {
        return tensor.name ==
               "model.layers.0.block_sparse_moe.switch_mlp.down_proj.weight";
      });
  ASSERT_NE(down, tensors.end());
  EXPECT_EQ(down->shape, (std::vector<std::int64_t>{2, 4, 64}));
  // Rows 3 and 4: the last of expert 0, the first of expert 1; each w2.
  mx::array rows = down->read(3, 2, mx::default_stream(mx::Device::cpu));
  rows.eval();
  EXPECT_EQ(rows.data<float>()[0], 1);
  EXPECT_EQ(rows.data<float>()[64], 4);
  const auto packed = plan_packed(*down, {4, 32, "affine"}, mx::bfloat16);
  ASSERT_EQ(packed.size(), 3u);
  EXPECT_EQ(packed[0].shape, (std::vector<std::int64_t>{2, 4, 8}));
  EXPECT_EQ(packed[1].shape, (std::vector<std::int64_t>{2, 4, 2}));
  // Stacked already: the names stay.
  const auto again = to_mlx_layout(tensors, {{"model_type", "mixtral"}}, false);
  ASSERT_EQ(again.size(), 4u);
  EXPECT_EQ(again[1].name, tensors[1].name);
}

TEST(ToMlx, AMissingExpertIsToldOf) {
  const std::string bytes =
      mixture("model.layers.0.block_sparse_moe.experts.0.w3.weight");
  const SafetensorsFile file(as_bytes(bytes), "x");
  expect_error<CheckpointError>(
      [&] { in_mlx_layout(file); },
      {"switch_mlp.up_proj", "Expert 0 is missing"});
}

TEST(ToMlx, WhatCannotBeConvertedIsRefusedWithTheReason) {
  const TempFolder temp;
  const fs::path out = temp.path() / "out";
  temp.write("a/config.json", R"({"model_type": "lama"})");
  temp.write(
      "a/model.safetensors",
      SafetensorsBuilder().fill("w.weight", {1, 2}, 1).build());
  expect_error<UnsupportedError>(
      [&] { convert_to_mlx(temp.path() / "a", out, {}); },
      {"\"lama\"", "llama"});
  temp.write("b/config.json", tiny_config().dump());
  temp.write(
      "b/model.safetensors",
      SafetensorsBuilder()
          .add("lm_head.weight", "F64", {1}, "12345678")
          .build());
  expect_error<UnsupportedError>(
      [&] { convert_to_mlx(temp.path() / "b", out, {}); },
      {"lm_head.weight", "F64", "BF16"});
  auto foreign = tiny_config();
  foreign["quantization_config"] = {{"quant_method", "higgs"}, {"bits", 4}};
  temp.write("d/config.json", foreign.dump());
  temp.write(
      "d/model.safetensors",
      SafetensorsBuilder().fill("w.weight", {1, 2}, 1).build());
  expect_error<UnsupportedError>(
      [&] { convert_to_mlx(temp.path() / "d", out, {}); },
      {"higgs", "compressed-tensors"});
  temp.write("e/config.json", tiny_config().dump());
  temp.write(
      "e/model.safetensors",
      SafetensorsBuilder().fill("model.norm.weight", {32}, 1).build());
  expect_error<CheckpointError>(
      [&] { convert_to_mlx(temp.path() / "e", out, {}); },
      {"lacks the tensor"});
  temp.write("c/config.json", R"({"model_type": "llama"})");
  temp.write("c/pytorch_model.bin", "pickle");
  expect_error<UnsupportedError>(
      [&] { convert_to_mlx(temp.path() / "c", out, {}); },
      {"pytorch_model.bin", "pickle", "safetensors version"});
  EXPECT_FALSE(fs::exists(out));
}

TEST(ToMlx, GroupsThatNoMatrixFitsAreRefused) {
  const TempFolder temp;
  write_folder(temp, tiny_config(), tiny_shapes());
  ToMlxOptions options;
  options.quantize = MlxForm{4, 128, "affine"};
  expect_error<UserError>(
      [&] { convert_to_mlx(temp.path(), temp.path() / "out", options); },
      {"Nothing can be quantized", "128", "--q-group-size"});
  EXPECT_FALSE(fs::exists(temp.path() / "out"));
}

TEST(ToMlx, FormsThatMlxLacksAreRefused) {
  EXPECT_EQ(parse_mlx_form("affine", {}, {}), (MlxForm{4, 64, "affine"}));
  EXPECT_EQ(parse_mlx_form("nvfp4", {}, {}), (MlxForm{4, 16, "nvfp4"}));
  EXPECT_EQ(parse_mlx_form("mxfp8", 8, 32), (MlxForm{8, 32, "mxfp8"}));
  expect_error<UserError>([] { parse_mlx_form("affine", 7, {}); }, {"7 bits"});
  expect_error<UserError>(
      [] { parse_mlx_form("mxfp4", 8, {}); },
      {"mxfp4 can't have 8 bits"});
  expect_error<UserError>(
      [] { parse_mlx_form("mxpf4", {}, {}); },
      {"Did you mean mxfp4"});
}

}  // namespace
}  // namespace roofline
