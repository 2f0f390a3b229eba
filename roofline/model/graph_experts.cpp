#include "roofline/model/graph_experts.h"

#include <algorithm>

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/kernels/coded_experts.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/expert_tensors.h"

namespace roofline {

namespace {

/// Each name's tensors, one an expert.
using Lists = std::vector<std::vector<Tensor>>;

Lists read_lists(
    const Checkpoint& checkpoint,
    const std::vector<std::string>& names,
    const std::string& end,
    int experts) {
  Lists lists;
  for (const auto& name : names) {
    auto list = expert_tensors(checkpoint, name + end, experts);
    if (!list.empty()) {
      lists.push_back(std::move(list));
    }
  }
  return lists;
}

/// One expert's matrices of [first, last) lists, stacked by rows.
std::vector<GraphMatrixPart> read_expert(
    const GraphWeights& weights,
    const Lists& lists,
    const std::vector<std::string>& names,
    std::size_t expert,
    std::size_t first,
    std::size_t last) {
  std::vector<const Tensor*> tensors;
  for (std::size_t i = first; i < last; ++i) {
    tensors.push_back(&lists[i][expert]);
  }
  return weights.parts(tensors, std::span(names).subspan(first, last - first));
}

bool alike(const GraphMatrixPart& a, const GraphMatrixPart& b) {
  return a.cpu.has_value() == b.cpu.has_value() &&
         a.scales.has_value() == b.scales.has_value() && a.bits == b.bits &&
         a.group_size == b.group_size && a.mode == b.mode &&
         a.weight.dtype() == b.weight.dtype();
}

/// [rows, …] of each expert → [experts, rows, …]; floats in the given type,
/// which the product asks for. Experts in different forms become floats.
GraphMatrixPart stacked(
    const std::vector<GraphMatrixPart>& parts,
    mx::Dtype activations) {
  const bool same =
      std::all_of(parts.begin(), parts.end(), [&](const GraphMatrixPart& part) {
        return alike(part, parts[0]);
      });
  std::vector<mx::array> weight, scales, biases;
  const bool codes = same && parts[0].scales.has_value();
  for (const auto& part : parts) {
    weight.push_back(
        codes ? part.weight : mx::astype(dense_weight(part), activations));
    if (codes) {
      scales.push_back(*part.scales);
      if (part.biases) {
        biases.push_back(*part.biases);
      }
    }
  }
  GraphMatrixPart
      out{mx::stack(weight), std::nullopt, std::nullopt, 0, 0, std::nullopt};
  if (codes) {
    out.scales = mx::stack(scales);
    if (!biases.empty()) {
      out.biases = mx::stack(biases);
      mx::eval(*out.biases);
    }
    out.bits = parts[0].bits;
    out.group_size = parts[0].group_size;
    out.mode = parts[0].mode;
    mx::eval(*out.scales);
  }
  mx::eval(out.weight);
  return out;
}

using OnCpu = GraphExperts::OnCpu;

OnCpu for_kernels(const std::vector<GraphMatrixPart>& parts) {
  ExpertMatrices matrices;
  std::vector<std::shared_ptr<const void>> memory;
  for (const auto& part : parts) {
    matrices.push_back(part.cpu->matrix);
    memory.push_back(part.cpu->memory);
  }
  return {
      std::make_shared<const ExpertMatrices>(std::move(matrices)),
      std::make_shared<const std::vector<std::shared_ptr<const void>>>(
          std::move(memory)),
      parts[0].cpu->mode};
}

void add_stack(
    const std::vector<GraphMatrixPart>& parts,
    mx::Dtype activations,
    GraphExperts& out) {
  const bool all =
      std::all_of(parts.begin(), parts.end(), [](const GraphMatrixPart& part) {
        return part.cpu.has_value();
      });
  if (all) {
    out.on_cpu.push_back(for_kernels(parts));
  } else {
    out.parts.push_back(stacked(parts, activations));
  }
}

/// False when some expert's matrices differ in form.
bool read_joined(
    const GraphWeights& weights,
    const Lists& lists,
    const std::vector<std::string>& names,
    GraphExperts& out) {
  std::vector<GraphMatrixPart> parts;
  for (std::size_t e = 0; e < lists[0].size(); ++e) {
    auto own = read_expert(weights, lists, names, e, 0, names.size());
    if (own.size() != 1) {
      return false;
    }
    parts.push_back(std::move(own[0]));
  }
  add_stack(parts, weights.activations(), out);
  return true;
}

/// [experts, in, out] floats → each expert's [out, in].
void read_transposed(
    const GraphWeights& weights,
    const std::string& name,
    int experts,
    GraphExperts& out) {
  std::vector<GraphMatrixPart> parts;
  for (const Tensor& tensor :
       expert_tensors(weights.checkpoint(), name, experts)) {
    parts.push_back(weights.transposed(tensor, name));
  }
  if (parts.empty()) {
    weights.checkpoint().at(name);  // says that it is missing
  }
  add_stack(parts, weights.activations(), out);
}

/// Hooks of a stack in trained codes; none if it isn't.
std::vector<GraphHookPtr> coded_hooks(
    const GraphWeights& weights,
    const std::string& name,
    int experts) {
  std::vector<GraphHookPtr> hooks;
  if (weights.is_coded(name)) {
    hooks.push_back(weights.hook(name));
    return hooks;
  }
  const ExpectedTensor pieces{name, 0, 0, false, experts};
  for (int expert = 0; expert < experts; ++expert) {
    const auto own = pieces.piece(expert);
    if (!weights.is_coded(own)) {
      return {};
    }
    hooks.push_back(weights.hook(own));
  }
  return hooks;
}

mx::array multiply_coded(
    const mx::array& x,
    const GraphExperts& experts,
    const mx::array& ids) {
  std::vector<CodedStack> stacks;
  for (const auto& hook : experts.coded) {
    stacks.push_back(
        {hook->coded->codes, hook->coded->scales, hook->coded->offsets});
  }
  return coded_expert_linear(x, ids, stacks, experts.experts);
}

std::optional<mx::array> read_biases(
    const GraphWeights& weights,
    const std::vector<std::string>& names,
    int experts) {
  std::vector<mx::array> columns;
  for (const auto& name : names) {
    std::vector<mx::array> rows;
    for (const Tensor& tensor :
         expert_tensors(weights.checkpoint(), name + ".bias", experts)) {
      rows.push_back(weights.floats(tensor));
    }
    if (!rows.empty()) {
      columns.push_back(mx::concatenate(rows, 0));
    }
  }
  if (columns.empty()) {
    return std::nullopt;
  }
  if (columns.size() != names.size()) {
    fail<CheckpointError>(
        "Some matrices of the experts have a bias and some have none",
        "There must be one for each of " + names[0] + " and its likes",
        "Check that all files of the checkpoint are there");
  }
  auto out = mx::astype(mx::concatenate(columns, 1), weights.activations());
  mx::eval(out);
  return out;
}

mx::array multiply_part(
    const mx::array& x,
    const GraphMatrixPart& part,
    const mx::array& ids,
    bool sorted) {
  const auto rows = mx::expand_dims(x, 1);
  const auto y = part.scales ? mx::gather_qmm(
                                   rows,
                                   part.weight,
                                   *part.scales,
                                   part.biases,
                                   std::nullopt,
                                   ids,
                                   /* transpose = */ true,
                                   part.group_size,
                                   part.bits,
                                   part.mode,
                                   std::nullopt,
                                   sorted)
                             // Not told that ids are sorted: MLX 0.32.4 then
                             // takes a grouped product on CUDA that is wrong.
                             : mx::gather_mm(
                                   rows,
                                   mx::swapaxes(part.weight, 1, 2),
                                   std::nullopt,
                                   ids,
                                   /* sorted_indices = */ false);
  return mx::squeeze(y, 1);
}

}  // namespace

std::size_t GraphExperts::bytes() const {
  std::size_t sum = bias ? bias->nbytes() : 0;
  for (const auto& each : on_cpu) {
    for (const auto& matrix : *each.matrices) {
      sum += matrix.bytes();
    }
  }
  for (const auto& part : parts) {
    sum += part.bytes();
  }
  for (const auto& own : each) {
    sum += own.bytes();
  }
  return sum;
}

GraphExperts read_experts(
    const GraphWeights& weights,
    const std::string& at,
    const std::vector<std::string>& short_names,
    int experts,
    bool transposed) {
  std::vector<std::string> names;
  for (const auto& name : short_names) {
    names.push_back(at + name);
  }
  GraphExperts out;
  const bool any_coded =
      std::any_of(names.begin(), names.end(), [&](const std::string& name) {
        return !coded_hooks(weights, name, experts).empty();
      });
  if (any_coded && names.size() > 1) {
    for (const auto& name : short_names) {
      out.each.push_back(read_experts(weights, at, {name}, experts, false));
    }
    return out;
  }
  if (const ExpertObserver& observer = weights.expert_observer()) {
    out.observe = [observer, names](const mx::array& x, const mx::array& ids) {
      observer(names, x, ids);
    };
  }
  out.bias = read_biases(weights, names, experts);
  if (any_coded) {
    out.coded = coded_hooks(weights, names[0], experts);
    out.experts = experts;
    return out;
  }
  if (transposed) {
    const std::string name = at + "transposed." + short_names[0];
    read_transposed(weights, name, experts, out);
    return out;
  }
  const Lists lists = read_lists(weights.checkpoint(), names, "", experts);
  if (lists.size() != names.size()) {
    weights.checkpoint().at(names[lists.size()]);  // says what is missing
  }
  if (read_joined(weights, lists, names, out)) {
    return out;
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    read_joined(weights, {lists[i]}, {names[i]}, out);
  }
  return out;
}

mx::array expert_linear(
    const mx::array& x,
    const GraphExperts& experts,
    const mx::array& ids,
    bool sorted) {
  if (experts.observe) {
    experts.observe(x, ids);
  }
  std::vector<mx::array> outputs;
  for (const auto& own : experts.each) {
    outputs.push_back(expert_linear(x, own, ids, sorted));
  }
  if (!experts.coded.empty()) {
    outputs.push_back(multiply_coded(x, experts, ids));
  }
  for (const auto& part : experts.parts) {
    outputs.push_back(multiply_part(x, part, ids, sorted));
  }
  for (const auto& part : experts.on_cpu) {
    outputs.push_back(
        expert_linear(x, ids, part.matrices, part.memory, part.mode));
  }
  auto y = outputs.size() == 1 ? outputs[0] : mx::concatenate(outputs, 1);
  if (experts.bias) {
    y = mx::add(y, mx::take(*experts.bias, ids, 0));
  }
  return mx::astype(y, x.dtype());
}

mx::array add_expert_additions(
    const mx::array& x,
    const mx::array& y,
    const GraphHook& hook,
    const mx::array& ids) {
  auto sum = y;
  const auto times = [&](const mx::array& rows, const mx::array& w) {
    return mx::gather_mm(
        rows,
        mx::swapaxes(mx::astype(w, x.dtype()), 1, 2),
        std::nullopt,
        ids,
        /* sorted_indices = */ false);
  };
  for (const auto& each : hook.additions) {
    const auto added = times(times(mx::expand_dims(x, 1), each.a), each.b);
    sum = mx::add(
        sum,
        mx::multiply(mx::squeeze(added, 1), mx::array(each.scale, x.dtype())));
  }
  return mx::astype(sum, y.dtype());
}

}  // namespace roofline
