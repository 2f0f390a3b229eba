#include "roofline/weights/changed_rows.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/weights/name_tensors.h"

namespace roofline {

namespace {

/// Which row of the changed weight a row of the file is; −1: none of its.
std::int64_t row_inside(const NamedRows& rows, std::int64_t row) {
  const std::int64_t from_begin = row - rows.row_begin;
  if (from_begin < 0 || rows.rows == 0) {
    return from_begin < 0 ? -1 : from_begin;
  }
  const std::int64_t run =
      rows.runs > 1 ? from_begin / std::max<std::int64_t>(1, rows.run_stride)
                    : 0;
  const std::int64_t inside = from_begin - run * rows.run_stride;
  return run < rows.runs && inside < rows.rows ? run * rows.rows + inside : -1;
}

void change_vector(
    const NamedRows& rows,
    const RowChange& change,
    std::span<float> values) {
  std::vector<std::size_t> places;
  std::vector<float> part;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (row_inside(rows, static_cast<std::int64_t>(i)) >= 0) {
      places.push_back(i);
      part.push_back(values[i]);
    }
  }
  change(0, part);
  for (std::size_t i = 0; i < places.size(); ++i) {
    values[places[i]] = part[i];
  }
}

}  // namespace

void refuse_change(std::string_view name) {
  fail<UnsupportedError>(
      fmt::format("{} can't be changed on disk", name),
      "The files hold it in a form that isn't known here",
      "Use the adapter as it is, with --adapter");
}

FileChanges::FileChanges(
    const WeightChanges& changes,
    NameStyle style,
    const ModelSpec& spec)
    : all_(changes), style_(style), spec_(spec) {}

void FileChanges::add(const std::string& tensor) {
  for (const auto& rows :
       map_tensor_name(without_weight(tensor), style_, spec_)) {
    const auto change = all_.find(rows.name);
    if (change != all_.end() && !rows.stacked) {
      by_tensor_[tensor].push_back({rows, &change->second});
      found_.insert(rows.name);
    }
  }
}

void FileChanges::require_all() const {
  for (const auto& [name, change] : all_) {
    if (found_.count(name) == 0) {
      refuse_change(name);
    }
  }
}

bool FileChanges::changes(std::string_view tensor) const {
  return by_tensor_.find(tensor) != by_tensor_.end();
}

bool FileChanges::is_turned(std::string_view tensor) const {
  const auto found = by_tensor_.find(tensor);
  return found != by_tensor_.end() && found->second.front().rows.transposed;
}

void FileChanges::apply(
    const Tensor& tensor,
    std::int64_t row,
    std::span<float> values) const {
  const auto found = by_tensor_.find(tensor.name);
  if (found == by_tensor_.end()) {
    return;
  }
  for (const Part& part : found->second) {
    if (tensor.rows == 1) {
      change_vector(part.rows, *part.change, values);
      continue;
    }
    const std::int64_t inside = row_inside(part.rows, row);
    if (inside >= 0) {
      (*part.change)(inside, values);
    }
  }
}

}  // namespace roofline
