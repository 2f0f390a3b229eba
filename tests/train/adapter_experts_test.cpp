// Adapters that others make of a mixture's experts and router, and weights that
// were trained in full.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include <mlx/ops.h>
#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/model/adapter.h"
#include "roofline/model/adapter_full.h"
#include "roofline/model/logits.h"
#include "roofline/train/fuse.h"
#include "roofline/weights/save_arrays.h"
#include "train/training_helpers.h"

namespace roofline {
namespace {

using testing::logits_with;
using testing::max_error;
using testing::open_golden;
using testing::ScratchFolder;
using testing::to_host;
using Json = nlohmann::json;
using Arrays = std::vector<std::pair<std::string, mx::array>>;
namespace fs = std::filesystem;

mx::array waves(const mx::Shape& shape, float size) {
  float count = 1;
  for (const int extent : shape) {
    count *= static_cast<float>(extent);
  }
  const auto all = mx::sin(mx::arange(1.0, 1.0 + count, mx::float32));
  return mx::multiply(mx::reshape(all, shape), mx::array(size));
}

void write_folder(
    const fs::path& folder,
    const char* weights,
    const Arrays& arrays,
    const Json& config) {
  fs::create_directories(folder);
  save_arrays(folder / weights, arrays);
  std::ofstream(folder / "adapter_config.json") << config.dump();
}

constexpr int kRank = 2;

class ExpertAdapterTest : public ::testing::Test {
 protected:
  ExpertAdapterTest() {
    mx::set_default_device(mx::Device::cpu);
    while (!spec().layers.at(layer_).feed_forward->mixture) {
      ++layer_;
    }
    const auto& mixture = *spec().layers[layer_].feed_forward->mixture;
    experts_ = mixture.experts;
    width_ = mixture.expert_hidden;
  }
  const ModelSpec& spec() const { return golden_.checkpoint->spec(); }

  struct Pair {
    std::string module;
    mx::array a, b;
  };
  std::string module(const std::string& prefix) const {
    return prefix + "model.layers." + std::to_string(layer_) + ".mlp.";
  }
  /// [experts, rank, in] and [experts, out, rank] for each of a layer's.
  std::vector<Pair> stacks() const {
    const int dim = spec().dim;
    std::vector<Pair> out;
    for (const auto& [module, rows, cols] :
         {std::tuple{"gate_proj", width_, dim},
          {"up_proj", width_, dim},
          {"down_proj", dim, width_}}) {
      out.push_back(
          {module,
           waves({experts_, kRank, cols}, 0.3f),
           waves({experts_, rows, kRank}, 0.4f)});
    }
    return out;
  }

  /// mlx-lm's, with the router's too.
  fs::path in_mlx_form() const {
    const auto at = module("");
    Arrays arrays = {
        {at + "gate.lora_a", waves({spec().dim, kRank}, 0.3f)},
        {at + "gate.lora_b", waves({kRank, experts_}, 0.5f)}};
    for (const auto& each : stacks()) {
      arrays.emplace_back(at + "switch_mlp." + each.module + ".lora_a", each.a);
      arrays.emplace_back(at + "switch_mlp." + each.module + ".lora_b", each.b);
    }
    const fs::path folder = folder_.path() / "mlx";
    write_folder(
        folder,
        "adapters.safetensors",
        arrays,
        {{"fine_tune_type", "lora"}, {"lora_parameters", {{"scale", 2.0}}}});
    return folder;
  }

  /// PEFT's: each expert's own, the last without any.
  fs::path in_peft_form(int experts) const {
    const auto at = module("base_model.model.");
    Arrays arrays = {
        {at + "gate.lora_A.weight",
         mx::contiguous(mx::transpose(waves({spec().dim, kRank}, 0.3f)))},
        {at + "gate.lora_B.weight",
         mx::contiguous(mx::transpose(waves({kRank, experts_}, 0.5f)))}};
    for (const auto& each : stacks()) {
      for (int e = 0; e < experts; ++e) {
        const auto own_module =
            at + "experts." + std::to_string(e) + "." + each.module;
        const auto own = [&](const mx::array& x) {
          return mx::contiguous(mx::take(x, e % experts_, 0));
        };
        arrays.emplace_back(own_module + ".lora_A.weight", own(each.a));
        arrays.emplace_back(own_module + ".lora_B.weight", own(each.b));
      }
    }
    const fs::path folder = folder_.path() / "peft";
    write_folder(
        folder,
        "adapter_model.safetensors",
        arrays,
        {{"peft_type", "LORA"}, {"r", kRank}, {"lora_alpha", 2 * kRank}});
    return folder;
  }

  testing::Golden golden_ = open_golden("qwen3_moe");
  ScratchFolder folder_{"experts"};
  std::size_t layer_ = 0;
  int experts_ = 0;
  int width_ = 0;
};

TEST_F(ExpertAdapterTest, BothFormsAndTheFusedModelAnswerAlike) {
  const auto& base = *golden_.checkpoint;
  const auto ids = golden_.ids[0];
  const auto mlx = in_mlx_form();
  const auto adapted = logits_with(base, {{mlx, 1.0f}}, ids);
  EXPECT_GT(max_error(adapted, golden_.logits[0]), 0.2);
  EXPECT_LT(
      max_error(
          adapted,
          logits_with(base, {{in_peft_form(experts_), 1.0f}}, ids)),
      1e-5);
  const Adapter adapters[] = {read_adapter(mlx, base)};
  const float weights[] = {1.0f};
  write_changed_model(
      base,
      adapter_changes(base, adapters, weights),
      folder_.path() / "fused",
      FuseQuantized::decode,
      false);
  const auto fused = Checkpoint::open(folder_.path() / "fused");
  // Files hold bfloat16.
  EXPECT_LT(max_error(adapted, logits_with(*fused, {}, ids)), 0.05);
}

/// [experts, rank, in] → [experts · rank, in]
mx::array flat_a(const mx::array& a) {
  return mx::contiguous(mx::reshape(a, {a.shape(0) * a.shape(1), a.shape(2)}));
}

/// [experts, out, rank] → [out, rank · experts]
mx::array flat_b(const mx::array& b) {
  return mx::contiguous(mx::reshape(
      mx::transpose(b, {1, 2, 0}),
      {b.shape(1), b.shape(2) * b.shape(0)}));
}

/// PEFT of transformers 5 has no modules for experts but wraps parameters.
TEST_F(ExpertAdapterTest, PeftsWrappedParametersAreTheSame) {
  const auto& base = *golden_.checkpoint;
  const auto all = stacks();
  const auto at = module("base_model.model.") + "experts";
  const auto none = [](const mx::array& b) { return mx::zeros_like(b); };
  const auto gate_up_a = mx::concatenate({all[0].a, all[1].a}, 1);
  const auto gate_up_b = mx::concatenate(
      {mx::concatenate({all[0].b, none(all[0].b)}, 2),
       mx::concatenate({none(all[1].b), all[1].b}, 2)},
      1);
  const fs::path folder = folder_.path() / "wrapped";
  write_folder(
      folder,
      "adapter_model.safetensors",
      {{at + ".base_layer.lora_A.weight", flat_a(gate_up_a)},
       {at + ".base_layer.lora_B.weight", flat_b(gate_up_b)},
       {at + ".lora_A.weight", flat_a(all[2].a)},
       {at + ".lora_B.weight", flat_b(all[2].b)}},
      {{"peft_type", "LORA"},
       {"r", kRank},
       {"lora_alpha", 2 * kRank},
       {"rank_pattern", {{".*\\.gate_up_proj", 2 * kRank}}},
       {"alpha_pattern", {{".*\\.gate_up_proj", 4 * kRank}}}});
  auto each = read_adapter(in_peft_form(experts_), base);
  std::erase_if(each.matrices, [](const AdapterMatrix& matrix) {
    return !matrix.of_experts();  // the router's
  });
  const auto wrapped = read_adapter(folder, base);
  ASSERT_EQ(wrapped.matrices.size(), 3u);
  for (const auto& matrix : wrapped.matrices) {
    for (const auto& other : each.matrices) {
      if (other.name == matrix.name) {
        EXPECT_LT(
            max_error(
                to_host(mx::matmul(matrix.b, matrix.a)),
                to_host(mx::matmul(other.b, other.a))),
            1e-5)
            << matrix.name;
      }
    }
  }
  EXPECT_EQ(wrapped.scale, each.scale);
}

TEST_F(ExpertAdapterTest, AWrappedParameterIsToldByItsShape) {
  const auto& base = *golden_.checkpoint;
  const auto all = stacks();
  const auto at = module("base_model.model.") + "experts";
  const auto gate_up_a = flat_a(all[0].a);
  const auto gate_up_b = flat_b(mx::concatenate({all[0].b, all[1].b}, 1));
  const Arrays alone = {
      {at + ".lora_A.weight", gate_up_a},
      {at + ".lora_B.weight", gate_up_b}};
  Arrays both = alone;
  both.emplace_back(at + ".base_layer.lora_A.weight", flat_a(all[2].a));
  both.emplace_back(at + ".base_layer.lora_B.weight", flat_b(all[2].b));
  const Json config = {
      {"peft_type", "LORA"},
      {"r", kRank},
      {"lora_alpha", 2 * kRank}};
  for (const auto& [arrays, names] :
       {std::pair{alone, std::set<std::string>{"gate", "up"}},
        {both, {"gate", "up", "down"}}}) {
    const fs::path folder = folder_.path() / std::to_string(names.size());
    write_folder(folder, "adapter_model.safetensors", arrays, config);
    std::set<std::string> read;
    for (const auto& matrix : read_adapter(folder, base).matrices) {
      const std::string name = matrix.name.substr(matrix.name.rfind('.') + 1);
      read.insert(name);
      const auto& wanted = name == "down" ? all[2] : all[name == "up"];
      const auto& a = name == "down" ? all[2].a : all[0].a;
      EXPECT_LT(max_error(to_host(matrix.a), to_host(a)), 1e-6) << name;
      EXPECT_LT(max_error(to_host(matrix.b), to_host(wanted.b)), 1e-6) << name;
    }
    EXPECT_EQ(read, names);
  }
}

TEST(SharedGateAdapter, AttachedAndFusedAnswerAlike) {
  mx::set_default_device(mx::Device::cpu);
  const auto golden = open_golden("qwen2_moe");
  const auto& base = *golden.checkpoint;
  const ScratchFolder scratch("shared_gate");
  std::string at = "base_model.model.model.layers.1.mlp.shared_expert_gate.";
  const fs::path folder = scratch.path() / "peft";
  write_folder(
      folder,
      "adapter_model.safetensors",
      {{at + "lora_A.weight", waves({kRank, base.spec().dim}, 0.7f)},
       {at + "lora_B.weight", waves({1, kRank}, 2.0f)}},
      {{"peft_type", "LORA"}, {"r", kRank}, {"lora_alpha", 2 * kRank}});
  const auto ids = golden.ids[0];
  const auto adapted = logits_with(base, {{folder, 1.0f}}, ids);
  EXPECT_GT(max_error(adapted, golden.logits[0]), 0.1);
  const Adapter adapters[] = {read_adapter(folder, base)};
  const float weights[] = {1.0f};
  write_changed_model(
      base,
      adapter_changes(base, adapters, weights),
      scratch.path() / "fused",
      FuseQuantized::decode,
      false);
  const auto fused = Checkpoint::open(scratch.path() / "fused");
  // Files hold bfloat16.
  EXPECT_LT(max_error(adapted, logits_with(*fused, {}, ids)), 0.05);
}

TEST_F(ExpertAdapterTest, AnExpertWithoutMatricesStaysAsItIs) {
  const auto& base = *golden_.checkpoint;
  const auto read = read_adapter(in_peft_form(experts_ - 1), base);
  int stacks = 0;
  for (const auto& matrix : read.matrices) {
    if (matrix.of_experts()) {
      ++stacks;
      EXPECT_EQ(matrix.a.shape(0), experts_);
      const auto last = mx::take(matrix.b, experts_ - 1, 0);
      EXPECT_EQ(mx::max(mx::abs(last)).item<float>(), 0.0f);
      EXPECT_GT(mx::max(mx::abs(matrix.b)).item<float>(), 0.0f);
    }
  }
  EXPECT_EQ(stacks, 3);
  EXPECT_THROW(read_adapter(in_peft_form(experts_ + 1), base), CheckpointError);
}

TEST_F(ExpertAdapterTest, AreWrittenInNoOtherForm) {
  const auto read = read_adapter(in_mlx_form(), *golden_.checkpoint);
  EXPECT_THROW(
      write_adapter(
          read,
          *golden_.checkpoint,
          folder_.path() / "again",
          AdapterFormat::peft),
      UnsupportedError);
}

class FullAdapterTest : public ::testing::TestWithParam<std::string> {};

TEST_P(FullAdapterTest, StandsInThePlaceOfTheModelsWeights) {
  mx::set_default_device(mx::Device::cpu);
  const auto golden = open_golden(GetParam());
  const auto& base = *golden.checkpoint;
  const ScratchFolder folder("full");
  Arrays arrays;
  const auto& attention = *base.spec().layers[1].attention;
  arrays.emplace_back(
      "model.layers.1.self_attn.q_proj.weight",
      waves({attention.heads * attention.head_dim, base.spec().dim}, 0.2f));
  arrays.emplace_back(
      "model.layers.1.input_layernorm.weight",
      waves({base.spec().dim}, 1.5f));
  const auto& layers = base.spec().layers;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& mixture = layers[i].feed_forward->mixture;
    if (!mixture) {
      continue;
    }
    arrays.emplace_back(
        "model.layers." + std::to_string(i) + ".mlp.switch_mlp.up_proj.weight",
        waves(
            {mixture->experts, mixture->expert_hidden, base.spec().dim},
            0.2f));
  }
  const auto own = folder.path() / "own";
  write_folder(
      own,
      "adapters.safetensors",
      arrays,
      {{"fine_tune_type", "full"}});
  const auto ids = golden.ids[0];
  const auto changed = logits_with(base, {{own, 1.0f}}, ids);
  EXPECT_GT(max_error(changed, golden.logits[0]), 0.2);
  const AdapterChoice choices[] = {{own, 1.0f}};
  const auto trained = with_full_weights(base, choices);
  ASSERT_NE(trained, nullptr);
  EXPECT_NE(trained->fingerprint(), base.fingerprint());
  WeightChanges changes;
  begin_with(*trained, base, changes);
  const auto fused = folder.path() / "fused";
  write_changed_model(base, changes, fused, FuseQuantized::decode, false);
  EXPECT_LT(
      max_error(changed, logits_with(*Checkpoint::open(fused), {}, ids)),
      0.05);
}

TEST_P(FullAdapterTest, IsNotWeighedNorForAnotherModel) {
  mx::set_default_device(mx::Device::cpu);
  const auto golden = open_golden(GetParam());
  const ScratchFolder folder("full_bad");
  const auto own = folder.path() / "own";
  write_folder(
      own,
      "adapters.safetensors",
      {{"model.layers.1.self_attn.q_proj.weight", waves({3, 5}, 0.2f)}},
      {{"fine_tune_type", "full"}});
  const auto& base = *golden.checkpoint;
  EXPECT_THROW(
      logits_with(base, {{own, 0.5f}}, golden.ids[0]),
      UnsupportedError);
  EXPECT_THROW(
      logits_with(base, {{own, 1.0f}, {own, 1.0f}}, golden.ids[0]),
      UnsupportedError);
  EXPECT_THROW(
      logits_with(base, {{own, 1.0f}}, golden.ids[0]),
      CheckpointError);
}

TEST(FullAdapterOfHybrids, IsForTheFolderWhoseNormsHaveTheirOne) {
  const ScratchFolder folder("full_hybrid");
  const auto own = folder.path() / "own";
  write_folder(
      own,
      "adapters.safetensors",
      {{"model.norm.weight", waves({32}, 1.0f)}},
      {{"fine_tune_type", "full"}});
  const AdapterChoice choices[] = {{own, 1.0f}};
  for (const char* name : {"qwen3_next", "falcon_h1_factors"}) {
    EXPECT_THROW(
        with_full_weights(*open_golden(name).checkpoint, choices),
        UnsupportedError)
        << name;
  }
  EXPECT_NE(
      with_full_weights(*open_golden("qwen3_next_mlx").checkpoint, choices),
      nullptr);
}

INSTANTIATE_TEST_SUITE_P(
    Goldens,
    FullAdapterTest,
    ::testing::Values("llama", "qwen3_moe"));

}  // namespace
}  // namespace roofline
