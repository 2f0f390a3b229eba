#include "roofline/base/errors.h"

namespace roofline {

namespace {

void append_sentence(std::string& out, std::string_view part) {
  if (part.empty()) {
    return;
  }
  if (!out.empty()) {
    out += ' ';
  }
  out += part;
  if (std::string_view(".!?:").find(out.back()) == std::string_view::npos) {
    out += '.';
  }
}

}  // namespace

std::string message(
    std::string_view what,
    std::string_view why,
    std::string_view action) {
  std::string out;
  append_sentence(out, what);
  append_sentence(out, why);
  append_sentence(out, action);
  return out;
}

}  // namespace roofline
