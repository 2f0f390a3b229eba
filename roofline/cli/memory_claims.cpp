#include "roofline/cli/memory_claims.h"

#include <array>

namespace roofline::cli {

namespace {

constexpr auto kFits = ClaimKind::fits;
constexpr auto kTrains = ClaimKind::trains;
constexpr const char* k7b = "llama-2-7b";
constexpr const char* k13b = "llama-2-13b";
constexpr const char* k33b = "llama-2-33b";
constexpr const char* k70b = "llama-2-70b";

// Section 3 names no models: those of section 2 stand in.
constexpr std::array kClaims = {
    Claim{2, "A 7B model in INT4 uses ~4GB", k7b, ClaimKind::size, 4, 4},
    Claim{2, "8GB: 7B with INT4", k7b, kFits, 4, 8},
    Claim{2, "16GB: 13B with INT4", k13b, kFits, 4, 16},
    Claim{2, "16GB: 7B with INT8", k7b, kFits, 8, 16},
    Claim{2, "16GB: 7B with FP16", k7b, kFits, 16, 16},
    Claim{2, "32GB: 33B with INT4", k33b, kFits, 4, 32},
    Claim{2, "32GB: 13B with INT8", k13b, kFits, 8, 32},
    Claim{2, "32GB: 13B with FP16", k13b, kFits, 16, 32},
    Claim{2, "64GB: 70B with INT4", k70b, kFits, 4, 64},
    Claim{2, "64GB: 33B with INT8", k33b, kFits, 8, 64},
    Claim{2, "64GB: 33B with FP16", k33b, kFits, 16, 64},
    Claim{3, "INT8 saves ~50%", k7b, ClaimKind::reduction, 8, 50},
    Claim{3, "INT4 saves ~75%", k7b, ClaimKind::reduction, 4, 75},
    Claim{3, "MacBook Air, 8GB: INT4", k7b, kFits, 4, 8},
    Claim{3, "MacBook Pro, 16GB: INT4", k13b, kFits, 4, 16},
    Claim{3, "MacBook Pro, 16GB: INT8", k7b, kFits, 8, 16},
    Claim{3, "MacBook Pro, 32GB: INT8", k13b, kFits, 8, 32},
    Claim{3, "MacBook Pro, 32GB: FP16", k13b, kFits, 16, 32},
    Claim{3, "Mac Studio, 64GB+: FP16", k33b, kFits, 16, 64},
    Claim{6, "M1/M2/M3 (8GB): 7B with INT4", k7b, kFits, 4, 8},
    Claim{6, "Pro (16GB): 7B at INT8", k7b, kFits, 8, 16},
    Claim{6, "Pro (16GB): 7B at FP16", k7b, kFits, 16, 16},
    Claim{6, "Pro (16GB): 13B at INT4", k13b, kFits, 4, 16},
    Claim{6, "Max/Ultra (32GB): 13B at INT8", k13b, kFits, 8, 32},
    Claim{6, "Max/Ultra (32GB): 13B at FP16", k13b, kFits, 16, 32},
    Claim{6, "Max/Ultra (32GB): 33B at INT4", k33b, kFits, 4, 32},
    Claim{6, "MacBook Air M2 (8GB): 7B INT4", k7b, kFits, 4, 8},
    Claim{6, "MacBook Pro M2 Pro (16GB): 13B INT4", k13b, kFits, 4, 16},
    Claim{6, "MacBook Pro M2 Pro (16GB): 7B INT8", k7b, kFits, 8, 16},
    Claim{6, "Mac Studio M1 Ultra (64GB): 70B INT4", k70b, kFits, 4, 64},
    Claim{6, "Mac Studio M1 Ultra (64GB): 33B INT8", k33b, kFits, 8, 64},
    Claim{7, "7B, full: 32GB", k7b, kTrains, 16, 32, TrainMethod::full},
    Claim{7, "7B, LoRA (r=16): 16GB", k7b, kTrains, 16, 16, TrainMethod::lora},
    Claim{7, "7B, QLoRA: 8GB", k7b, kTrains, 4, 8, TrainMethod::qlora},
    Claim{7, "13B, full: 64GB", k13b, kTrains, 16, 64, TrainMethod::full},
    Claim{7, "13B, LoRA: 32GB", k13b, kTrains, 16, 32, TrainMethod::lora},
    Claim{7, "13B, QLoRA: 16GB", k13b, kTrains, 4, 16, TrainMethod::qlora},
};

}  // namespace

std::span<const Claim> guide_claims() {
  return kClaims;
}

}  // namespace roofline::cli
