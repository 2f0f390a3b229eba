#include "roofline/spec/tensor_fit.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/spec/gguf_names.h"
#include "roofline/spec/hf_names.h"

namespace roofline {

namespace {

constexpr std::string_view kWeightEnd = ".weight";
constexpr std::string_view kBiasEnd = ".bias";

/// What stands beside quantized weights.
constexpr std::array<std::string_view, 7> kBesideWeights = {
    ".scales",
    ".biases",
    ".qzeros",
    ".g_idx",
    ".weight_scale",
    ".weight_scale_inv",
    ".weight_shape"};
constexpr std::array<std::string_view, 2> kPackedWeights = {
    ".qweight",
    ".weight_packed"};

bool is_number(std::string_view part) {
  return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
    return c >= '0' && c <= '9';
  });
}

/// Calls f for each part between dots.
template <class F>
void each_part(std::string_view name, F f) {
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    f(name.substr(begin, end - begin));
    begin = end + 1;
  }
}

/// "" for what only belongs to another tensor.
std::string plain_name(std::string_view name) {
  for (std::string_view end : kBesideWeights) {
    if (name.ends_with(end)) {
      return "";
    }
  }
  for (std::string_view end : kPackedWeights) {
    if (name.ends_with(end)) {
      name.remove_suffix(end.size());
      return std::string(name) + std::string(kWeightEnd);
    }
  }
  return std::string(name);
}

/// Of each kind the names, of which a few stand for all: layers differ.
using Kinds = std::map<std::string, std::vector<std::string>>;

Kinds kinds_of(std::span<const std::string> tensors) {
  constexpr std::size_t kMostOfAKind = 256;
  Kinds out;
  for (const std::string& tensor : tensors) {
    const std::string name = plain_name(tensor);
    if (name.empty()) {
      continue;
    }
    auto& same = out[tensor_kind(name)];
    if (same.size() < kMostOfAKind) {
      same.push_back(name);
    }
  }
  return out;
}

/// False where no rule knows the name.
bool map_one(
    std::string_view name,
    NameStyle style,
    const ModelSpec& spec,
    std::vector<std::string>& ours) {
  if (name.ends_with(kWeightEnd)) {
    name.remove_suffix(kWeightEnd.size());
  }
  try {
    for (const NamedRows& part : map_tensor_name(name, style, spec)) {
      ours.push_back(part.name);
    }
    return true;
  } catch (const CheckpointError&) {
    return false;
  }
}

/// One of our names in pieces.
struct OwnName {
  std::optional<std::size_t> layer;
  std::string_view rest;  ///< behind "layers.N.", without ".bias"
  bool bias = false;
};

OwnName taken_apart(std::string_view ours) {
  constexpr std::string_view kLayers = "layers.";
  OwnName out{std::nullopt, ours, ours.ends_with(kBiasEnd)};
  out.rest.remove_suffix(out.bias ? kBiasEnd.size() : 0);
  if (out.rest.starts_with(kLayers)) {
    out.rest.remove_prefix(kLayers.size());
    std::size_t layer = 0;
    const char* end = out.rest.data() + out.rest.size();
    const auto number = std::from_chars(out.rest.data(), end, layer);
    out.rest.remove_prefix(
        static_cast<std::size_t>(number.ptr - out.rest.data()) + 1);
    out.layer = layer;
  }
  return out;
}

std::string hf_name(
    const ModelSpec& spec,
    std::string_view family,
    const OwnName& ours) {
  const HfNames names(spec, family);
  if (!ours.layer) {
    return names.model_name(ours.rest, ours.bias);
  }
  const HfPacked* packed = hf_packed(family, ours.rest);
  return packed ? fmt::format(
                      "{}{}{}",
                      names.layer_prefix(*ours.layer),
                      packed->packed,
                      ours.bias ? kBiasEnd : kWeightEnd)
                : names.layer_name(*ours.layer, ours.rest, ours.bias);
}

std::string file_name(const ModelSpec& spec, const OwnName& ours) {
  const LayerSpec* layer = ours.layer ? &spec.layers[*ours.layer] : nullptr;
  const std::string_view name = gguf_name(ours.rest, layer, spec.family);
  return name.empty() ? ""
                      : fmt::format(
                            "{}{}",
                            layer ? "blk.*." : "",
                            with_gguf_ending(name, ours.bias));
}

/// Our name's kind, as the family's checkpoints write it.
std::string shown_kind(
    const ModelSpec& spec,
    const Family& family,
    NameStyle style,
    std::string_view ours) {
  std::string name;
  try {
    const OwnName own = taken_apart(ours);
    name = style == NameStyle::gguf ? file_name(spec, own)
                                    : hf_name(spec, family.name, own);
  } catch (const UnsupportedError&) {
    name.clear();  // no name there for it
  }
  return tensor_kind(name.empty() ? ours : name);
}

using Names = std::set<std::string>;

/// Of those the spec asks for, under our names; experts also one by one.
Names expected_kinds(const std::vector<ExpectedTensor>& expected) {
  Names out{"head"};  // a copy of the embedding is no obstacle
  for (const ExpectedTensor& wanted : expected) {
    out.insert(tensor_kind(wanted.name));
    if (wanted.pieces > 0) {
      out.insert(tensor_kind(wanted.piece(0)));
    }
  }
  return out;
}

std::vector<std::string> missing_kinds(
    const ModelSpec& spec,
    const Family& family,
    NameStyle style,
    const std::vector<ExpectedTensor>& expected,
    const Names& present) {
  Names out;
  for (const ExpectedTensor& wanted : expected) {
    const bool there =
        present.contains(tensor_kind(wanted.name)) ||
        (wanted.pieces > 0 && present.contains(tensor_kind(wanted.piece(0))));
    if (!there && !wanted.optional) {
      out.insert(shown_kind(spec, family, style, wanted.name));
    }
  }
  return {out.begin(), out.end()};
}

/// One kind of the checkpoint's.
struct Mapped {
  std::string kind;
  bool known = false;  ///< there is a rule for it
  Names ours;          ///< kinds of our names
};

bool is_explained(const Mapped& each, const Names& expected) {
  return each.known &&
         (each.ours.empty() ||
          std::any_of(each.ours.begin(), each.ours.end(), [&](const auto& o) {
            return expected.contains(o);
          }));
}

}  // namespace

std::string tensor_kind(std::string_view name) {
  std::string out;
  each_part(name, [&](std::string_view part) {
    out += out.empty() ? "" : ".";
    out += is_number(part) ? "*" : part;
  });
  return out;
}

int layers_named(std::span<const std::string> tensors) {
  constexpr int kMost = 4096;
  int most = 0;
  for (const std::string& name : tensors) {
    bool behind = false;
    each_part(name, [&](std::string_view part) {
      int number = 0;
      if (behind && is_number(part) && part.size() < 6) {
        std::from_chars(part.data(), part.data() + part.size(), number);
        most = std::max(most, std::min(number + 1, kMost));
      }
      behind =
          part == "layers" || part == "h" || part == "blocks" || part == "blk";
    });
  }
  return most;
}

TensorFit fit_tensors(
    ModelSpec spec,
    const Family& family,
    NameStyle style,
    std::span<const std::string> tensors) {
  std::vector<Mapped> all;
  std::vector<std::string> ours;
  Names present;
  for (const auto& [kind, names] : kinds_of(tensors)) {
    Mapped mapped;
    mapped.kind = kind;
    std::vector<std::string> own;
    for (const std::string& name : names) {
      mapped.known |= map_one(name, style, spec, own);
    }
    for (const std::string& name : own) {
      mapped.ours.insert(tensor_kind(name));
    }
    ours.insert(ours.end(), own.begin(), own.end());
    present.insert(mapped.ours.begin(), mapped.ours.end());
    all.push_back(std::move(mapped));
  }
  settle_layouts(spec, ours);
  if (style == NameStyle::gguf) {
    settle_by_tensors(spec, ours);
  }
  const auto expected = expected_tensors(spec);
  const Names wanted = expected_kinds(expected);
  TensorFit out;
  for (const Mapped& each : all) {
    if (!is_explained(each, wanted)) {
      out.unknown.push_back(each.kind);
    }
  }
  out.missing = missing_kinds(spec, family, style, expected, present);
  return out;
}

}  // namespace roofline
