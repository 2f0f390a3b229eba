#include "roofline/weights/convert/model_card.h"

#include <array>
#include <sstream>
#include <system_error>

#include <fmt/format.h>

#include "roofline/weights/json_file.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

/// Lines of a card's header that still hold for a converted model.
constexpr std::array<std::string_view, 4> kKept =
    {"license:", "license_name:", "license_link:", "language:"};

/// The kept keys with the lines that belong to them.
std::string kept_header(const fs::path& card) {
  std::error_code error;
  if (!fs::is_regular_file(card, error) || fs::file_size(card, error) == 0) {
    return "";
  }
  std::istringstream text(read_text_file(card, 1 << 24));
  std::string line;
  if (!std::getline(text, line) || !line.starts_with("---")) {
    return "";
  }
  std::string out;
  bool keep = false;
  while (std::getline(text, line) && !line.starts_with("---")) {
    const bool key = !line.empty() && line[0] != ' ' && line[0] != '-';
    if (key) {
      keep = false;
      for (std::string_view kept : kKept) {
        keep = keep || line.starts_with(kept);
      }
    }
    out += keep ? line + "\n" : "";
  }
  return out;
}

}  // namespace

std::string model_card(
    const fs::path& source,
    std::string_view base_model,
    std::string_view library) {
  std::string out = "---\n" + kept_header(source / "README.md");
  out += fmt::format(
      "library_name: {}\npipeline_tag: text-generation\ntags:\n- {}\n",
      library,
      library);
  if (!base_model.empty()) {
    out += fmt::format("base_model: {}\n", base_model);
  }
  return out + "---\n";
}

}  // namespace roofline
