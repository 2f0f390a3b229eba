#include "roofline/weights/ggml_types.h"

#include <array>
#include <string_view>

namespace roofline {

namespace {

struct GgmlType {
  std::string_view name;
  std::optional<Encoding> encoding;
};

// Indexed by GGML's number (ggml.h, enum ggml_type). Numbers 4, 5 and 31 to 33,
// 36 to 38 belonged to types that GGML has dropped.
constexpr std::array<GgmlType, 42> kTypes = {{
    {"F32", Encoding::f32},       {"F16", Encoding::f16},
    {"Q4_0", Encoding::q4_0},     {"Q4_1", Encoding::q4_1},
    {"Q4_2", std::nullopt},       {"Q4_3", std::nullopt},
    {"Q5_0", Encoding::q5_0},     {"Q5_1", Encoding::q5_1},
    {"Q8_0", Encoding::q8_0},     {"Q8_1", std::nullopt},
    {"Q2_K", Encoding::q2_k},     {"Q3_K", Encoding::q3_k},
    {"Q4_K", Encoding::q4_k},     {"Q5_K", Encoding::q5_k},
    {"Q6_K", Encoding::q6_k},     {"Q8_K", std::nullopt},
    {"IQ2_XXS", std::nullopt},    {"IQ2_XS", std::nullopt},
    {"IQ3_XXS", std::nullopt},    {"IQ1_S", std::nullopt},
    {"IQ4_NL", std::nullopt},     {"IQ3_S", std::nullopt},
    {"IQ2_S", std::nullopt},      {"IQ4_XS", std::nullopt},
    {"I8", std::nullopt},         {"I16", std::nullopt},
    {"I32", std::nullopt},        {"I64", std::nullopt},
    {"F64", std::nullopt},        {"IQ1_M", std::nullopt},
    {"BF16", Encoding::bf16},     {"Q4_0_4_4", std::nullopt},
    {"Q4_0_4_8", std::nullopt},   {"Q4_0_8_8", std::nullopt},
    {"TQ1_0", std::nullopt},      {"TQ2_0", std::nullopt},
    {"IQ4_NL_4_4", std::nullopt}, {"IQ4_NL_4_8", std::nullopt},
    {"IQ4_NL_8_8", std::nullopt}, {"MXFP4", std::nullopt},
    {"NVFP4", std::nullopt},      {"Q1_0", std::nullopt},
}};

}  // namespace

std::optional<Encoding> ggml_encoding(std::uint32_t type) {
  return type < kTypes.size() ? kTypes[type].encoding : std::nullopt;
}

std::string ggml_type_name(std::uint32_t type) {
  return type < kTypes.size() ? std::string(kTypes[type].name) : "";
}

}  // namespace roofline
