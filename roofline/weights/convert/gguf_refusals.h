// Which models llama.cpp would not load, or compute otherwise, in files of an
// architecture.
#pragma once

#include <string>

#include "roofline/spec/model_spec.h"
#include "roofline/weights/convert/gguf_architectures.h"

namespace roofline {

/// What of the model llama.cpp's loader has no place for, in words; empty where
/// it takes all. The architecture is that of the model.
std::string refused_by_llama_cpp(
    const GgufArchitecture& architecture,
    const ModelSpec& spec);

/// What llama.cpp computes otherwise in a file that is written all the same, a
/// sentence for people; empty where it is the model.
std::string unlike_in_llama_cpp(
    const GgufArchitecture& architecture,
    const ModelSpec& spec);

/// Why there are no files of this family that llama.cpp would compute as the
/// model says; empty where there are.
std::string unknown_to_llama_cpp(std::string_view family);

}  // namespace roofline
