#include "roofline/model/adapter_experts.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <string_view>
#include <vector>

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/errors.h"
#include "roofline/model/adapter_files.h"
#include "roofline/spec/mixture_names.h"

namespace roofline {

namespace {

constexpr std::string_view kLayers = "layers.";

/// Experts' matrices of one stack, null where there is none.
using Stack = std::vector<const AdapterMatrix*>;

mx::array with_rank(const mx::array& x, int axis, int rank) {
  std::vector<std::pair<int, int>> more = {{0, 0}, {0, 0}};
  more[static_cast<std::size_t>(axis)].second = rank - x.shape(axis);
  return mx::pad(x, more);
}

AdapterMatrix joined(
    const std::string& name,
    const Stack& stack,
    const std::filesystem::path& folder) {
  const AdapterMatrix* any = nullptr;
  int rank = 0;
  for (const auto* each : stack) {
    if (each == nullptr) {
      continue;
    }
    if (each->magnitude) {
      fail<UnsupportedError>(
          "The adapter in " + folder.string() + " has DoRA for experts",
          "Experts' matrices are multiplied as they are stored",
          "Fuse it with the library that made it");
    }
    if (any != nullptr && (each->a.shape(1) != any->a.shape(1) ||
                           each->b.shape(0) != any->b.shape(0))) {
      adapter_files::refuse_adapter(folder, name + " has experts of two sizes");
    }
    any = each;
    rank = std::max(rank, each->a.shape(0));
  }
  std::vector<mx::array> as, bs;
  for (const auto* each : stack) {
    as.push_back(
        each ? with_rank(each->a, 0, rank)
             : mx::zeros({rank, any->a.shape(1)}, mx::float32));
    bs.push_back(
        each ? with_rank(each->b, 1, rank)
             : mx::zeros({any->b.shape(0), rank}, mx::float32));
  }
  AdapterMatrix out{name, mx::stack(as), mx::stack(bs)};
  mx::eval(out.a, out.b);
  return out;
}

/// The mixture of the layer that a name has; null where there is none.
const MixtureSpec* mixture_of(const std::string& name, const ModelSpec& spec) {
  const auto at = name.find(kLayers);
  std::size_t layer = spec.layers.size();
  if (at != std::string::npos) {
    const char* begin = name.data() + at + kLayers.size();
    std::from_chars(begin, name.data() + name.size(), layer);
  }
  if (layer >= spec.layers.size()) {
    return nullptr;
  }
  const auto& feeds = spec.layers[layer].feed_forward;
  return feeds && feeds->mixture ? &*feeds->mixture : nullptr;
}

/// Which of a mixture's parameters has so many columns and rows: gate and up
/// are one, and neither is what it isn't the shape of.
enum class ExpertShape { down, gate_up, neither };

ExpertShape shape_of(
    const MixtureSpec& mixture,
    const ModelSpec& spec,
    int columns,
    int rows) {
  const int dim = mixture.latent_dim.value_or(spec.dim);
  const int width = mixture.expert_hidden;
  return columns == width && rows == dim       ? ExpertShape::down
         : columns == dim && rows == 2 * width ? ExpertShape::gate_up
                                               : ExpertShape::neither;
}

/// "…layers.3.…" → "layers.3.feed_forward.experts."
std::string stacks_of(const std::string& module) {
  const auto begin = module.find(kLayers);
  const auto end = module.find('.', begin + kLayers.size());
  return module.substr(begin, end - begin) + ".feed_forward.experts.";
}

}  // namespace

std::optional<std::string> expert_parameter(
    const std::string& module,
    int columns,
    int rows,
    const ModelSpec& spec) {
  constexpr std::string_view kInner = ".base_layer";
  std::string experts = module;
  if (experts.ends_with(kInner)) {
    experts.resize(experts.size() - kInner.size());
  }
  const MixtureSpec* mixture = mixture_of(module, spec);
  if (mixture == nullptr || !experts.ends_with(".experts")) {
    return std::nullopt;
  }
  // Of another shape it is refused later: its name doesn't matter.
  const ExpertShape shape = shape_of(*mixture, spec, columns, rows);
  return experts +
         (shape == ExpertShape::gate_up ? ".gate_up_proj" : ".down_proj");
}

void add_expert_parameter(
    Adapter& adapter,
    const std::string& module,
    const mx::array& a,
    const mx::array& b,
    const ModelSpec& spec,
    const std::filesystem::path& folder) {
  const MixtureSpec* mixture = mixture_of(module, spec);
  const int experts = mixture ? mixture->experts : 1;
  if (mixture == nullptr || a.ndim() != 2 || a.shape(0) % experts != 0) {
    adapter_files::refuse_adapter(folder, module + " isn't in the model");
  }
  const int rank = a.shape(0) / experts;
  const int width = mixture->expert_hidden;
  const int in = a.shape(1);
  const int out = b.shape(0);
  const auto as = mx::reshape(a, {experts, rank, in});
  const auto bs =
      mx::transpose(mx::reshape(b, {out, rank, experts}), {2, 0, 1});
  const auto add = [&](const char* name, const mx::array& rows) {
    adapter.matrices.push_back(
        {stacks_of(module) + name, as, mx::contiguous(rows)});
  };
  const ExpertShape shape = shape_of(*mixture, spec, in, out);
  if (shape == ExpertShape::neither) {
    adapter_files::refuse_adapter(folder, module + " has another shape");
  }
  if (shape == ExpertShape::down) {
    add("down", bs);
    return;
  }
  const bool apart = mixture->layout == ExpertLayout::apart;
  const auto half = [&](int which) {
    return mx::slice(
        bs,
        {0, apart ? which * width : which, 0},
        {experts, apart ? (which + 1) * width : out, rank},
        {1, apart ? 1 : 2, 1});
  };
  add("gate", half(0));
  add("up", half(1));
}

std::optional<int> expert_of(const std::string& name) {
  const auto at = name.find(kExpertsPart);
  if (at == std::string::npos) {
    return std::nullopt;
  }
  int expert = 0;
  const char* begin = name.data() + at + kExpertsPart.size();
  const auto [end, error] =
      std::from_chars(begin, name.data() + name.size(), expert);
  return error == std::errc() && end != begin ? std::optional(expert)
                                              : std::nullopt;
}

std::string stack_of(const std::string& name) {
  std::string out = name;
  if (const auto at = out.find(kTurnedExpertsPart); at != std::string::npos) {
    return out.replace(at, kTurnedExpertsPart.size(), kExpertsPart);
  }
  if (const auto expert = expert_of(name)) {
    const auto begin = out.find(kExpertsPart) + kExpertsPart.size();
    out.erase(begin, std::to_string(*expert).size() + 1);
  }
  return out;
}

void stack_experts(
    Adapter& adapter,
    const ModelSpec& spec,
    const std::filesystem::path& folder) {
  std::map<std::string, Stack> stacks;
  for (const auto& matrix : adapter.matrices) {
    const auto expert = expert_of(matrix.name);
    if (!expert) {
      continue;
    }
    const MixtureSpec* mixture = mixture_of(matrix.name, spec);
    const int experts = mixture ? mixture->experts : 0;
    if (*expert >= experts) {
      adapter_files::refuse_adapter(
          folder,
          matrix.name + " is no expert of the model");
    }
    auto& stack = stacks[stack_of(matrix.name)];
    stack.resize(static_cast<std::size_t>(experts));
    stack[static_cast<std::size_t>(*expert)] = &matrix;
  }
  std::vector<AdapterMatrix> made;
  for (const auto& [name, stack] : stacks) {
    made.push_back(joined(name, stack, folder));
  }
  std::erase_if(adapter.matrices, [](const AdapterMatrix& matrix) {
    return expert_of(matrix.name).has_value();
  });
  adapter.matrices.insert(adapter.matrices.end(), made.begin(), made.end());
}

}  // namespace roofline
