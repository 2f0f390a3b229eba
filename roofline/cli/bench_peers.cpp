#include "roofline/cli/bench_peers.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <system_error>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"

namespace roofline::cli {

namespace {

constexpr const char* kBatchedBench = "llama-batched-bench";

[[noreturn]] void fail_to_read(std::string_view program) {
  fail<UserError>(
      fmt::format("The figures of {} can't be read", program),
      "It ended early or prints something else than it did",
      "Run it by hand, or leave --vs out");
}

BenchSample sample_of(const BenchCase& what, double tokens_per_second) {
  return {
      static_cast<double>(what.tokens) / tokens_per_second,
      0,
      std::nullopt};
}

/// `name` in the folder of `program`; empty when there is none to run.
std::string program_beside(const std::string& program, const char* name) {
  const auto path = std::filesystem::path(program).parent_path() / name;
  return ::access(path.c_str(), X_OK) == 0 ? path.string() : "";
}

class LlamaBench : public BenchEngine {
 public:
  LlamaBench(std::string program, std::string model, int threads)
      : program_(std::move(program)),
        model_(std::move(model)),
        threads_(threads) {}

  std::string engine() const override { return "llama.cpp"; }
  std::string setup() const override {
    return threads_ > 0 ? fmt::format("{} threads", threads_) : "";
  }

  std::optional<BenchSample> measure(const BenchCase& what) override {
    return what.batch > 1 ? measure_batch(what) : measure_one(what);
  }

 private:
  BenchSample measure_one(const BenchCase& what) {
    const bool prefill = what.phase == BenchPhase::prefill;
    const std::string tokens = std::to_string(what.tokens);
    std::vector<std::string> command =
        {program_, "-m", model_, "-r", "1", "-o", "json"};
    command.insert(
        command.end(),
        {"-p", prefill ? tokens : "0", "-n", prefill ? "0" : tokens});
    if (what.depth > 0) {
      command.insert(command.end(), {"-d", std::to_string(what.depth)});
    }
    if (threads_ > 0) {
      command.insert(command.end(), {"-t", std::to_string(threads_)});
    }
    return sample_of(what, parse_llama_bench(run_command(command, true).text));
  }

  // llama-bench knows one sequence; llama-batched-bench, beside it, many. Its
  // prompts begin empty and its answers after a prompt of at least one token.
  std::optional<BenchSample> measure_batch(const BenchCase& what) {
    const std::string program = program_beside(program_, kBatchedBench);
    const bool prefill = what.phase == BenchPhase::prefill;
    if (program.empty() || (prefill && what.depth > 0)) {
      return std::nullopt;
    }
    const auto prompt =
        prefill ? what.tokens : std::max<std::int64_t>(what.depth, 1);
    const std::int64_t answer = prefill ? 1 : what.tokens;
    std::vector<std::string> command = {
        program,
        "-m",
        model_,
        "-npp",
        std::to_string(prompt),
        "-ntg",
        std::to_string(answer),
        "-npl",
        std::to_string(what.batch),
        "-c",
        std::to_string((prompt + answer) * what.batch),
        "--output-format",
        "jsonl"};
    if (threads_ > 0) {
      command.insert(command.end(), {"-t", std::to_string(threads_)});
    }
    return sample_of(
        what,
        parse_batched_bench(run_command(command, true).text, what.phase) /
            what.batch);
  }

  std::string program_, model_;
  int threads_;
};

class MlxLm : public BenchEngine {
 public:
  MlxLm(std::string python, std::string model)
      : python_(std::move(python)), model_(std::move(model)) {}

  std::string engine() const override { return "mlx-lm"; }
  std::string setup() const override { return ""; }

  std::optional<BenchSample> measure(const BenchCase& what) override {
    if (what.depth > 0) {
      return std::nullopt;
    }
    const bool prefill = what.phase == BenchPhase::prefill;
    const std::string tokens = std::to_string(what.tokens);
    const auto out = run_command(
        {python_,
         "-m",
         "mlx_lm",
         "benchmark",
         "--model",
         model_,
         "-n",
         "1",
         "-p",
         prefill ? tokens : "1",
         "-g",
         prefill ? "2" : tokens,
         "-b",
         std::to_string(what.batch)},
        true);
    // Its figures are of all sequences together, as ours.
    return sample_of(
        what,
        parse_mlx_benchmark(out.text, what.phase) / what.batch);
  }

 private:
  std::string python_, model_;
};

std::string required_program(
    const std::string& option,
    const std::string& name,
    std::string_view peer) {
  std::error_code error;
  const std::string given =
      std::filesystem::is_directory(option, error)
          ? (std::filesystem::path(option) / name).string()
          : option;
  const bool absent = given.find('/') != std::string::npos &&
                      ::access(given.c_str(), X_OK) != 0;
  const std::string found =
      absent ? ""
      : given.empty() || given.find('/') == std::string::npos
          ? find_program(given.empty() ? name : given)
          : given;
  if (found.empty()) {
    fail<UserError>(
        fmt::format("{} isn't installed", peer),
        absent ? fmt::format("{} is no program", given)
               : fmt::format(
                     "There is no {} in PATH",
                     given.empty() ? name : given),
        "Install it, or say where it is with --peer-program");
  }
  return found;
}

}  // namespace

double parse_llama_bench(const std::string& text) {
  const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
  if (!json.is_array() || json.empty() || !json[0].is_object() ||
      !json[0].contains("avg_ts") || !json[0]["avg_ts"].is_number() ||
      json[0]["avg_ts"].get<double>() <= 0) {
    fail_to_read("llama-bench");
  }
  return json[0]["avg_ts"].get<double>();
}

double parse_batched_bench(const std::string& text, BenchPhase phase) {
  const char* key = phase == BenchPhase::prefill ? "speed_pp" : "speed_tg";
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::ordered_json::parse(line, nullptr, false);
    if (json.is_object() && json.contains(key) && json[key].is_number() &&
        json[key].get<double>() > 0) {
      return json[key].get<double>();
    }
  }
  fail_to_read(kBatchedBench);
}

double parse_mlx_benchmark(const std::string& text, BenchPhase phase) {
  const std::string key =
      phase == BenchPhase::prefill ? "prompt_tps=" : "generation_tps=";
  std::size_t at = text.find("Averages:");
  at = at == std::string::npos ? at : text.find(key, at);
  const double speed =
      at == std::string::npos
          ? 0
          : std::strtod(text.c_str() + at + key.size(), nullptr);
  if (speed <= 0) {
    fail_to_read("mlx_lm.benchmark");
  }
  return speed;
}

std::string peer_program(std::string_view name, const std::string& program) {
  if (name == "llama.cpp") {
    return required_program(program, "llama-bench", name);
  }
  if (name == "mlx-lm") {
    return required_program(program, "python3", name);
  }
  const std::vector<std::string> peers = {"llama.cpp", "mlx-lm"};
  fail<UserError>(
      fmt::format("There is no peer {}", name),
      did_you_mean(name, peers),
      "--vs takes llama.cpp or mlx-lm");
}

std::unique_ptr<BenchEngine> make_peer(
    std::string_view name,
    const std::filesystem::path& model,
    int threads,
    const std::string& program) {
  const std::string found = peer_program(name, program);
  const bool folder = std::filesystem::is_directory(model);
  if (name == "llama.cpp") {
    if (folder) {
      fail<UserError>(
          "llama.cpp can't run this model",
          "It reads GGUF files, and this is a folder",
          "Name a GGUF file");
    }
    return std::make_unique<LlamaBench>(found, model.string(), threads);
  }
  if (!folder) {
    fail<UserError>(
        "mlx-lm can't run this model",
        "It reads folders with safetensors, and this is a file",
        "Name a folder");
  }
  return std::make_unique<MlxLm>(found, model.string());
}

}  // namespace roofline::cli
