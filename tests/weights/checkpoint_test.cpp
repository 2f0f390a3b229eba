#include "roofline/weights/checkpoint.h"

#include <algorithm>
#include <chrono>

#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "roofline/weights/encodings.h"
#include "weights/tiny_model.h"

namespace roofline {
namespace {

using namespace roofline::testing;
using nlohmann::json;

std::vector<float> row_of(const Tensor& tensor, std::int64_t row) {
  std::vector<float> out(tensor.cols);
  decode_row(tensor, row, out);
  return out;
}

template <class E>
void expect_refused(
    const TempFolder& folder,
    std::initializer_list<std::string_view> parts) {
  expect_error<E>([&] { Checkpoint::open(folder.path()); }, parts);
}

TEST(FolderCheckpoint, TensorsHaveOurNamesAndTheirValues) {
  TempFolder folder;
  write_folder(folder, tiny_config(), tiny_shapes());
  const auto model = Checkpoint::open(folder.path());
  EXPECT_EQ(model->tensors().size(), 12u);
  EXPECT_EQ(model->format(), "safetensors");
  EXPECT_FALSE(model->spec().tied_embeddings);
  EXPECT_EQ(model->spec().eos_tokens, std::vector<std::int32_t>{2});
  const Tensor& k = model->at("layers.0.attention.k");
  EXPECT_EQ(k.rows, kKvDim);
  EXPECT_EQ(k.cols, kDim);
  EXPECT_EQ(row_of(k, 3)[5], 3.05f);
  EXPECT_EQ(model->at("final_norm").rows, 1);
  EXPECT_NO_THROW(model->release(k));
  EXPECT_EQ(row_of(k, 3)[5], 3.05f);
}

TEST(FolderCheckpoint, AnUnknownNameOffersTheNearest) {
  TempFolder folder;
  write_folder(folder, tiny_config(), tiny_shapes());
  const auto model = Checkpoint::open(folder.path());
  EXPECT_EQ(model->find("layers.0.attention.x"), nullptr);
  expect_error<CheckpointError>(
      [&] { model->at("layers.0.attention.kk"); },
      {"layers.0.attention.kk", "Did you mean layers.0.attention.k"});
}

TEST(FolderCheckpoint, PackedMatricesAreSlicedByRowsWithoutACopy) {
  TempFolder folder;
  json config = tiny_config();
  config["model_type"] = "phi3";
  config.erase("head_dim");
  config["pad_token_id"] = 0;
  Shapes shapes = tiny_shapes();
  const std::string layer = "model.layers.0.";
  for (const char* part :
       {"self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "mlp.gate_proj",
        "mlp.up_proj"}) {
    shapes.erase(layer + part);
  }
  shapes[layer + "self_attn.qkv_proj"] = {kDim + 2 * kKvDim, kDim};
  shapes[layer + "mlp.gate_up_proj"] = {2 * kHidden, kDim};
  write_folder(folder, config, shapes);
  const auto model = Checkpoint::open(folder.path());
  EXPECT_EQ(row_of(model->at("layers.0.attention.q"), 0)[0], 0.0f);
  EXPECT_EQ(row_of(model->at("layers.0.attention.k"), 0)[0], float{kDim});
  EXPECT_EQ(
      row_of(model->at("layers.0.attention.v"), 1)[0],
      float{kDim + kKvDim + 1});
  EXPECT_EQ(
      row_of(model->at("layers.0.feed_forward.up"), 0)[0],
      float{kHidden});
  EXPECT_EQ(
      model->at("layers.0.attention.q").bytes.data() + kDim * kDim * 4,
      model->at("layers.0.attention.k").bytes.data());
  shapes[layer + "self_attn.qkv_proj"] = {kDim + kKvDim, kDim};
  write_folder(folder, config, shapes);
  expect_refused<CheckpointError>(
      folder,
      {"qkv_proj", "48 rows", "config.json"});
}

TEST(FolderCheckpoint, AMissingTensorIsNamed) {
  TempFolder folder;
  Shapes shapes = tiny_shapes();
  shapes.erase("model.layers.0.mlp.down_proj");
  write_folder(folder, tiny_config(), shapes);
  expect_refused<CheckpointError>(
      folder,
      {folder.path().string(), "layers.0.feed_forward.down", "32 × 64"});
}

TEST(FolderCheckpoint, AConfigThatContradictsTheTensorsIsNamedWithBoth) {
  TempFolder folder;
  json config = tiny_config();
  config["intermediate_size"] = 96;
  write_folder(folder, config, tiny_shapes());
  expect_refused<CheckpointError>(
      folder,
      {"config.json says", "96", "but the tensor has", "64"});
  config = tiny_config();
  config["vocab_size"] = kVocab + 1;
  write_folder(folder, config, tiny_shapes());
  expect_refused<CheckpointError>(folder, {"embed_tokens", "41", "40"});
  config = tiny_config();
  config["num_hidden_layers"] = 2;
  write_folder(folder, config, tiny_shapes());
  expect_refused<CheckpointError>(
      folder,
      {"model.layers.1.", "(layers.1.", "lacks"});
  config = tiny_config();
  config["quantization"] = {{"bits", 4}, {"group_size", 32}};
  write_folder(folder, config, tiny_shapes());
  expect_refused<CheckpointError>(folder, {"\"quantization\"", "packed"});
}

TEST(FolderCheckpoint, AFormThatNoMatrixFitsLeavesFloats) {
  TempFolder folder;
  json config = tiny_config();
  config["quantization"] = {{"bits", 4}, {"group_size", 128}};
  write_folder(folder, config, tiny_shapes());
  EXPECT_EQ(Checkpoint::open(folder.path())->at("embed").cols, kDim);
}

TEST(FolderCheckpoint, ATensorThatNobodyAsksForIsNamed) {
  TempFolder folder;
  Shapes shapes = tiny_shapes();
  shapes["model.layers.0.self_attn.strange"] = {kDim};
  write_folder(folder, tiny_config(), shapes);
  expect_refused<CheckpointError>(folder, {"self_attn.strange"});
  json config = tiny_config();
  config["num_hidden_layers"] = 0;
  write_folder(folder, config, tiny_shapes());
  expect_error<CheckpointError>([&] { Checkpoint::open(folder.path()); }, {});
}

TEST(FolderCheckpoint, TheTieFlagDecidesAndThenTheTensors) {
  TempFolder folder;
  Shapes headless = tiny_shapes();
  headless.erase("lm_head");
  json config = tiny_config();
  config["tie_word_embeddings"] = true;
  write_folder(folder, config, headless);
  EXPECT_TRUE(Checkpoint::open(folder.path())->spec().tied_embeddings);
  write_folder(folder, config, tiny_shapes());
  auto model = Checkpoint::open(folder.path());
  EXPECT_TRUE(model->spec().tied_embeddings);
  EXPECT_EQ(model->find("head"), nullptr);

  SafetensorsBuilder other_head;
  add_tensors(other_head, headless);
  other_head.fill("lm_head.weight", {kVocab, kDim}, 7);
  folder.write("model.safetensors", other_head.build());
  EXPECT_FALSE(Checkpoint::open(folder.path())->spec().tied_embeddings);

  config["tie_word_embeddings"] = false;
  write_folder(folder, config, headless);
  expect_refused<CheckpointError>(folder, {"lacks the tensor head"});

  config.erase("tie_word_embeddings");
  write_folder(folder, config, headless);
  EXPECT_TRUE(Checkpoint::open(folder.path())->spec().tied_embeddings);
  write_folder(folder, config, tiny_shapes());
  EXPECT_FALSE(Checkpoint::open(folder.path())->spec().tied_embeddings);
}

TEST(FolderCheckpoint, GenerationConfigAddsEndTokens) {
  TempFolder folder;
  write_folder(folder, tiny_config(), tiny_shapes());
  folder.write("generation_config.json", R"({"eos_token_id": [2, 7, 5000]})");
  EXPECT_EQ(
      Checkpoint::open(folder.path())->spec().eos_tokens,
      (std::vector<std::int32_t>{2, 7}));
  folder.write("generation_config.json", R"({"eos_token_id": 9})");
  EXPECT_EQ(
      Checkpoint::open(folder.path())->spec().eos_tokens,
      (std::vector<std::int32_t>{2, 9}));
  folder.write("generation_config.json", R"({"eos_token_id": "x"})");
  expect_refused<CheckpointError>(
      folder,
      {"generation_config.json", "eos_token_id"});
}

TEST(FolderCheckpoint, OtherDtypesAreRefusedOnlyWhereNeeded) {
  TempFolder folder;
  Shapes shapes = tiny_shapes();
  shapes.erase("model.norm");
  SafetensorsBuilder tensors;
  add_tensors(tensors, shapes);
  folder.write("config.json", tiny_config().dump());
  folder.write(
      "model.safetensors",
      SafetensorsBuilder(tensors)
          .add("model.norm.weight", "F64", {kDim}, std::string(8 * kDim, 'x'))
          .build());
  expect_refused<UnsupportedError>(folder, {"model.norm.weight", "F64"});
}

TEST(FolderCheckpoint, AFolderThatIsNoModelIsNamed) {
  TempFolder folder;
  expect_refused<CheckpointError>(folder, {"is no model", "config.json"});
  folder.write("config.json", tiny_config().dump());
  expect_refused<CheckpointError>(folder, {"no weights", "safetensors"});
  folder.write("pytorch_model.bin", "PK");
  expect_refused<UnsupportedError>(
      folder,
      {"pytorch_model.bin", "run any code", "convert"});
  folder.write("config.json", "{");
  expect_refused<CheckpointError>(folder, {"config.json", "JSON"});
}

TEST(FolderCheckpoint, TheFingerprintFollowsTheFiles) {
  TempFolder folder;
  write_folder(folder, tiny_config(), tiny_shapes());
  const std::string first = Checkpoint::open(folder.path())->fingerprint();
  EXPECT_EQ(first.size(), 64u);
  EXPECT_EQ(Checkpoint::open(folder.path())->fingerprint(), first);
  const auto file = folder.path() / "model.safetensors";
  std::filesystem::last_write_time(
      file,
      std::filesystem::last_write_time(file) + std::chrono::nanoseconds(1000));
  EXPECT_NE(Checkpoint::open(folder.path())->fingerprint(), first);
}

TEST(GgufCheckpoint, TensorsHaveOurNamesAndTheirValues) {
  TempFolder folder;
  GgufBuilder builder = tiny_gguf_metadata();
  add_gguf_tensors(builder, tiny_gguf_shapes());
  const auto path = folder.write("tiny.gguf", builder.build());
  const auto model = Checkpoint::open(path);
  EXPECT_EQ(model->format(), "GGUF v3");
  EXPECT_TRUE(model->spec().tied_embeddings);
  EXPECT_EQ(model->spec().vocab, kVocab);
  EXPECT_EQ(model->file_bytes(), std::filesystem::file_size(path));
  EXPECT_EQ(row_of(model->at("layers.0.attention.k"), 3)[5], 3.05f);
  EXPECT_EQ(model->at("layers.0.feed_forward.down").cols, kHidden);
  EXPECT_EQ(Checkpoint::open(folder.path())->path(), path);
}

TEST(GgufCheckpoint, AHeadOfItsOwnUntiesTheEmbeddings) {
  TempFolder folder;
  GgufBuilder builder = tiny_gguf_metadata();
  Shapes shapes = tiny_gguf_shapes();
  shapes["output"] = {kVocab, kDim};
  add_gguf_tensors(builder, shapes);
  const auto model = Checkpoint::open(folder.write("a.gguf", builder.build()));
  EXPECT_FALSE(model->spec().tied_embeddings);
  EXPECT_NE(model->find("head"), nullptr);
}

TEST(GgufCheckpoint, BiasesAreUsedWhereTheyAre) {
  TempFolder folder;
  GgufBuilder builder = tiny_gguf_metadata();
  add_gguf_tensors(builder, tiny_gguf_shapes());
  builder.tensor("blk.0.attn_q.bias", {kDim}, 0, ramp(1, kDim));
  builder.tensor("blk.0.attn_k.bias", {kKvDim}, 0, ramp(1, kKvDim));
  builder.tensor("blk.0.attn_v.bias", {kKvDim}, 0, ramp(1, kKvDim));
  const auto model = Checkpoint::open(folder.write("a.gguf", builder.build()));
  EXPECT_TRUE(model->spec().layers[0].attention->qkv_bias);
  EXPECT_FALSE(model->spec().layers[0].attention->output_bias);
  EXPECT_NE(model->find("layers.0.attention.k.bias"), nullptr);
}

TEST(GgufCheckpoint, RopeFactorsReachTheSpec) {
  TempFolder folder;
  GgufBuilder plain = tiny_gguf_metadata();
  add_gguf_tensors(plain, tiny_gguf_shapes());
  GgufBuilder scaled = tiny_gguf_metadata();
  Shapes shapes = tiny_gguf_shapes();
  shapes["rope_freqs"] = {kKvDim / 2};
  add_gguf_tensors(scaled, shapes);  // factors 0, 0.01, …
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(folder.write("bad.gguf", scaled.build())); },
      {});
  scaled = tiny_gguf_metadata();
  add_gguf_tensors(scaled, tiny_gguf_shapes());
  std::string factors;
  for (int i = 0; i < kKvDim / 2; ++i) {
    put(factors, 2.0f);
  }
  scaled.tensor("rope_freqs.weight", {kKvDim / 2}, 0, factors);
  const auto frequency = [&](const char* name, const GgufBuilder& file) {
    const auto model = Checkpoint::open(folder.write(name, file.build()));
    return model->spec()
        .layers[0]
        .attention->rope->regimes.at(0)
        .frequencies.at(1);
  };
  EXPECT_FLOAT_EQ(
      frequency("scaled.gguf", scaled),
      frequency("plain.gguf", plain) / 2);
}

TEST(GgufCheckpoint, EndTokensComeFromTheVocabulary) {
  TempFolder folder;
  GgufBuilder builder = tiny_gguf_metadata();
  std::vector<std::string> tokens(kVocab, "x");
  std::vector<std::int32_t> types(kVocab, 1);
  tokens[30] = "<|im_end|>";
  types[30] = 3;
  tokens[31] = "<|eot_id|>";  // no control token: a piece of text
  builder.texts("tokenizer.ggml.tokens", tokens)
      .numbers("tokenizer.ggml.token_type", kI32, types)
      .u32("tokenizer.ggml.eos_token_id", 5);
  GgufBuilder with_turn_end = builder;
  with_turn_end.u32("tokenizer.ggml.eot_token_id", 6);
  add_gguf_tensors(builder, tiny_gguf_shapes());
  add_gguf_tensors(with_turn_end, tiny_gguf_shapes());
  EXPECT_EQ(
      Checkpoint::open(folder.write("a.gguf", builder.build()))
          ->spec()
          .eos_tokens,
      (std::vector<std::int32_t>{5, 30}));
  EXPECT_EQ(
      Checkpoint::open(folder.write("b.gguf", with_turn_end.build()))
          ->spec()
          .eos_tokens,
      (std::vector<std::int32_t>{5, 6}));
}

/// The tiny model's tensors in two files.
class PartsTest : public ::testing::Test {
 protected:
  PartsTest() {
    Shapes first;
    for (const auto& [name, shape] : tiny_gguf_shapes()) {
      (first.size() < 3 ? first : second_)[name] = shape;
    }
    path_ = folder_.write("m-00001-of-00002.gguf", part(0, first));
  }
  std::string part(std::uint32_t number, const Shapes& shapes) const {
    GgufBuilder builder = tiny_gguf_metadata();
    builder.u32("split.count", 2);
    builder.u32("split.no", number);
    builder.u32(
        "split.tensors.count",
        static_cast<std::uint32_t>(tiny_gguf_shapes().size()));
    add_gguf_tensors(builder, shapes);
    return builder.build();
  }

  TempFolder folder_;
  Shapes second_;
  std::filesystem::path path_;
};

TEST_F(PartsTest, AreOneModelByTheFirstOne) {
  folder_.write("m-00002-of-00002.gguf", part(1, second_));
  GgufBuilder whole = tiny_gguf_metadata();
  add_gguf_tensors(whole, tiny_gguf_shapes());
  const auto one = Checkpoint::open(folder_.write("w.gguf", whole.build()));
  const auto parts = Checkpoint::open(path_);
  ASSERT_EQ(parts->tensors().size(), one->tensors().size());
  for (const Tensor& tensor : one->tensors()) {
    const Tensor* same = parts->find(tensor.name);
    ASSERT_NE(same, nullptr) << tensor.name;
    EXPECT_TRUE(std::equal(
        tensor.bytes.begin(),
        tensor.bytes.end(),
        same->bytes.begin(),
        same->bytes.end()));
  }
}

TEST_F(PartsTest, ThatAreMissingSwappedOrNamedAloneAreTold) {
  expect_error<UserError>(
      [&] { Checkpoint::open(path_); },
      {"m-00002-of-00002.gguf is missing", "part 2 of the 2"});
  const auto second = folder_.write("m-00002-of-00002.gguf", part(1, second_));
  expect_error<UserError>(
      [&] { Checkpoint::open(second); },
      {"is part 2 of 2", "m-00001-of-00002.gguf"});
  folder_.write("m-00002-of-00002.gguf", part(0, second_));
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(path_); },
      {"another part"});
  folder_.write("m-00002-of-00002.gguf", part(1, tiny_gguf_shapes()));
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(path_); },
      {"is in two parts"});
  second_.erase(second_.begin());
  folder_.write("m-00002-of-00002.gguf", part(1, second_));
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(path_); },
      {"tensors, and it says"});
  const auto other = folder_.write("a.gguf", part(0, second_));
  expect_error<UserError>(
      [&] { Checkpoint::open(other); },
      {"-00001-of-00002.gguf", "own names"});
}

TEST(GgufCheckpoint, FilesWithoutWeightsAndFoldersOfSeveralAreNamed) {
  TempFolder folder;
  GgufBuilder whole = tiny_gguf_metadata();
  add_gguf_tensors(whole, tiny_gguf_shapes());
  folder.write("a.gguf", whole.build());
  expect_error<CheckpointError>(
      [&] {
        Checkpoint::open(folder.write("b.gguf", tiny_gguf_metadata().build()));
      },
      {"holds no weights"});
  expect_error<UserError>(
      [&] { Checkpoint::open(folder.path()); },
      {"several", "a.gguf"});
}

TEST(GgufCheckpoint, MetadataThatContradictsTheTensorsIsNamed) {
  TempFolder folder;
  GgufBuilder builder = tiny_gguf_metadata();
  Shapes shapes = tiny_gguf_shapes();
  shapes["blk.0.ffn_up"] = {kHidden / 2, kDim};
  add_gguf_tensors(builder, shapes);
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(folder.write("a.gguf", builder.build())); },
      {"blk.0.ffn_up.weight", "64 × 32", "32 × 32"});
}

TEST(Checkpoint, PathsThatAreNoModelAreNamed) {
  TempFolder folder;
  expect_error<UserError>(
      [&] { Checkpoint::open(folder.path() / "none"); },
      {"There is no"});
  expect_error<UserError>(
      [&] {
        Checkpoint::open(folder.write("model.safetensors", "12345678{}"));
      },
      {"weights only", "folder"});
  expect_error<UnsupportedError>(
      [&] { Checkpoint::open(folder.write("model.bin", "PK")); },
      {"run any code", "safetensors"});
  expect_error<UserError>(
      [&] { Checkpoint::open(folder.write("a.gguf", "")); },
      {"empty"});
  expect_error<CheckpointError>(
      [&] { Checkpoint::open(folder.write("b.gguf", "<html>")); },
      {"web page"});
}

}  // namespace
}  // namespace roofline
