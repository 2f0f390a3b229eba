#include "roofline/weights/convert/expert_rows.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <mlx/ops.h>

#include "roofline/base/errors.h"

namespace roofline {

namespace mx = mlx::core;

namespace {

constexpr std::string_view kWeight = ".weight";

/// "….experts.12.w1.weight" in its parts; nullopt for other names.
struct ExpertName {
  std::string before;  ///< up to "experts."
  std::size_t expert = 0;
  std::string projection;
};

std::string modern_name(std::string projection) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3>
      kOldNames = {{
          {"w1", "gate_proj"},
          {"w2", "down_proj"},
          {"w3", "up_proj"},
      }};
  for (const auto& [old, modern] : kOldNames) {
    projection = projection == old ? std::string(modern) : projection;
  }
  return projection;
}

std::optional<ExpertName> expert_name(const std::string& name) {
  constexpr std::string_view kExperts = ".experts.";
  const std::size_t at = name.find(kExperts);
  if (at == std::string::npos || !name.ends_with(kWeight)) {
    return std::nullopt;
  }
  const std::size_t number = at + kExperts.size();
  const std::size_t dot = name.find('.', number);
  if (dot == std::string::npos || dot == number || dot - number > 6 ||
      !std::all_of(
          name.begin() + static_cast<std::ptrdiff_t>(number),
          name.begin() + static_cast<std::ptrdiff_t>(dot),
          [](char c) { return c >= '0' && c <= '9'; })) {
    return std::nullopt;
  }
  return ExpertName{
      name.substr(0, at + 1),
      std::stoul(name.substr(number, dot - number)),
      modern_name(
          name.substr(dot + 1, name.size() - kWeight.size() - dot - 1))};
}

[[noreturn]] void fail_experts(
    const std::string& name,
    const std::string& why) {
  fail<CheckpointError>(
      fmt::format("The experts of {} can't be stacked", name),
      why,
      "Check that all shards of the checkpoint are there");
}

RowTensor stacked(
    const std::string& name,
    const std::map<std::size_t, RowTensor>& experts) {
  RowTensor out = experts.begin()->second;
  out.name = name;
  out.pieces.clear();
  std::vector<std::function<void()>> releases;
  for (const auto& [expert, tensor] : experts) {
    if (expert != out.pieces.size() || tensor.shape != out.shape ||
        tensor.dtype != out.dtype) {
      fail_experts(
          name,
          fmt::format(
              "Expert {} is missing or unlike the first",
              out.pieces.size()));
    }
    releases.push_back(tensor.release);
    out.pieces.push_back(tensor.part(0, tensor.rows()));
  }
  out.release = [releases] {
    for (const auto& release : releases) {
      if (release) {
        release();
      }
    }
  };
  out.shape.insert(
      out.shape.begin(),
      static_cast<std::int64_t>(experts.size()));
  return out;
}

/// Halves of the rows of each expert, or of a plain matrix: gate, then up.
RowTensor half(const RowTensor& tensor, std::string name, bool up) {
  RowTensor out = tensor;
  const std::size_t axis = tensor.shape.size() - 2;
  const std::int64_t experts = axis == 0 ? 1 : tensor.shape[0];
  const std::int64_t hidden = tensor.shape[axis] / 2;
  out.name = std::move(name);
  out.shape[axis] = hidden;
  out.pieces.clear();
  for (std::int64_t i = 0; i < experts; ++i) {
    out.pieces.push_back(tensor.part((2 * i + (up ? 1 : 0)) * hidden, hidden));
  }
  return out;
}

std::string before(const std::string& name, std::string_view end) {
  return name.substr(0, name.size() - end.size());
}

/// Every `step`-th column of each expert's matrix, turned: [in, out·step] →
/// [out, in].
RowTensor turned_columns(
    const RowTensor& tensor,
    std::string name,
    int first,
    int step) {
  RowTensor out = tensor;
  const std::int64_t inner = tensor.shape[1];
  const std::int64_t rows = tensor.shape[2] / step;
  out.name = std::move(name);
  out.shape = {tensor.shape[0], rows, inner};
  out.pieces.clear();
  for (std::int64_t i = 0; i < tensor.shape[0]; ++i) {
    const auto read = [tensor, inner, i, first, step](
                          std::int64_t begin,
                          std::int64_t count,
                          mx::Stream stream) {
      const mx::array whole = tensor.read(i * inner, inner, stream);
      const int from = static_cast<int>(begin) * step + first;
      const int to = static_cast<int>(begin + count - 1) * step + first + 1;
      const mx::array columns = mx::slice(
          whole,
          {0, from},
          {static_cast<int>(inner), to},
          {1, step},
          stream);
      return mx::contiguous(mx::transpose(columns, stream), false, stream);
    };
    out.pieces.push_back({rows, read});
  }
  return out;
}

/// Every second row.
RowTensor rows_in_turns(const RowTensor& tensor, std::string name, int first) {
  const auto every_second = [](const mx::array& all, mx::Stream stream) {
    return mx::slice(all, {0, 0}, all.shape(), {2, 1}, stream);
  };
  const auto begin = [first](std::int64_t row) { return 2 * row + first; };
  RowTensor out = tensor;
  out.name = std::move(name);
  out.shape[out.shape.size() - 2] /= 2;
  RowPiece piece{
      tensor.rows() / 2,
      [=](std::int64_t row, std::int64_t count, mx::Stream stream) {
        return every_second(
            tensor.read(begin(row), 2 * count - 1, stream),
            stream);
      }};
  if (const PackedPiece* packed = tensor.packed()) {
    piece.packed = PackedPiece{
        packed->form,
        packed->dtype,
        [=](std::int64_t row, std::int64_t count, mx::Stream stream) {
          auto all = tensor.read_packed(begin(row), 2 * count - 1, stream);
          for (mx::array& each : all) {
            each = every_second(each, stream);
          }
          return all;
        }};
  }
  out.pieces = {piece};
  return out;
}

/// Every second value of each row.
RowTensor in_turns(const RowTensor& tensor, std::string name, int first) {
  std::vector<std::int64_t> shape = tensor.shape;
  shape.back() /= 2;
  return computed_rows(
      std::move(name),
      shape,
      tensor.dtype,
      [tensor, first](mx::Stream stream) {
        const auto rows = static_cast<int>(tensor.rows());
        const auto cols = static_cast<int>(tensor.cols());
        return mx::contiguous(
            mx::slice(
                tensor.read(0, rows, stream),
                {0, first},
                {rows, cols},
                {1, 2},
                stream),
            false,
            stream);
      });
}

}  // namespace

std::vector<RowTensor> stack_experts(
    std::vector<RowTensor> tensors,
    const ExpertNames& names) {
  std::vector<RowTensor> out;
  std::map<std::string, std::map<std::size_t, RowTensor>> stacks;
  for (RowTensor& tensor : tensors) {
    const auto name = expert_name(tensor.name);
    if (!name) {
      out.push_back(std::move(tensor));
      continue;
    }
    std::string projection = name->projection;
    if (names.numbered) {
      projection = projection == "up_proj" ? "fc1" : "fc2";
    }
    stacks[fmt::format("{}{}{}.weight", name->before, names.folder, projection)]
        .emplace(name->expert, std::move(tensor));
  }
  for (const auto& [name, experts] : stacks) {
    out.push_back(stacked(name, experts));
  }
  return out;
}

std::vector<RowTensor> split_stacked_experts(
    const RowTensor& tensor,
    const ExpertNames& names) {
  constexpr std::string_view kGateUp = "experts.gate_up_proj";
  const std::pair<std::string_view, std::string_view> kRest[] = {
      {"experts.up_proj", names.numbered ? "fc1" : "up_proj"},
      {"experts.down_proj", names.numbered ? "fc2" : "down_proj"}};
  if (tensor.shape.size() != 3) {
    return {tensor};
  }
  const std::string& name = tensor.name;
  if (name.ends_with(kGateUp)) {
    const std::string base = before(name, kGateUp) + std::string(names.folder);
    return {
        half(tensor, base + "gate_proj.weight", false),
        half(tensor, base + "up_proj.weight", true)};
  }
  for (const auto& [end, module] : kRest) {
    if (name.ends_with(end)) {
      RowTensor renamed = tensor;
      renamed.name =
          fmt::format("{}{}{}.weight", before(name, end), names.folder, module);
      return {renamed};
    }
  }
  return {tensor};
}

std::vector<RowTensor> split_input_linear(
    const RowTensor& tensor,
    std::string_view from,
    std::string_view part) {
  const std::string input = std::string(from) + "input_linear.weight";
  const std::string output = std::string(from) + "output_linear.weight";
  if (tensor.name.ends_with(output)) {
    RowTensor down = tensor;
    down.name =
        before(tensor.name, output) + std::string(part) + "down_proj.weight";
    return {down};
  }
  if (!tensor.name.ends_with(input)) {
    return {tensor};
  }
  const std::string base = before(tensor.name, input) + std::string(part);
  return {
      half(tensor, base + "gate_proj.weight", false),
      half(tensor, base + "up_proj.weight", true)};
}

std::vector<RowTensor> split_turned_experts(const RowTensor& tensor) {
  constexpr std::string_view kGateUp = "gate_up_proj";
  constexpr std::string_view kGateUpBias = "gate_up_proj_bias";
  constexpr std::string_view kDown = "experts.down_proj";
  constexpr std::string_view kDownBias = "down_proj_bias";
  const std::string& name = tensor.name;
  if (name.ends_with(kGateUp)) {
    const std::string base = before(name, kGateUp);
    return {
        turned_columns(tensor, base + "gate_proj.weight", 0, 2),
        turned_columns(tensor, base + "up_proj.weight", 1, 2)};
  }
  if (name.ends_with(kGateUpBias)) {
    const std::string base = before(name, kGateUpBias);
    return {
        in_turns(tensor, base + "gate_proj.bias", 0),
        in_turns(tensor, base + "up_proj.bias", 1)};
  }
  if (name.ends_with(kDown)) {
    return {turned_columns(tensor, name + ".weight", 0, 1)};
  }
  if (name.ends_with(kDownBias)) {
    RowTensor renamed = tensor;
    renamed.name = before(name, "_bias") + ".bias";
    return {renamed};
  }
  return {tensor};
}

std::vector<RowTensor> split_expert_blocks(const RowTensor& tensor) {
  constexpr std::string_view kGateUp = "gate_up_proj_blocks";
  constexpr std::string_view kBlocks = "_blocks";
  const std::string& name = tensor.name;
  if (name.ends_with(kGateUp)) {
    const std::string base = before(name, kGateUp);
    return {
        rows_in_turns(tensor, base + "gate_proj.weight", 0),
        rows_in_turns(tensor, base + "up_proj.weight", 1)};
  }
  RowTensor renamed = tensor;
  renamed.name = before(name, kBlocks) + ".weight";
  return {renamed};
}

}  // namespace roofline
