#include <map>
#include <utility>

#include "roofline/spec/tensor_names.h"
#include "spec/spec_testing.h"

namespace roofline {
namespace {

using Json = nlohmann::json;
using Shapes = std::map<std::string, std::vector<std::int64_t>>;

/// Names and shapes from a safetensors header.
Shapes stored_shapes(const std::string& golden) {
  std::ifstream file(
      golden_path(golden) / "model.safetensors",
      std::ios::binary);
  std::uint64_t size = 0;
  file.read(reinterpret_cast<char*>(&size), sizeof size);
  std::string header(static_cast<std::size_t>(size), '\0');
  file.read(header.data(), static_cast<std::streamsize>(size));
  Shapes shapes;
  const Json entries = Json::parse(header);
  for (const auto& [name, entry] : entries.items()) {
    if (name != "__metadata__") {
      shapes[name] = entry.at("shape").get<std::vector<std::int64_t>>();
    }
  }
  return shapes;
}

std::string without_weight(const std::string& name) {
  const std::string end = ".weight";
  const bool has = name.size() > end.size() &&
                   name.compare(name.size() - end.size(), end.size(), end) == 0;
  return has ? name.substr(0, name.size() - end.size()) : name;
}

/// All axes but the last together.
std::int64_t rows_of(const std::vector<std::int64_t>& shape) {
  std::int64_t rows = 1;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) {
    rows *= shape[i];
  }
  return rows;
}

template <class T>
std::vector<std::string> names_of(const std::map<std::string, T>& found) {
  std::vector<std::string> names;
  for (const auto& [name, value] : found) {
    names.push_back(name);
  }
  return names;
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, ConfigNamesExactlyTheStoredTensors) {
  ModelSpec spec = read_config(golden_config(GetParam()));
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> found;
  std::map<std::string, std::int64_t> stacked;
  for (auto [name, shape] : stored_shapes(GetParam())) {
    if (name.ends_with("_scales")) {
      continue;  // of blocks
    }
    if (name.ends_with("_blocks")) {  // a byte is two values
      shape.pop_back();
      shape.back() *= 32;
    }
    const bool vector = shape.size() <= 1;
    for (const NamedRows& part :
         map_tensor_name(without_weight(name), NameStyle::hugging_face, spec)) {
      std::int64_t stored = rows_of(shape);
      std::int64_t cols = shape.empty() ? 1 : shape.back();
      if (part.transposed && !vector) {
        std::swap(stored, cols);
      }
      std::int64_t rows = part.rows == 0 ? stored : part.rows * part.runs;
      EXPECT_LE(part.row_begin + rows, vector ? cols : stored) << name;
      if (vector && part.rows != 0) {  // its elements count as rows
        cols = std::exchange(rows, 1);
      }
      if (part.stacked) {
        stacked[part.name] += 1;
        found[part.name] = std::pair(stacked[part.name], cols);
        continue;
      }
      EXPECT_TRUE(found.emplace(part.name, std::pair(rows, cols)).second)
          << part.name << " comes twice";
    }
  }
  settle_layouts(spec, names_of(found));
  for (ExpectedTensor wanted : expected_tensors(spec)) {
    const bool split = wanted.pieces > 0 && !found.contains(wanted.name);
    const int count = split ? wanted.pieces : 1;
    const ExpectedTensor whole = wanted;
    for (int i = 0; i < count; ++i) {
      wanted.name = split ? whole.piece(i) : whole.name;
      const auto at = found.find(wanted.name);
      if (wanted.optional && at == found.end()) {
        continue;
      }
      ASSERT_NE(at, found.end()) << wanted.name << " is missing";
      // MLX has the convolution's axis of one element last.
      if (at->second == std::pair(whole.rows * whole.cols, std::int64_t{1})) {
        at->second = std::pair(whole.rows, whole.cols);
      }
      EXPECT_EQ(at->second, std::pair(whole.rows / count, whole.cols))
          << wanted.name;
      found.erase(at);
    }
  }
  EXPECT_TRUE(found.empty()) << found.begin()->first << " isn't expected";
}

INSTANTIATE_TEST_SUITE_P(
    All,
    Golden,
    testing::ValuesIn(golden_names()),
    [](const auto& info) { return info.param; });

}  // namespace
}  // namespace roofline
