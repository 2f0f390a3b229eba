// The bundled texts, out of copyright or this project's own: one to measure
// models on, one to calibrate quantization on. They share no sentence.
#pragma once

#include <string_view>

namespace roofline {

/// English prose, about 49,000 characters.
std::string_view evaluation_text();

/// English prose, definitions, documentation and code, about 106,000
/// characters.
std::string_view calibration_text();

}  // namespace roofline
