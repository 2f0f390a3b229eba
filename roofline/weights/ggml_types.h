// The tensor types that a GGUF file can name, by GGML's numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "roofline/weights/tensor.h"

namespace roofline {

/// Our encoding for a GGML type id; nullopt when there is none.
std::optional<Encoding> ggml_encoding(std::uint32_t type);

/// "Q4_K", "IQ2_XXS", …; "" for a number that GGML hasn't given out.
std::string ggml_type_name(std::uint32_t type);

}  // namespace roofline
