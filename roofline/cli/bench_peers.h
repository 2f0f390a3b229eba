// Other engines, run by their own benchmark programs on the same model, one
// case at a time.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "roofline/cli/bench_setup.h"

namespace roofline::cli {

/// The peer's program: `program`, or one of its folder, or what PATH has.
/// Throws UserError for a name that isn't llama.cpp or mlx-lm, or when it isn't
/// there.
std::string peer_program(std::string_view name, const std::string& program);

/// name: llama.cpp or mlx-lm. `program` (llama-bench, or the Python that has
/// mlx_lm) is looked up in PATH when empty. threads: 0 leaves it to the peer.
/// Throws UserError when the peer isn't there or doesn't read such a model.
std::unique_ptr<BenchEngine> make_peer(
    std::string_view name,
    const std::filesystem::path& model,
    int threads,
    const std::string& program);

/// Tokens a second out of llama-bench's JSON. Throws UserError.
double parse_llama_bench(const std::string& text);
/// Tokens a second of all sequences together, out of the JSON line that
/// llama-batched-bench prints among others. Throws UserError.
double parse_batched_bench(const std::string& text, BenchPhase phase);
/// Out of what mlx_lm.benchmark prints ("Averages: prompt_tps=…,
/// generation_tps=…"). Throws UserError.
double parse_mlx_benchmark(const std::string& text, BenchPhase phase);

}  // namespace roofline::cli
