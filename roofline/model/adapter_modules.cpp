#include "roofline/model/adapter_modules.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>

#include "roofline/base/errors.h"
#include "roofline/model/adapter_files.h"
#include "roofline/spec/adapter_targets.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/convert/hf_source.h"
#include "roofline/weights/name_tensors.h"
#include "roofline/weights/shards.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;

std::vector<std::int32_t> rows_of(const NamedRows& part, int all) {
  std::vector<std::int32_t> rows;
  const auto each = part.rows == 0 ? all - part.row_begin : part.rows;
  for (std::int64_t run = 0; run < part.runs; ++run) {
    for (std::int64_t i = 0; i < each; ++i) {
      rows.push_back(static_cast<std::int32_t>(
          part.row_begin + run * part.run_stride + i));
    }
  }
  return rows;
}

/// What the rules say; nothing for a name that they don't know.
std::vector<NamedRows> known_parts(
    const std::string& module,
    const ModelSpec& spec) {
  try {
    return map_tensor_name(module, NameStyle::hugging_face, spec);
  } catch (const CheckpointError&) {
    return {};
  }
}

/// A folder's matrices, or those that a GGUF file would become in one; nothing
/// where Hugging Face's layout has no names for them.
std::vector<HfShape> stored_matrices(const Checkpoint& checkpoint) {
  std::vector<HfShape> out;
  std::error_code error;
  if (fs::is_directory(checkpoint.path(), error)) {
    const Shards shards(checkpoint.path());
    for (const auto* entry : shards.entries()) {
      out.push_back({entry->name, entry->shape});
    }
  } else {
    try {
      out = hf_gguf_shapes(checkpoint);
    } catch (const UnsupportedError&) {
    }
  }
  std::erase_if(out, [](const HfShape& each) {
    return !each.name.ends_with(".weight") || each.shape.size() != 2;
  });
  return out;
}

/// The modules of a model's files with any of the matrices.
std::vector<AdapterModule> stored_modules(
    const std::set<std::string>& wanted,
    const Checkpoint& checkpoint,
    AdapterFormat format) {
  std::vector<AdapterModule> out;
  const ModelSpec spec = hugging_face_spec(checkpoint);
  for (const auto& stored : stored_matrices(checkpoint)) {
    const std::string module(without_weight(stored.name));
    const auto parts = known_parts(module, spec);
    const bool any =
        std::any_of(parts.begin(), parts.end(), [&](const NamedRows& part) {
          return !part.stacked && wanted.count(part.name) > 0;
        });
    if (!any) {
      continue;
    }
    AdapterModule made;
    made.name = module_in_tree(
        module,
        format == AdapterFormat::peft ? ModuleTree::peft : ModuleTree::mlx_lm);
    made.rows = static_cast<int>(stored.shape[parts[0].transposed ? 1 : 0]);
    for (const auto& part : parts) {
      made.parts.push_back({part.name, rows_of(part, made.rows)});
    }
    out.push_back(std::move(made));
  }
  return out;
}

}  // namespace

bool AdapterModule::is_matrix() const {
  return parts.size() == 1 && parts[0].rows.size() == std::size_t(rows) &&
         std::is_sorted(parts[0].rows.begin(), parts[0].rows.end());
}

std::vector<AdapterModule> adapter_modules(
    const Adapter& adapter,
    const Checkpoint& checkpoint,
    AdapterFormat format) {
  std::set<std::string> wanted;
  for (const auto& matrix : adapter.matrices) {
    wanted.insert(matrix.name);
  }
  auto out = stored_modules(wanted, checkpoint, format);
  for (const auto& module : out) {
    for (const auto& part : module.parts) {
      wanted.erase(part.matrix);
    }
  }
  for (const auto& matrix : adapter.matrices) {
    if (wanted.erase(matrix.name) > 0) {
      const int rows = matrix.b.shape(0);
      std::vector<std::int32_t> all(static_cast<std::size_t>(rows));
      std::iota(all.begin(), all.end(), 0);
      out.push_back(
          {hugging_face_matrix(matrix.name, hugging_face_spec(checkpoint)),
           rows,
           {{matrix.name, std::move(all)}}});
    }
  }
  return out;
}

std::string hugging_face_matrix(
    const std::string& name,
    const ModelSpec& spec) {
  const std::pair<std::string_view, std::string_view> parts[] = {
      {"attention.q", "self_attn.q_proj"},
      {"attention.k", "self_attn.k_proj"},
      {"attention.v", "self_attn.v_proj"},
      {"attention.o", "self_attn.o_proj"},
      {"attention.q_a", "self_attn.q_a_proj"},
      {"attention.q_b", "self_attn.q_b_proj"},
      {"attention.kv_a", "self_attn.kv_a_proj_with_mqa"},
      {"attention.kv_b", "self_attn.kv_b_proj"},
      {"feed_forward.gate", "mlp.gate_proj"},
      {"feed_forward.up", "mlp.up_proj"},
      {"feed_forward.down", "mlp.down_proj"}};
  for (const auto& [ours, theirs] : parts) {
    if (!name.ends_with(ours)) {
      continue;
    }
    const auto module = "model." + name.substr(0, name.size() - ours.size()) +
                        std::string(theirs);
    const auto mapped = map_tensor_name(module, NameStyle::hugging_face, spec);
    if (mapped.size() == 1 && mapped[0].name == name && mapped[0].rows == 0) {
      return module;
    }
  }
  return name;
}

}  // namespace roofline
