#include <cmath>
#include <cstring>
#include <map>

#include "roofline/spec/tensor_names.h"
#include "spec/spec_testing.h"

// A decoder as plain as can be, in double precision: it shows that a ModelSpec
// holds all that the reference implementation computes, and no more.

namespace roofline {
namespace {

using Json = nlohmann::json;
using Row = std::vector<double>;
using Rows = std::vector<Row>;

struct Matrix {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<float> values;
};

float element(const char* at, const std::string& type) {
  std::uint32_t bits = 0;
  if (type == "BF16") {
    std::uint16_t half = 0;
    std::memcpy(&half, at, sizeof half);
    bits = std::uint32_t{half} << 16;
  } else {
    std::memcpy(&bits, at, sizeof bits);
  }
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return type == "I32" ? static_cast<float>(static_cast<std::int32_t>(bits))
                       : value;
}

std::map<std::string, Matrix> read_safetensors(
    const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(file), {});
  std::uint64_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof size);
  const Json header =
      Json::parse(bytes.substr(8, static_cast<std::size_t>(size)));
  std::map<std::string, Matrix> out;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      continue;
    }
    const auto shape = entry.at("shape").get<std::vector<std::int64_t>>();
    const auto type = entry.at("dtype").get<std::string>();
    const std::size_t width = type == "BF16" ? 2 : 4;
    const auto begin = entry.at("data_offsets")[0].get<std::size_t>();
    const auto end = entry.at("data_offsets")[1].get<std::size_t>();
    Matrix matrix;
    matrix.cols = shape.back();
    for (std::size_t at = begin; at < end; at += width) {
      matrix.values.push_back(element(&bytes[8 + size + at], type));
    }
    matrix.rows = static_cast<std::int64_t>(matrix.values.size()) / matrix.cols;
    out[name] = matrix;
  }
  return out;
}

class PlainDecoder {
 public:
  explicit PlainDecoder(const std::string& golden)
      : spec_(read_config(golden_config(golden))) {
    const std::string end = ".weight";
    for (const auto& [stored, matrix] :
         read_safetensors(golden_path(golden) / "model.safetensors")) {
      std::string name = stored;
      if (name.size() > end.size() &&
          name.compare(name.size() - end.size(), end.size(), end) == 0) {
        name.resize(name.size() - end.size());
      }
      for (const NamedRows& part :
           map_tensor_name(name, NameStyle::hugging_face, spec_)) {
        tensors_[part.name] = rows_of(matrix, part);
      }
    }
  }

  /// [tokens, vocab]
  Rows logits(const std::vector<int>& ids) const {
    Rows x;
    for (int id : ids) {
      Row row = row_of(at("embed"), id);
      for (double& value : row) {
        value *= spec_.embedding_scale;
      }
      x.push_back(row);
    }
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
      run_layer(static_cast<int>(i), x);
    }
    Rows out;
    const Matrix& head = at(spec_.tied_embeddings ? "embed" : "head");
    for (const Row& row : x) {
      Row logits = times(normed(row, "final_norm", spec_.final_norm), head);
      for (double& value : logits) {
        value *= spec_.logit_scale;
        if (spec_.logit_softcap) {
          value =
              *spec_.logit_softcap * std::tanh(value / *spec_.logit_softcap);
        }
      }
      out.push_back(logits);
    }
    return out;
  }

 private:
  static Matrix rows_of(const Matrix& matrix, const NamedRows& part) {
    if (part.rows == 0) {
      return matrix;
    }
    const auto first = matrix.values.begin() + part.row_begin * matrix.cols;
    return {part.rows, matrix.cols, {first, first + part.rows * matrix.cols}};
  }

  const Matrix& at(const std::string& name) const { return tensors_.at(name); }

  static Row row_of(const Matrix& matrix, std::int64_t row) {
    const auto first = matrix.values.begin() + row * matrix.cols;
    return {first, first + matrix.cols};
  }

  static Row times(const Row& x, const Matrix& w) {
    Row out;
    for (std::int64_t row = 0; row < w.rows; ++row) {
      double sum = 0;
      for (std::int64_t col = 0; col < w.cols; ++col) {
        sum += x[static_cast<std::size_t>(col)] *
               w.values[static_cast<std::size_t>(row * w.cols + col)];
      }
      out.push_back(sum);
    }
    return out;
  }

  Row linear(const Row& x, const std::string& name, bool bias) const {
    Row out = times(x, at(name));
    for (std::size_t i = 0; bias && i < out.size(); ++i) {
      out[i] += at(name + ".bias").values[i];
    }
    return out;
  }

  Row normed(const Row& x, const std::string& name, const NormSpec& norm)
      const {
    const Matrix& weight = at(name);
    double sum = 0;
    for (double value : x) {
      sum += value * value;
    }
    const double scale =
        1 / std::sqrt(sum / static_cast<double>(x.size()) + norm.eps);
    Row out;
    for (std::size_t i = 0; i < x.size(); ++i) {
      out.push_back(
          x[i] * scale * (weight.values[i] + (norm.plus_one ? 1.0 : 0.0)));
    }
    return out;
  }

  void rotate(
      double* head,
      const RopeSpec& rope,
      const RopeRegime& regime,
      std::size_t position) const {
    const auto pairs = static_cast<std::size_t>(rope.rotated_dims) / 2;
    ASSERT_EQ(regime.frequencies.size(), pairs);
    ASSERT_EQ(rope.layout, RopeLayout::half_split);
    for (std::size_t i = 0; i < pairs; ++i) {
      const double angle =
          static_cast<double>(position) * regime.frequencies[i];
      const double c = std::cos(angle) * regime.magnitude;
      const double s = std::sin(angle) * regime.magnitude;
      const double a = head[i];
      const double b = head[i + pairs];
      head[i] = a * c - b * s;
      head[i + pairs] = b * c + a * s;
    }
  }

  /// Queries or keys of all tokens, normed and rotated.
  Rows projected(
      const Rows& x,
      const std::string& name,
      int heads,
      const LayerSpec& layer) const {
    const AttentionSpec& a = *layer.attention;
    const auto dims = static_cast<std::size_t>(a.head_dim);
    Rows out;
    for (std::size_t position = 0; position < x.size(); ++position) {
      Row row = linear(x[position], name, a.qkv_bias);
      if (a.qk_norm == QkNorm::whole) {
        row = normed(row, name + "_norm", layer.norm);
      }
      for (int head = 0; head < heads; ++head) {
        double* first = &row[static_cast<std::size_t>(head) * dims];
        if (a.qk_norm == QkNorm::per_head) {
          const Row part =
              normed(Row(first, first + dims), name + "_norm", layer.norm);
          std::copy(part.begin(), part.end(), first);
        }
        if (a.rope) {
          rotate(
              first,
              *a.rope,
              a.rope->regime_for(static_cast<std::int64_t>(x.size())),
              position);
        }
      }
      out.push_back(row);
    }
    return out;
  }

  static double dot(const double* a, const double* b, std::size_t count) {
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  /// One head of one query over the keys up to its own position.
  static Row attend(
      const AttentionSpec& a,
      const Row& q,
      const Rows& k,
      const Rows& v,
      std::size_t position,
      std::size_t head) {
    const auto dims = static_cast<std::size_t>(a.head_dim);
    const std::size_t group =
        head / static_cast<std::size_t>(a.heads / a.kv_heads) * dims;
    std::size_t first = 0;
    if (a.window_tokens &&
        position + 1 > static_cast<std::size_t>(*a.window_tokens)) {
      first = position + 1 - static_cast<std::size_t>(*a.window_tokens);
    }
    Row out(dims, 0.0);
    double total = 0;
    for (std::size_t key = first; key <= position; ++key) {
      double score = dot(&q[head * dims], &k[key][group], dims) * a.scale;
      if (a.softcap) {
        score = *a.softcap * std::tanh(score / *a.softcap);
      }
      const double weight = std::exp(score);
      total += weight;
      for (std::size_t i = 0; i < dims; ++i) {
        out[i] += weight * v[key][group + i];
      }
    }
    for (double& value : out) {
      value /= total;
    }
    return out;
  }

  Rows attention(
      const Rows& x,
      const std::string& at_name,
      const LayerSpec& layer) const {
    const AttentionSpec& a = *layer.attention;
    const Rows q = projected(x, at_name + "q", a.heads, layer);
    const Rows k = projected(x, at_name + "k", a.kv_heads, layer);
    Rows v;
    for (const Row& row : x) {
      v.push_back(linear(row, at_name + "v", a.qkv_bias));
    }
    Rows out;
    for (std::size_t position = 0; position < x.size(); ++position) {
      Row joined;
      for (std::size_t head = 0; head < static_cast<std::size_t>(a.heads);
           ++head) {
        const Row part = attend(a, q[position], k, v, position, head);
        joined.insert(joined.end(), part.begin(), part.end());
      }
      out.push_back(linear(joined, at_name + "o", a.output_bias));
    }
    return out;
  }

  static double activated(double x, Activation activation) {
    switch (activation) {
      case Activation::silu:
        return x / (1 + std::exp(-x));
      case Activation::gelu:
        return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
      case Activation::gelu_tanh:
        return 0.5 * x *
               (1 +
                std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      case Activation::relu:
        return std::max(x, 0.0);
      case Activation::relu_squared:
        return std::max(x, 0.0) * std::max(x, 0.0);
      default:  // no golden that this decoder runs has another
        throw BugError("another activation");
    }
  }

  Rows feed_forward(
      const Rows& x,
      const std::string& at_name,
      const FeedForwardSpec& f) const {
    Rows out;
    for (const Row& row : x) {
      Row gate = linear(row, at_name + "gate", f.bias);
      const Row up = linear(row, at_name + "up", f.bias);
      for (std::size_t i = 0; i < gate.size(); ++i) {
        gate[i] = activated(gate[i], f.activation) * up[i];
      }
      out.push_back(linear(gate, at_name + "down", f.bias));
    }
    return out;
  }

  Rows before(const Rows& x, const std::string& norm, const LayerSpec& layer)
      const {
    Rows out = x;
    for (Row& row : out) {
      if (layer.norm_placement != NormPlacement::post) {
        row = normed(row, norm, layer.norm);
      }
    }
    return out;
  }

  void join(
      Rows& x,
      const Rows& out,
      const std::string& post_norm,
      const LayerSpec& layer) const {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const bool post = layer.norm_placement != NormPlacement::pre;
      const Row part = post ? normed(out[i], post_norm, layer.norm) : out[i];
      for (std::size_t j = 0; j < part.size(); ++j) {
        x[i][j] += part[j] * layer.residual_scale;
      }
    }
  }

  void run_layer(int index, Rows& x) const {
    const LayerSpec& layer = spec_.layers[static_cast<std::size_t>(index)];
    const std::string at_name = "layers." + std::to_string(index) + ".";
    join(
        x,
        attention(
            before(x, at_name + "attention_norm", layer),
            at_name + "attention.",
            layer),
        at_name + "attention_post_norm",
        layer);
    join(
        x,
        feed_forward(
            before(x, at_name + "feed_forward_norm", layer),
            at_name + "feed_forward.",
            *layer.feed_forward),
        at_name + "feed_forward_post_norm",
        layer);
  }

  ModelSpec spec_;
  std::map<std::string, Matrix> tensors_;
};

/// Goldens of what the plain decoder can do: it is to prove the spec of the
/// llama-like families, without the decoder. The model tests run every golden.
std::vector<std::string> plain_goldens() {
  std::vector<std::string> names;
  for (const std::string& name : golden_names()) {
    const ModelSpec spec = read_config(golden_config(name));
    const LayerSpec& layer = spec.layers.front();
    if (missing_in_cpu_step(spec) || layer.norm.kind != NormKind::rms ||
        !layer.feed_forward->gated ||
        layer.norm_placement == NormPlacement::parallel ||
        (layer.attention->rope &&
         layer.attention->rope->layout != RopeLayout::half_split)) {
      continue;
    }
    names.push_back(name);
  }
  return names;
}

class SpecLogits : public testing::TestWithParam<std::string> {};

TEST_P(SpecLogits, PlainDecoderOverTheSpecGivesTheReferenceLogits) {
  const PlainDecoder decoder(GetParam());
  const auto golden =
      read_safetensors(golden_path(GetParam()) / "golden.safetensors");
  const Matrix& ids = golden.at("input_ids");
  const Matrix& wanted = golden.at("logits");
  double squares = 0;
  for (float value : wanted.values) {
    squares += static_cast<double>(value) * value;
  }
  const double deviation =
      std::sqrt(squares / static_cast<double>(wanted.values.size()));
  const std::vector<int> first(
      ids.values.begin(),
      ids.values.begin() + ids.cols);
  const Rows logits = decoder.logits(first);
  double worst = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    for (std::size_t j = 0; j < logits[i].size(); ++j) {
      const auto at = i * static_cast<std::size_t>(wanted.cols) + j;
      worst = std::max(worst, std::abs(logits[i][j] - wanted.values[at]));
    }
  }
  // The reference rounds to float32 throughout; it comes to about 1e-5.
  EXPECT_LT(worst / deviation, 2e-4);
}

TEST_P(SpecLogits, GreedyContinuationFollowsTheReference) {
  const PlainDecoder decoder(GetParam());
  const Matrix greedy =
      read_safetensors(golden_path(GetParam()) / "golden.safetensors")
          .at("greedy");
  // Lengths on both sides of the places where rope changes its regime.
  for (std::int64_t known : {12, 19, 20, 21, 31, 32, 33, 35}) {
    const std::vector<int> ids(
        greedy.values.begin(),
        greedy.values.begin() + known);
    const Row last = decoder.logits(ids).back();
    const auto best = std::max_element(last.begin(), last.end());
    EXPECT_EQ(
        best - last.begin(),
        static_cast<std::ptrdiff_t>(
            greedy.values[static_cast<std::size_t>(known)]))
        << "after " << known << " tokens";
  }
}

INSTANTIATE_TEST_SUITE_P(
    All,
    SpecLogits,
    testing::ValuesIn(plain_goldens()),
    [](const auto& info) { return info.param; });

}  // namespace
}  // namespace roofline
