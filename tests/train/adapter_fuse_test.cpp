#include <gtest/gtest.h>

#include <set>

#include <mlx/ops.h>

#include "roofline/base/errors.h"
#include "roofline/model/adapter.h"
#include "roofline/model/logits.h"
#include "roofline/train/fuse.h"
#include "roofline/weights/convert/to_mlx.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/safetensors.h"
#include "train/training_helpers.h"

namespace roofline {
namespace {

using testing::logits_with;
using testing::max_error;
using testing::open_golden;
using testing::ScratchFolder;
using testing::to_host;
namespace fs = std::filesystem;

mx::array waves(int rows, int cols, float size) {
  return mx::multiply(
      mx::sin(mx::reshape(
          mx::arange(1.0, 1.0 + rows * cols, mx::float32),
          {rows, cols})),
      mx::array(size));
}

enum class Lengths { kept, given };

AdapterMatrix some_matrix(
    const Checkpoint& checkpoint,
    const char* name,
    float size,
    Lengths lengths) {
  const auto& tensor = checkpoint.at(name);
  const auto rows = static_cast<int>(tensor.rows);
  AdapterMatrix matrix{
      name,
      waves(3, static_cast<int>(tensor.cols), size),
      waves(rows, 3, size)};
  if (lengths == Lengths::given) {
    matrix.magnitude =
        mx::add(mx::reshape(waves(rows, 1, 0.3f), {rows}), mx::array(0.8f));
  }
  return matrix;
}

Adapter some_adapter(
    const Checkpoint& checkpoint,
    float size,
    Lengths lengths = Lengths::kept) {
  Adapter adapter;
  adapter.rank = 3;
  adapter.scale = 2;
  for (const char* name :
       {"layers.0.attention.q",
        "layers.0.attention.v",
        "layers.0.feed_forward.down",
        "layers.1.attention.q",
        "layers.1.attention.v",
        "layers.1.feed_forward.down"}) {
    adapter.matrices.push_back(some_matrix(checkpoint, name, size, lengths));
  }
  return adapter;
}

/// With the matrices as they are, through no file.
std::vector<float> logits_attached(
    const Checkpoint& checkpoint,
    const Adapter& adapter,
    std::span<const std::int32_t> ids) {
  TrainableOptions options;
  options.device = DeviceChoice::cpu;
  const auto decoder = load_trainable(checkpoint, options);
  attach(adapter, 1.0f, *decoder);
  return to_host(run_logits(*decoder, ids, 16));
}

std::set<std::string> modules_in(const fs::path& file) {
  const SafetensorsFile opened(file);
  std::set<std::string> names;
  for (const auto& entry : opened.entries()) {
    names.insert(entry.name.substr(0, entry.name.rfind(".lora")));
  }
  return names;
}

class AdapterTest : public ::testing::TestWithParam<std::string> {
 protected:
  AdapterTest() { mx::set_default_device(mx::Device::cpu); }
  testing::Golden golden_ = open_golden(GetParam());
  ScratchFolder folder_{"adapter"};
};

TEST_P(AdapterTest, BothFormsReadBackAsTheyWereWritten) {
  for (const auto lengths : {Lengths::kept, Lengths::given}) {
    const auto adapter = some_adapter(*golden_.checkpoint, 0.1f, lengths);
    std::vector<std::vector<float>> logits;
    for (const auto format : {AdapterFormat::mlx_lm, AdapterFormat::peft}) {
      const fs::path folder =
          folder_.path() / (format == AdapterFormat::peft ? "peft" : "mlx");
      fs::create_directories(folder);
      write_adapter(adapter, *golden_.checkpoint, folder, format);
      const auto read = read_adapter(folder, *golden_.checkpoint);
      EXPECT_FLOAT_EQ(read.scale, 2);
      EXPECT_GE(read.rank, 3);
      std::set<std::string> names;
      for (const auto& matrix : read.matrices) {
        names.insert(matrix.name);
      }
      for (const auto& matrix : adapter.matrices) {
        EXPECT_EQ(names.count(matrix.name), 1u) << matrix.name;
      }
      logits.push_back(
          logits_with(*golden_.checkpoint, {{folder, 1.0f}}, golden_.ids[0]));
    }
    EXPECT_EQ(logits[0], logits[1]);
    EXPECT_GT(max_error(logits[0], golden_.logits[0]), 0.01);
    // Files say the same as the matrices themselves.
    const auto attached =
        logits_attached(*golden_.checkpoint, adapter, golden_.ids[0]);
    EXPECT_LT(max_error(logits[0], attached), 1e-4);
  }
}

TEST_P(AdapterTest, SeveralAdaptersAddUpByTheirWeights) {
  const auto adapter = some_adapter(*golden_.checkpoint, 0.1f);
  write_adapter(
      adapter,
      *golden_.checkpoint,
      folder_.path(),
      AdapterFormat::mlx_lm);
  const auto once = logits_with(
      *golden_.checkpoint,
      {{folder_.path(), 1.0f}},
      golden_.ids[0]);
  const auto parts = logits_with(
      *golden_.checkpoint,
      {{folder_.path(), 0.25f}, {folder_.path(), 0.75f}},
      golden_.ids[0]);
  EXPECT_LT(max_error(once, parts), 1e-4);
  const auto opposite = logits_with(
      *golden_.checkpoint,
      {{folder_.path(), 1.0f}, {folder_.path(), -1.0f}},
      golden_.ids[0]);
  EXPECT_LT(max_error(opposite, golden_.logits[0]), 0.01);
}

TEST_P(AdapterTest, AFusedModelAnswersAsTheAdapterDoes) {
  for (const auto lengths : {Lengths::kept, Lengths::given}) {
    const ScratchFolder inner("fused");
    const Adapter adapters[] = {
        some_adapter(*golden_.checkpoint, 0.3f, lengths)};
    const fs::path own = inner.path() / "own";
    fs::create_directories(own);
    write_adapter(adapters[0], *golden_.checkpoint, own, AdapterFormat::mlx_lm);
    const float weights[] = {1.0f};
    const fs::path fused = inner.path() / "fused";
    write_changed_model(
        *golden_.checkpoint,
        adapter_changes(*golden_.checkpoint, adapters, weights),
        fused,
        FuseQuantized::decode,
        false);
    const auto adapted =
        logits_with(*golden_.checkpoint, {{own, 1.0f}}, golden_.ids[0]);
    const auto merged =
        logits_with(*Checkpoint::open(fused), {}, golden_.ids[0]);
    // The file holds bfloat16: 2⁻⁹ of each weight.
    double size = 0;
    for (const float value : adapted) {
      size = std::max(size, static_cast<double>(std::fabs(value)));
    }
    EXPECT_LT(max_error(adapted, merged), 0.05 * size);
    EXPECT_GT(max_error(adapted, golden_.logits[0]), 0.2 * size);
    EXPECT_THROW(
        write_changed_model(
            *golden_.checkpoint,
            adapter_changes(*golden_.checkpoint, adapters, weights),
            fused,
            FuseQuantized::decode,
            false),
        UserError)
        << "it is there already";
  }
}

TEST_P(AdapterTest, AnotherModelsAdapterIsNotFused) {
  const float weights[] = {1.0f};
  const auto narrower = [&](mx::array AdapterMatrix::*side, int axis) {
    Adapter adapters[] = {some_adapter(*golden_.checkpoint, 0.1f)};
    mx::array& values = adapters[0].matrices[0].*side;
    mx::Shape end = values.shape();
    end.at(static_cast<std::size_t>(axis)) -= 1;
    values = mx::slice(values, mx::Shape(end.size(), 0), end);
    (void)adapter_changes(*golden_.checkpoint, adapters, weights);
  };
  EXPECT_THROW(narrower(&AdapterMatrix::a, 1), CheckpointError);
  EXPECT_THROW(narrower(&AdapterMatrix::b, 0), CheckpointError);
}

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    AdapterTest,
    ::testing::Values("llama", "phi3", "gemma2", "gpt2"));

TEST(LatentAdapter, BothFormsAndTheFusedModelAnswerAlike) {
  mx::set_default_device(mx::Device::cpu);
  const auto golden = open_golden("deepseek_v3");
  for (const auto lengths : {Lengths::kept, Lengths::given}) {
    Adapter adapter;
    adapter.rank = 3;
    adapter.scale = 2;
    for (const char* name :
         {"layers.0.attention.q_a",
          "layers.0.attention.q_b",
          "layers.0.attention.kv_a",
          "layers.1.attention.kv_b"}) {
      adapter.matrices.push_back(
          some_matrix(*golden.checkpoint, name, 0.15f, lengths));
    }
    const ScratchFolder folder("latent");
    std::vector<std::vector<float>> logits;
    for (const auto format : {AdapterFormat::mlx_lm, AdapterFormat::peft}) {
      const fs::path own =
          folder.path() / (format == AdapterFormat::peft ? "peft" : "mlx");
      fs::create_directories(own);
      write_adapter(adapter, *golden.checkpoint, own, format);
      logits.push_back(
          logits_with(*golden.checkpoint, {{own, 1.0f}}, golden.ids[0]));
    }
    EXPECT_EQ(logits[0], logits[1]);
    EXPECT_GT(max_error(logits[0], golden.logits[0]), 0.2);
    const float weights[] = {1.0f};
    write_changed_model(
        *golden.checkpoint,
        adapter_changes(*golden.checkpoint, {&adapter, 1}, weights),
        folder.path() / "fused",
        FuseQuantized::decode,
        false);
    const auto fused = Checkpoint::open(folder.path() / "fused");
    // bfloat16 of the changed weights.
    EXPECT_LT(
        max_error(logits_with(*fused, {}, golden.ids[0]), logits[0]),
        0.1);
    const auto config =
        read_json_file(folder.path() / "peft/adapter_config.json");
    const std::set<std::string> targets = config["target_modules"];
    EXPECT_EQ(
        targets,
        (std::set<std::string>{
            "q_a_proj",
            "q_b_proj",
            "kv_a_proj_with_mqa",
            "kv_b_proj"}));
  }
}

/// Under its modules' own names other programs find an adapter: matrices that
/// a model has as one get one, too.
TEST(AdapterModules, AreThoseOfTheModelsFiles) {
  mx::set_default_device(mx::Device::cpu);
  using Names = std::set<std::string>;
  for (const auto& [model, form, modules] :
       {std::tuple(
            "phi3",
            AdapterFormat::mlx_lm,
            Names{
                "model.layers.0.self_attn.qkv_proj",
                "model.layers.0.mlp.gate_up_proj"}),
        {"gpt_neox",
         AdapterFormat::mlx_lm,
         Names{
             "model.h.0.attention.query_key_value",
             "model.h.0.mlp.dense_h_to_4h"}},
        {"gpt2",
         AdapterFormat::peft,
         Names{
             "base_model.model.transformer.h.0.attn.c_attn",
             "base_model.model.transformer.h.0.mlp.c_fc"}}}) {
    const auto golden = open_golden(model);
    Adapter adapter;
    adapter.scale = 2;
    for (const char* name : {"attention.k", "attention.v", "feed_forward.up"}) {
      adapter.matrices.push_back(some_matrix(
          *golden.checkpoint,
          ("layers.0." + std::string(name)).c_str(),
          0.1f,
          Lengths::given));
    }
    const ScratchFolder folder("modules");
    write_adapter(adapter, *golden.checkpoint, folder.path(), form);
    const bool peft = form == AdapterFormat::peft;
    auto found = modules_in(
        folder.path() /
        (peft ? "adapter_model.safetensors" : "adapters.safetensors"));
    std::erase_if(found, [](const auto& name) { return name.ends_with(".m"); });
    EXPECT_EQ(found, modules) << model;
    const auto config = read_json_file(folder.path() / "adapter_config.json");
    EXPECT_EQ(peft ? config["r"] : config["lora_parameters"]["rank"], 6);
    EXPECT_LT(
        max_error(
            logits_with(
                *golden.checkpoint,
                {{folder.path(), 1.0f}},
                golden.ids[0]),
            logits_attached(*golden.checkpoint, adapter, golden.ids[0])),
        1e-4)
        << model;
  }
}

TEST(AdapterForms, PeftsPatternsGiveAModuleAnotherScale) {
  mx::set_default_device(mx::Device::cpu);
  const auto golden = open_golden("llama");
  Adapter adapter;
  adapter.scale = 2;
  for (const char* name : {"layers.0.attention.q", "layers.1.attention.q"}) {
    adapter.matrices.push_back(
        some_matrix(*golden.checkpoint, name, 0.1f, Lengths::kept));
  }
  const ScratchFolder folder("patterns");
  write_adapter(
      adapter,
      *golden.checkpoint,
      folder.path(),
      AdapterFormat::peft);
  const auto file = folder.path() / "adapter_config.json";
  auto config = read_json_file(file);
  config["alpha_pattern"] = {{"layers.1.self_attn.q_proj", 24}};
  config["rank_pattern"] = {{"layers.1.*q_proj", 6}};
  std::ofstream(file) << config.dump();
  const auto read = read_adapter(folder.path(), *golden.checkpoint);
  ASSERT_EQ(read.matrices.size(), 2u);
  EXPECT_FLOAT_EQ(read.scale, 2);
  // 24 / 6 is twice the 6 / 3 of the others.
  EXPECT_LT(
      max_error(to_host(read.matrices[0].b), to_host(adapter.matrices[0].b)),
      1e-6);
  EXPECT_LT(
      max_error(
          to_host(read.matrices[1].b),
          to_host(mx::multiply(adapter.matrices[1].b, mx::array(2.0f)))),
      1e-6);
}

TEST(AdapterForms, AScaleThatOnlyAPatternGivesIsKept) {
  mx::set_default_device(mx::Device::cpu);
  const auto golden = open_golden("llama");
  Adapter adapter;
  adapter.scale = 2;
  for (const char* name : {"layers.0.attention.q", "layers.1.attention.q"}) {
    adapter.matrices.push_back(
        some_matrix(*golden.checkpoint, name, 0.1f, Lengths::kept));
  }
  const ScratchFolder folder("only_pattern");
  write_adapter(
      adapter,
      *golden.checkpoint,
      folder.path(),
      AdapterFormat::peft);
  const auto file = folder.path() / "adapter_config.json";
  auto config = read_json_file(file);
  config["lora_alpha"] = 0;
  config["alpha_pattern"] = {{"layers.1.self_attn.q_proj", 12}};
  std::ofstream(file) << config.dump();
  const auto read = read_adapter(folder.path(), *golden.checkpoint);
  ASSERT_EQ(read.matrices.size(), 2u);
  const auto scaled = [&](std::size_t i) {
    return to_host(mx::multiply(read.matrices[i].b, mx::array(read.scale)));
  };
  for (const float value : scaled(0)) {
    EXPECT_EQ(value, 0);
  }
  EXPECT_LT(
      max_error(
          scaled(1),
          to_host(mx::multiply(adapter.matrices[1].b, mx::array(4.0f)))),
      1e-6);
}

std::vector<float> decoded(const Tensor& tensor) {
  const auto cols = static_cast<std::size_t>(tensor.cols);
  std::vector<float> values(static_cast<std::size_t>(tensor.rows) * cols);
  for (std::int64_t row = 0; row < tensor.rows; ++row) {
    decode_row(
        tensor,
        row,
        std::span(values).subspan(static_cast<std::size_t>(row) * cols, cols));
  }
  return values;
}

double squares_apart(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += (a[i] - b[i]) * static_cast<double>(a[i] - b[i]);
  }
  return sum;
}

/// Held against MLX's own codes of the same fused weights.
TEST(FusedCodes, AreAsNearToTheWeightsAsMlxsOwn) {
  mx::set_default_device(mx::Device::cpu);
  const auto golden = open_golden("llama");
  for (const int bits : {4, 8}) {
    const ScratchFolder folder("codes");
    ToMlxOptions form;
    form.quantize = MlxForm{bits, 32, "affine"};
    convert_to_mlx(golden.checkpoint->path(), folder.path() / "base", form);
    const auto base = Checkpoint::open(folder.path() / "base");
    const Adapter adapters[] = {some_adapter(*base, 0.1f)};
    const float weights[] = {1.0f};
    write_changed_model(
        *base,
        adapter_changes(*base, adapters, weights),
        folder.path() / "fused",
        FuseQuantized::requantize,
        false);
    const auto fused = Checkpoint::open(folder.path() / "fused");
    for (const auto& matrix : adapters[0].matrices) {
      const Tensor& tensor = base->at(matrix.name);
      const auto stored = decoded(tensor);
      const auto wanted = to_host(mx::add(
          mx::array(
              stored.data(),
              {static_cast<int>(tensor.rows), static_cast<int>(tensor.cols)}),
          mx::multiply(mx::array(2.0f), mx::matmul(matrix.b, matrix.a))));
      const mx::array half = mx::astype(
          mx::array(
              wanted.data(),
              {static_cast<int>(tensor.rows), static_cast<int>(tensor.cols)}),
          mx::bfloat16);
      const auto theirs = mx::quantize(half, 32, bits);
      const auto read = to_host(mx::astype(
          mx::dequantize(theirs[0], theirs[1], theirs[2], 32, bits),
          mx::float32));
      EXPECT_EQ(fused->at(matrix.name).encoding, Encoding::mlx_affine);
      EXPECT_LT(
          squares_apart(decoded(fused->at(matrix.name)), wanted),
          1.03 * squares_apart(read, wanted))
          << matrix.name << ", " << bits << " bits";
    }
  }
}

TEST(AdapterErrors, NameWhatIsWrong) {
  mx::set_default_device(mx::Device::cpu);
  const auto llama = open_golden("llama");
  const ScratchFolder folder("wrong");
  EXPECT_THROW(read_adapter(folder.path(), *llama.checkpoint), UserError);
  auto adapter = some_adapter(*llama.checkpoint, 0.1f);
  adapter.matrices[0].a = waves(3, 8, 0.1f);  // not the model's width
  write_adapter(
      adapter,
      *llama.checkpoint,
      folder.path(),
      AdapterFormat::mlx_lm);
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  const AdapterChoice choice{folder.path(), 1.0f};
  EXPECT_THROW(
      load_with_adapters(*llama.checkpoint, options, {&choice, 1}),
      CheckpointError);
}

}  // namespace
}  // namespace roofline
