#include "roofline/weights/convert/gguf_recurrent.h"

#include <algorithm>
#include <cstdint>

#include "roofline/spec/gguf_names.h"
#include "roofline/spec/recurrent_names.h"

namespace roofline {

namespace {

using Rows = std::vector<std::int64_t>;

void append(Rows& out, std::int64_t begin, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    out.push_back(begin + i);
  }
}

/// Of a matrix with the rows of a query, a key, values and gates for each key
/// head: those of all queries, then all keys, then all values, or the gates'.
struct ByPart {
  Rows inputs, gates;
};

ByPart by_part(const RecurrentSpec& r) {
  const std::int64_t key = r.state_dim;
  const std::int64_t values = std::int64_t{r.heads} / r.key_heads * r.head_dim;
  const std::int64_t each = 2 * (key + values);
  ByPart out;
  const auto take = [&](Rows& rows, std::int64_t begin, std::int64_t count) {
    for (int group = 0; group < r.key_heads; ++group) {
      append(rows, group * each + begin, count);
    }
  };
  take(out.inputs, 0, key);
  take(out.inputs, key, key);
  take(out.inputs, 2 * key, values);
  take(out.gates, 2 * key + values, values);
  return out;
}

/// Value heads in turns, in every tensor that has them.
void turn_heads(
    GgufSource& source,
    std::string_view rest,
    const RecurrentSpec& r) {
  const std::int64_t keys = 2 * std::int64_t{r.key_heads} * r.state_dim;
  if (rest == "in" || rest == "conv") {
    source.rows = heads_in_turns(r, keys, r.head_dim);
  } else if (rest == "in_gate") {
    source.rows = heads_in_turns(r, 0, r.head_dim);
  } else if (rest == "out") {
    source.cols = heads_in_turns(r, 0, r.head_dim);
  } else if (rest != "norm") {
    source.rows = heads_in_turns(r, 0, 1);
  }
}

const RecurrentSpec* first_recurrence(const ModelSpec& spec) {
  for (const LayerSpec& layer : spec.layers) {
    if (layer.recurrent) {
      return &*layer.recurrent;
    }
  }
  return nullptr;
}

/// Every how many-th layer alone isn't recurrent; 0: there is no such number.
std::size_t attention_interval(const std::vector<bool>& recurrent) {
  const auto first = std::find(recurrent.begin(), recurrent.end(), false);
  const auto interval = static_cast<std::size_t>(first - recurrent.begin()) + 1;
  for (std::size_t i = 0; i < recurrent.size(); ++i) {
    if (recurrent[i] == ((i + 1) % interval == 0)) {
      return 0;
    }
  }
  return interval;
}

}  // namespace

std::vector<std::int64_t> heads_in_turns(
    const RecurrentSpec& recurrent,
    std::int64_t before,
    std::int64_t dims) {
  Rows out;
  append(out, 0, before);
  const int each = recurrent.heads / recurrent.key_heads;
  for (int i = 0; i < each; ++i) {
    for (int group = 0; group < recurrent.key_heads; ++group) {
      append(out, before + (group * each + i) * dims, dims);
    }
  }
  return out;
}

std::vector<std::pair<std::string, GgufValue>> gguf_recurrent_metadata(
    const ModelSpec& spec,
    const GgufArchitecture& architecture) {
  std::vector<std::pair<std::string, GgufValue>> out;
  const auto size = [&](const char* name, std::int64_t value) {
    out.emplace_back(name, static_cast<std::uint32_t>(value));
  };
  const RecurrentSpec* recurrent = first_recurrence(spec);
  if (recurrent == nullptr) {
    return out;
  }
  if (recurrent->kind == RecurrentKind::short_conv) {
    size("shortconv.l_cache", recurrent->conv_width);
    return out;
  }
  size("ssm.conv_kernel", recurrent->conv_width);
  size("ssm.inner_size", std::int64_t{recurrent->heads} * recurrent->head_dim);
  size("ssm.state_size", recurrent->state_dim);
  size("ssm.time_step_rank", recurrent->heads);
  size("ssm.group_count", recurrent->key_heads);
  if (architecture.recurrent_list) {
    std::vector<bool> listed;
    for (const LayerSpec& layer : spec.layers) {
      listed.push_back(layer.recurrent.has_value());
    }
    // Older readers know the interval only.
    if (const std::size_t interval = attention_interval(listed)) {
      size("full_attention_interval", static_cast<std::int64_t>(interval));
    }
    out.emplace_back("attention.recurrent_layers", listed);
  }
  return out;
}

std::vector<GgufSource> gguf_recurrent_sources(
    const std::string& ours,
    std::string_view rest,
    const RecurrentSpec& recurrent,
    const GgufArchitecture& architecture) {
  const std::string_view name = gguf_recurrent_name(rest, recurrent.kind);
  if (name.empty()) {
    return {};
  }
  GgufSource source;
  source.ours = {ours};
  source.name = with_gguf_ending(name, ours.ends_with(".bias"));
  if (rest == "decay" && recurrent.log_decay) {
    source.change = GgufChange::negative_exp;
  }
  if (recurrent.kind == RecurrentKind::mamba2) {
    if (rest == "decay" || rest == "skip") {
      source.sizes = {1, recurrent.heads};
    } else if (rest == "norm") {
      const int inner = recurrent.heads * recurrent.head_dim;
      source.sizes = {inner / recurrent.key_heads, recurrent.key_heads};
    }
  }
  if (rest == "in" && recurrent.rows_by_key_head) {
    ByPart parts = by_part(recurrent);
    GgufSource gate = source;
    gate.name =
        with_gguf_ending(gguf_recurrent_name("in_gate", recurrent.kind), false);
    gate.rows = std::move(parts.gates);
    source.rows = std::move(parts.inputs);
    return {source, gate};
  }
  if (architecture.heads_in_turns && !recurrent.key_heads_tiled) {
    turn_heads(source, rest, recurrent);
  }
  return {source};
}

}  // namespace roofline
