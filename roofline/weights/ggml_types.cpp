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
constexpr std::array<GgmlType, 43> kTypes = {{
    {"F32", Encoding::f32},         {"F16", Encoding::f16},
    {"Q4_0", Encoding::q4_0},       {"Q4_1", Encoding::q4_1},
    {"Q4_2", std::nullopt},         {"Q4_3", std::nullopt},
    {"Q5_0", Encoding::q5_0},       {"Q5_1", Encoding::q5_1},
    {"Q8_0", Encoding::q8_0},       {"Q8_1", std::nullopt},
    {"Q2_K", Encoding::q2_k},       {"Q3_K", Encoding::q3_k},
    {"Q4_K", Encoding::q4_k},       {"Q5_K", Encoding::q5_k},
    {"Q6_K", Encoding::q6_k},       {"Q8_K", Encoding::q8_k},
    {"IQ2_XXS", Encoding::iq2_xxs}, {"IQ2_XS", Encoding::iq2_xs},
    {"IQ3_XXS", Encoding::iq3_xxs}, {"IQ1_S", Encoding::iq1_s},
    {"IQ4_NL", Encoding::iq4_nl},   {"IQ3_S", Encoding::iq3_s},
    {"IQ2_S", Encoding::iq2_s},     {"IQ4_XS", Encoding::iq4_xs},
    {"I8", Encoding::i8},           {"I16", Encoding::i16},
    {"I32", Encoding::i32},         {"I64", Encoding::i64},
    {"F64", Encoding::f64},         {"IQ1_M", Encoding::iq1_m},
    {"BF16", Encoding::bf16},       {"Q4_0_4_4", std::nullopt},
    {"Q4_0_4_8", std::nullopt},     {"Q4_0_8_8", std::nullopt},
    {"TQ1_0", Encoding::tq1_0},     {"TQ2_0", Encoding::tq2_0},
    {"IQ4_NL_4_4", std::nullopt},   {"IQ4_NL_4_8", std::nullopt},
    {"IQ4_NL_8_8", std::nullopt},   {"MXFP4", Encoding::mxfp4},
    {"NVFP4", Encoding::nvfp4},     {"Q1_0", Encoding::q1_0},
    {"Q2_0", Encoding::q2_0},
}};

}  // namespace

std::optional<Encoding> ggml_encoding(std::uint32_t type) {
  return type < kTypes.size() ? kTypes[type].encoding : std::nullopt;
}

std::string ggml_type_name(std::uint32_t type) {
  return type < kTypes.size() ? std::string(kTypes[type].name) : "";
}

}  // namespace roofline
