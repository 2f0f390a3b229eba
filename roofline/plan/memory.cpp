#include "roofline/plan/memory.h"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/kernels/block/step.h"
#include "roofline/kernels/packed_matrix.h"
#include "roofline/model/kv_cache.h"
#include "roofline/model/kv_memory.h"
#include "roofline/model/step_memory.h"
#include "roofline/plan/graph_memory.h"

namespace roofline {

namespace {

using Bytes = std::uint64_t;

/// The tensor classes of the table, by a part of our tensor names.
struct WeightClass {
  std::string_view title;
  std::string_view marker;
};
constexpr std::array<WeightClass, 6> kClasses = {{
    {"embedding", "embed"},
    {"head", "head"},
    {"experts", "experts"},
    {"attention", ".attention."},
    {"feed-forward", ".feed_forward."},
    {"norms and others", ""},
}};

std::string_view class_of(std::string_view name) {
  for (const WeightClass& kind : kClasses) {
    const std::size_t at = name.find(kind.marker);
    const bool anywhere =
        kind.marker.empty() || kind.marker[0] == '.' || kind.title == "experts";
    if (anywhere ? at != name.npos : at == 0) {
      return kind.title;
    }
  }
  return kClasses.back().title;
}

/// What the CPU step holds of a tensor: codes with the scales of their groups,
/// floats as they lie in the file (matrix_store.h).
struct Held {
  std::string format;
  Bytes bytes = 0;
};

Held held_on_cpu(const ModelTensor& tensor) {
  const bool matrix = tensor.rows > 1 && tensor.cols > 1;
  if (!tensor.quantized || !matrix || tensor.held.empty()) {
    return {tensor.format, tensor.bytes};
  }
  return {tensor.held, tensor.held_bytes};
}

/// Rows of an embedding that is no head are looked up in the file as it is: of
/// those that no token asked for nothing is in memory.
Held read_rows(const ModelTensor& tensor, std::int64_t tokens) {
  constexpr Bytes kPage = 4096;
  const Bytes row = tensor.bytes / static_cast<Bytes>(tensor.rows);
  const Bytes pages = (row + kPage - 1) / kPage * kPage;
  return {
      tensor.format + ", rows that are read",
      std::min(tensor.bytes, pages * static_cast<Bytes>(tokens))};
}

/// In the order of kClasses, formats apart. held: what is in memory of a
/// tensor.
template <class HeldOf>
void add_by_class(
    std::vector<MemoryPart>& out,
    const PlannedModel& model,
    const HeldOf& held) {
  for (const WeightClass& kind : kClasses) {
    std::map<std::string, Bytes> by_format;
    for (const ModelTensor& tensor : model.tensors) {
      if (class_of(tensor.name) == kind.title) {
        const Held here = held(tensor);
        by_format[here.format] += here.bytes;
      }
    }
    for (const auto& [format, bytes] : by_format) {
      out.push_back(
          {fmt::format("weights: {} ({})", kind.title, format),
           "weights",
           bytes});
    }
  }
}

void add_weights(
    MemoryPrediction& out,
    const PlannedModel& model,
    const InferenceQuestion& q) {
  const bool graph = !q.gpu && runs_as_graph_on_cpu(model.spec);
  add_by_class(out.parts, model, [&](const ModelTensor& tensor) {
    if (q.gpu) {
      return Held{tensor.format, tensor.bytes};
    }
    if (graph) {
      return held_as_float32(tensor)
                 ? Held{"f32", static_cast<Bytes>(tensor.count()) * 4}
                 : held_on_cpu(tensor);
    }
    const bool looked_up = class_of(tensor.name) == "embedding" &&
                           tensor.rows > 1 && !model.spec.tied_embeddings &&
                           !tensor.quantized;
    return looked_up ? read_rows(tensor, q.batch * q.context_tokens)
                     : held_on_cpu(tensor);
  });
}

struct CacheBytes {
  double full = 0;
  double window = 0;
  double latent = 0;
  double state = 0;
  double largest_layer = 0;
};

void add_attention_cache(
    CacheBytes& sum,
    const AttentionSpec& a,
    const InferenceQuestion& q) {
  if (a.shares_kv_of_layer) {
    return;
  }
  KvOptions options;
  options.max_chunk = q.prefill_step;
  options.format = q.kv;
  options.dtype = q.kv_float_bits == 32 ? mx::float32 : mx::float16;
  const auto bytes = static_cast<double>(
      KvCache::layer_bytes_for(a, options, q.context_tokens));
  (a.latent ? sum.latent : a.window_tokens ? sum.window : sum.full) += bytes;
  sum.largest_layer = std::max(sum.largest_layer, bytes);
}

CacheBytes cache_bytes(const ModelSpec& spec, const InferenceQuestion& q) {
  CacheBytes sum;
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention) {
      add_attention_cache(sum, *layer.attention, q);
    }
    if (layer.recurrent) {
      sum.state += static_cast<double>(state_bytes(*layer.recurrent));
    }
  }
  return sum;
}

/// What is there twice while a cache grows: a layer's arrays, or in the fused
/// step a block of them, of which a small cache never fills one.
double growing_bytes(
    const CacheBytes& cache,
    const InferenceQuestion& q,
    bool fused) {
  if (!fused || q.context_tokens <= q.prefill_step) {
    return cache.largest_layer;
  }
  return std::max(
      cache.largest_layer,
      std::min(
          static_cast<double>(KvMemory::kBlockBytes),
          (cache.full + cache.window) / 2));
}

/// The widest of a layer's activations, over all layers.
struct Widths {
  double qkv = 0;
  double q = 0;
  double hidden = 0;
  double rope = 0;
  int head_dim = 0;
  bool quantized = false;
};

Widths widths_of(const PlannedModel& model) {
  Widths w;
  for (const LayerSpec& layer : model.spec.layers) {
    if (const auto& a = layer.attention) {
      const double q = 1.0 * a->heads * a->head_dim;
      w.q = std::max(w.q, q);
      w.head_dim = std::max(w.head_dim, a->head_dim);
      w.qkv = std::max(w.qkv, q + 2.0 * a->kv_heads * a->head_dim);
      if (a->rope) {
        w.rope = std::max(w.rope, 2.0 * a->rope->rotated_dims);
      }
    }
    if (const auto& f = layer.feed_forward) {
      double hidden = f->hidden;
      if (f->mixture) {
        hidden += 1.0 * f->mixture->top_k * f->mixture->expert_hidden +
                  f->mixture->shared_hidden;
      }
      w.hidden = std::max(w.hidden, hidden);
    }
  }
  w.quantized = std::any_of(
      model.tensors.begin(),
      model.tensors.end(),
      [](const ModelTensor& t) { return t.quantized; });
  return w;
}

/// StepScratch::State::fit for `rows` tokens.
double scratch_bytes(const PlannedModel& model, double rows, int threads) {
  const Widths w = widths_of(model);
  const double dim = model.spec.dim;
  const double floats = 3 * dim + w.qkv + w.q + w.rope;
  const auto tokens = static_cast<std::int64_t>(rows);
  if (const std::size_t each = tile_bytes_of_thread(w.head_dim, tokens)) {
    // Inputs of products in bfloat16; the head's alone in codes.
    constexpr double kHalf = 2;
    return rows * floats * sizeof(float) +
           rows * ((dim + w.q + w.hidden) * kHalf + coded_bytes(dim)) +
           static_cast<double>(each) *
               (threads > 0 ? threads : ThreadPool::default_threads());
  }
  if (!w.quantized) {
    return rows * (floats + w.hidden) * sizeof(float) +
           rows * coded_bytes(dim + w.q);
  }
  return rows * floats * sizeof(float) +
         rows * coded_bytes(dim + w.q + w.hidden);
}

void check(const InferenceQuestion& q) {
  const auto require = [](bool sound, std::string_view what) {
    if (!sound) {
      fail<UserError>(what, "", "Give another value");
    }
  };
  require(q.context_tokens >= 1, "The context must have at least 1 token");
  require(q.batch >= 1, "The batch must have at least 1 sequence");
  require(q.prefill_step >= 1, "A prefill step has at least 1 token");
  constexpr std::int64_t kMostTokens = 100'000'000'000;
  require(
      q.context_tokens <= kMostTokens / q.batch,
      "Context times batch is more than 100 billion tokens");
  require(
      q.kv_float_bits == 16 || q.kv_float_bits == 32,
      "The KV cache has 4, 8, 16 or 32 bits a value");
  check_kv_format(q.kv);
}

}  // namespace

void InferenceQuestion::set_kv_bits(int bits) {
  kv_float_bits = bits == 32 ? 32 : 16;
  kv.key_bits = kv.value_bits = bits == 32 ? 16 : bits;
}

int InferenceQuestion::kv_bits() const {
  return kv.key_bits < 16 ? kv.key_bits : kv_float_bits;
}

std::string InferenceQuestion::kv_text() const {
  return kv.in_codes() ? kv.text() : fmt::format("{} bits", kv_float_bits);
}

Bytes held_on_cpu_bytes(const ModelTensor& tensor) {
  return held_on_cpu(tensor).bytes;
}

void MemoryPrediction::add(std::string name, std::string kind, double bytes) {
  constexpr double kMost = 1e18;  // more couldn't be added up
  if (bytes >= 1) {
    parts.push_back(
        {std::move(name),
         std::move(kind),
         static_cast<Bytes>(std::min(bytes, kMost))});
  }
}

Bytes MemoryPrediction::total() const {
  Bytes sum = 0;
  for (const MemoryPart& part : parts) {
    sum += part.bytes;
  }
  return sum;
}

Bytes MemoryPrediction::of(std::string_view kind) const {
  Bytes sum = 0;
  for (const MemoryPart& part : parts) {
    sum += part.kind == kind ? part.bytes : 0;
  }
  return sum;
}

MemoryConstants default_memory_constants() {
  // Measured with the bundled model (49,152 entries) on Debian 12, x86-64:
  // docs/memory.md.
  // With 16 MB the 30 points of its grid came out 7 to 34 MB short, so the
  // middle of that was added. calibrate() of history.h finds this machine's.
  constexpr Bytes kRuntime = 36'000'000;
  constexpr Bytes kEntry = 260;
  return {kRuntime, kEntry};
}

std::vector<MemoryPart> stored_weights(const PlannedModel& model) {
  std::vector<MemoryPart> out;
  add_by_class(out, model, [](const ModelTensor& tensor) {
    return Held{tensor.format, tensor.bytes};
  });
  return out;
}

Bytes kv_bytes_per_token(const ModelSpec& spec, const InferenceQuestion& q) {
  Bytes sum = 0;
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention) {
      sum += kv_token_bytes(
          *layer.attention,
          q.kv,
          static_cast<std::size_t>(q.kv_float_bits / 8));
    }
  }
  return sum;
}

MemoryPrediction predict_inference(
    const PlannedModel& stored,
    const InferenceQuestion& q) {
  check(q);
  const PlannedModel model = q.quantize && q.quantize->bits < 16
                                 ? quantized(stored, *q.quantize)
                                 : stored;
  MemoryPrediction out;
  add_weights(out, model, q);
  const CacheBytes cache = cache_bytes(model.spec, q);
  out.add("KV cache: full attention", "kv", q.batch * cache.full);
  out.add("KV cache: windows", "kv", q.batch * cache.window);
  out.add("KV cache: latent", "kv", q.batch * cache.latent);
  out.add("recurrent state", "state", q.batch * cache.state);
  const double rows =
      static_cast<double>(
          std::min<std::int64_t>(q.prefill_step, q.context_tokens)) *
      q.batch;
  const bool graph = !q.gpu && runs_as_graph_on_cpu(model.spec);
  const bool decodes =
      q.card && rows >= kDenseFromTokens && widths_of(model).quantized;
  const double step = q.gpu   ? graph_step_bytes(model.spec, rows, decodes)
                      : graph ? cpu_graph_step_bytes(model.spec, rows)
                              : scratch_bytes(model, rows, q.threads);
  out.add(
      fmt::format("prefill, {:.0f} tokens a step", rows),
      "transients",
      step);
  out.add(
      "cache while it grows",
      "transients",
      growing_bytes(cache, q, !q.gpu && !graph));
  if (graph) {
    out.add("states after a step", "transients", q.batch * cache.state);
  }
  out.add("logits", "logits", 2.0 * q.batch * model.spec.vocab * sizeof(float));
  if (q.gpu) {
    // Freed buffers serve again, but for those of other sizes.
    double layer = 0;
    for (const LayerSpec& each : model.spec.layers) {
      layer =
          std::max(layer, graph_layer_bytes(model.spec, each, rows, decodes));
    }
    out.add("allocator's cache", "cache", layer);
  }
  out.add(
      "program and tokenizer",
      "runtime",
      static_cast<double>(
          q.constants.runtime_bytes +
          q.constants.tokenizer_per_entry *
              static_cast<Bytes>(model.spec.vocab)));
  return out;
}

}  // namespace roofline
