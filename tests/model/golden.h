// The goldens: tiny checkpoints with the logits and the greedy continuation
// that the reference implementation gave in float32. Read through the real
// loader; shared by the tests of every way to run a model.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <mlx/io.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/model/decoder.h"
#include "roofline/spec/read_config.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::testing {

/// The committed ones, or those of ROOFLINE_GOLDENS_FOLDER, which
/// bench/family_sweep.py fills.
inline std::filesystem::path goldens_folder() {
  const char* other = std::getenv("ROOFLINE_GOLDENS_FOLDER");
  return other != nullptr ? other : ROOFLINE_GOLDENS;
}

/// What the config of a golden says.
inline ModelSpec golden_spec(const std::filesystem::path& folder) {
  std::ifstream file(folder / "config.json");
  return read_config(nlohmann::json::parse(file));
}

/// The goldens whose spec passes the test, sorted.
template <class Test>
std::vector<std::string> goldens_that(Test test) {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(goldens_folder())) {
    if (std::filesystem::exists(entry.path() / "golden.safetensors") &&
        test(golden_spec(entry.path()))) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Every golden in the folder.
inline std::vector<std::string> golden_names() {
  return goldens_that([](const ModelSpec&) { return true; });
}

/// Those that the fused CPU step runs; the others run as a graph everywhere.
inline std::vector<std::string> fused_golden_names() {
  return goldens_that(
      [](const ModelSpec& spec) { return !missing_in_cpu_step(spec); });
}

inline std::filesystem::path golden_folder(const std::string& name) {
  return goldens_folder() / name;
}

struct Golden {
  std::string name;
  std::unique_ptr<Checkpoint> checkpoint;
  std::vector<std::vector<std::int32_t>> ids;  ///< [2][40]
  std::vector<std::vector<float>> logits;      ///< [2][40 · vocab]
  std::vector<std::int32_t> greedy;  ///< 12 given tokens, 24 that follow
};

/// Host copies of the rows of a [rows, …] array.
template <class T>
std::vector<std::vector<T>> rows_of(const mx::array& array) {
  const auto flat = mx::contiguous(array);
  mx::eval(flat);
  const auto row_size = flat.size() / flat.shape(0);
  std::vector<std::vector<T>> rows;
  for (int i = 0; i < flat.shape(0); ++i) {
    const auto* begin = flat.data<T>() + i * row_size;
    rows.emplace_back(begin, begin + row_size);
  }
  return rows;
}

inline Golden open_golden(const std::string& name) {
  const auto folder = golden_folder(name);
  auto arrays = mx::load_safetensors(
                    (folder / "golden.safetensors").string(),
                    mx::default_stream(mx::Device::cpu))
                    .first;
  return {
      name,
      Checkpoint::open(folder),
      rows_of<std::int32_t>(arrays.at("input_ids")),
      rows_of<float>(arrays.at("logits")),
      rows_of<std::int32_t>(arrays.at("greedy"))[0]};
}

/// On the CPU as MLX's ops, in full precision.
inline std::unique_ptr<Decoder> load_exact_graph(const Golden& golden) {
  ModelOptions options;
  options.device = DeviceChoice::cpu;
  options.exact = true;
  options.graph_on_cpu = true;
  return Decoder::load(*golden.checkpoint, options);
}

/// Host copy of an array of float32, row-major.
inline std::vector<float> to_host(const mx::array& array) {
  const auto flat = mx::contiguous(array);
  mx::eval(flat);
  return {flat.data<float>(), flat.data<float>() + flat.size()};
}

inline double standard_deviation(std::span<const float> values) {
  double sum = 0, squares = 0;
  for (const auto value : values) {
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  const auto mean = sum / values.size();
  return std::sqrt(squares / values.size() - mean * mean);
}

/// max |actual − expected| in standard deviations of `expected`. Infinite when
/// the sizes differ or a value isn't finite.
inline double max_error(
    std::span<const float> actual,
    std::span<const float> expected) {
  if (actual.size() != expected.size()) {
    return INFINITY;
  }
  double worst = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(actual[i] - expected[i]);
    worst = std::isfinite(error) ? std::max(worst, error) : INFINITY;
  }
  return worst / standard_deviation(expected);
}

/// Logits [tokens · vocab] of one sequence that is given in pieces of at most
/// `chunk` tokens.
inline std::vector<float> chunked_logits(
    Decoder& decoder,
    std::span<const std::int32_t> ids,
    std::size_t chunk) {
  KvOptions options;
  options.max_chunk = static_cast<int>(chunk);
  const auto cache = decoder.make_cache(options);
  const auto context = static_cast<std::int64_t>(ids.size());
  std::vector<float> all;
  while (!ids.empty()) {
    const auto piece = ids.first(std::min(chunk, ids.size()));
    const Slice slice{cache.get(), piece, LogitRows::all};
    const auto logits = to_host(decoder.forward({&slice, 1}, context));
    all.insert(all.end(), logits.begin(), logits.end());
    ids = ids.subspan(piece.size());
  }
  return all;
}

inline std::int32_t argmax(std::span<const float> logits) {
  return static_cast<std::int32_t>(
      std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace roofline::testing
