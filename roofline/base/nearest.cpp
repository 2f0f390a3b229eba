#include "roofline/base/nearest.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <numeric>

namespace roofline {

namespace {

// Longer names are cut: suggestions must not cost quadratic time on a hostile
// name.
constexpr std::size_t kLongestName = 256;

std::string lower(std::string_view text) {
  std::string out(text.substr(0, kLongestName));
  for (char& c : out) {
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

int edit_distance(std::string_view a, std::string_view b) {
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      int substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row.back();
}

}  // namespace

std::vector<std::string> nearest_names(
    std::string_view name,
    std::span<const std::string> candidates,
    int most) {
  const std::string wanted = lower(name);
  std::vector<std::pair<int, std::string>> scored;
  for (const std::string& candidate : candidates) {
    const std::string other = lower(candidate);
    const bool contains =
        !wanted.empty() &&
        (other.find(wanted) != std::string::npos ||
         (!other.empty() && wanted.find(other) != std::string::npos));
    const int distance = edit_distance(wanted, other);
    const int limit =
        static_cast<int>(std::max(wanted.size(), other.size())) / 2;
    if (contains || distance <= limit) {
      scored.emplace_back(contains ? 0 : distance, candidate);
    }
  }
  std::sort(scored.begin(), scored.end());
  std::vector<std::string> out;
  for (const auto& [distance, candidate] : scored) {
    if (static_cast<int>(out.size()) == most) {
      break;
    }
    out.push_back(candidate);
  }
  return out;
}

std::string did_you_mean(
    std::string_view name,
    std::span<const std::string> candidates) {
  return did_you_mean_these(nearest_names(name, candidates));
}

std::string did_you_mean_these(std::span<const std::string> near) {
  if (near.empty()) {
    return "";
  }
  std::string out = "Did you mean " + near[0];
  for (std::size_t i = 1; i < near.size(); ++i) {
    out += (i + 1 == near.size() ? " or " : ", ") + near[i];
  }
  return out + "?";
}

}  // namespace roofline
