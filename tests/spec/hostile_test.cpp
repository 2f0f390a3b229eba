#include <limits>
#include <random>

#include "roofline/spec/tensor_names.h"
#include "spec/spec_testing.h"

// Configs changed at random, the same way in every run: a spec that is sound,
// or one of our own errors, and nothing else may come out.

namespace roofline {
namespace {

using Json = nlohmann::json;
using Random = std::mt19937;

std::size_t below(Random& random, std::size_t count) {
  return random() % count;
}

Json hostile_value(Random& random) {
  static const std::vector<Json> values = {
      nullptr,
      true,
      false,
      0,
      1,
      -1,
      2,
      3,
      7,
      64,
      4096,
      1 << 20,
      (1 << 20) + 1,
      INT32_MAX,
      INT64_MIN,
      INT64_MAX,
      UINT64_MAX,
      0.5,
      -0.0,
      1e30,
      -1e300,
      5e-324,
      std::numeric_limits<double>::infinity(),
      std::numeric_limits<double>::quiet_NaN(),
      "",
      "llama",
      "yarn",
      "longrope",
      "\xff\xfe",
      std::string(5000, 'x'),
      Json::array(),
      Json::object(),
      Json::array({1, "two", nullptr}),
      Json::array({Json::array({Json::object()})}),
      {{"rope_type", "dynamic"}, {"factor", 2}},
      {{"full_attention", 3}},
  };
  return values[below(random, values.size())];
}

/// Every key of every object in a config, as paths.
void gather(
    const Json& value,
    const Json::json_pointer& at,
    std::vector<Json::json_pointer>& out) {
  if (!value.is_structured()) {
    return;
  }
  for (const auto& [key, inner] : value.items()) {
    const auto path =
        value.is_array() ? at / std::stoul(key) : at / std::string(key);
    out.push_back(path);
    gather(inner, path, out);
  }
}

void mutate(Json& config, Random& random) {
  std::vector<Json::json_pointer> paths;
  gather(config, Json::json_pointer(), paths);
  if (paths.empty()) {
    return;
  }
  const auto path = paths[below(random, paths.size())];
  Json& holder = config[path.parent_pointer()];
  switch (below(random, 4)) {
    case 0:
      if (holder.is_object()) {
        holder.erase(path.back());
      }
      break;
    case 1: {
      const Json copied = config[paths[below(random, paths.size())]];
      config[path] = copied;
      break;
    }
    default:
      config[path] = hostile_value(random);
  }
}

void expect_sound(const ModelSpec& spec) {
  EXPECT_GE(spec.dim, 1);
  EXPECT_GE(spec.layers.size(), 1u);
  EXPECT_LE(spec.layers.size(), 4096u);
  EXPECT_GE(expected_tensors(spec).size(), spec.layers.size());
  EXPECT_FALSE(describe(spec).empty());
  if (!spec.layers.back().attention) {
    return;
  }
  const AttentionSpec& a = *spec.layers.back().attention;
  EXPECT_GE(a.kv_heads, 1);
  EXPECT_EQ(a.heads % a.kv_heads, 0);
  if (a.rope) {
    EXPECT_LE(a.rope->rotated_dims, a.head_dim);
    for (std::int64_t tokens : {std::int64_t{1}, std::int64_t{1} << 40}) {
      EXPECT_EQ(
          static_cast<int>(a.rope->regime_for(tokens).frequencies.size()) * 2,
          a.rope->rotated_dims);
    }
  }
}

template <class Read>
void expect_only_our_errors(const Json& start, unsigned seed, Read read) {
  Random random(seed);
  int sound = 0;
  int refused = 0;
  for (int round = 0; round < 600; ++round) {
    Json config = start;
    const std::size_t changes = 1 + below(random, 3);
    for (std::size_t i = 0; i < changes; ++i) {
      mutate(config, random);
    }
    try {
      expect_sound(read(config));
      ++sound;
    } catch (const CheckpointError&) {
      ++refused;
    } catch (const UnsupportedError&) {
      ++refused;
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what() << " from round " << round << " of seed "
                    << seed;
    }
  }
  // Both happen, or the changes are not what they should be.
  EXPECT_GT(sound, 20);
  EXPECT_GT(refused, 20);
}

class Hostile : public testing::TestWithParam<std::string> {};

TEST_P(Hostile, ChangedConfigsGiveASpecOrOurError) {
  const Json config = golden_config(GetParam());
  expect_only_our_errors(config, 1, [](const Json& changed) {
    return read_config(changed);
  });
}

INSTANTIATE_TEST_SUITE_P(
    All,
    Hostile,
    testing::ValuesIn(golden_names()),
    [](const auto& info) { return info.param; });

TEST(HostileGguf, ChangedMetadataGivesASpecOrOurError) {
  unsigned seed = 1;
  for (const char* name :
       {"llama",
        "qwen2",
        "qwen3",
        "gemma",
        "gemma2",
        "gemma3",
        "granite",
        "olmo2",
        "phi3",
        "smollm3"}) {
    const std::string at = std::string(name) + ".";
    const Json metadata = {
        {"general.architecture", name},
        {at + "block_count", 3},
        {at + "context_length", 512},
        {at + "embedding_length", 64},
        {at + "feed_forward_length", {128, 128, 128}},
        {at + "attention.head_count", 4},
        {at + "attention.head_count_kv", {2, 2, 2}},
        {at + "attention.key_length", 16},
        {at + "attention.layer_norm_rms_epsilon", 1e-5},
        {at + "rope.freq_base", 10000.0},
        {at + "rope.dimension_count", 16},
        {at + "rope.scaling.type", "yarn"},
        {at + "rope.scaling.factor", 4.0},
        {at + "attention.scale", 0.25},
        {"tokenizer.ggml.eos_token_id", 2},
        {"tokenizer.ggml.tokens.length", 256}};
    expect_only_our_errors(metadata, seed++, [](const Json& changed) {
      return read_gguf_metadata(changed, {});
    });
  }
}

TEST(HostileNames, AnyNameIsMappedOrRefused) {
  const ModelSpec spec = read_config(golden_config("phi3"));
  Random random(3);
  const std::string start = "model.layers.2.self_attn.qkv_proj.bias";
  for (int round = 0; round < 5000; ++round) {
    std::string name = start;
    for (int i = 0; i < 3; ++i) {
      const std::size_t at = below(random, name.size());
      switch (below(random, 3)) {
        case 0:
          name.erase(at, 1 + below(random, 4));
          break;
        case 1:
          name.insert(at, 1, static_cast<char>(random()));
          break;
        default:
          name.insert(at, name.substr(below(random, name.size())));
      }
      if (name.empty()) {
        name.assign(1, '9');
      }
    }
    try {
      map_tensor_name(name, NameStyle::hugging_face, spec);
      map_tensor_name(name, NameStyle::gguf, spec);
    } catch (const CheckpointError&) {
    }
  }
}

TEST(HostileNesting, DeepValuesAreRefused) {
  Json deep = 1;
  for (int i = 0; i < 200000; ++i) {
    Json outer = Json::array();
    outer.push_back(std::move(deep));
    deep = std::move(outer);
  }
  Json config = golden_config("llama");
  config["rope_scaling"] = std::move(deep);
  expect_has(
      config_error<CheckpointError>(config),
      "nests values more than 64 deep");
}

}  // namespace
}  // namespace roofline
