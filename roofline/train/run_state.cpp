#include "roofline/train/run_state.h"

#include <cstring>
#include <set>
#include <sstream>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"
#include "roofline/base/staged_folder.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/safetensors.h"
#include "roofline/weights/save_arrays.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::string_view kTensors = "state.safetensors";
constexpr std::string_view kRun = "run.json";

/// All memory of a run under names, for both directions.
std::vector<StateBuffer> buffers_of(
    Parameters& parameters,
    Optimizer& optimizer) {
  std::vector<StateBuffer> all;
  const auto values = parameters.values();
  for (std::size_t i = 0; i < values.size(); ++i) {
    all.push_back(
        {"weights/" + parameters.names()[i],
         std::as_writable_bytes(values[i])});
  }
  for (const auto& buffer : optimizer.state()) {
    all.push_back({"optimizer/" + buffer.name, buffer.bytes});
  }
  return all;
}

/// Straight from memory: there is no second copy.
void write_buffers(
    const fs::path& path,
    const std::vector<StateBuffer>& buffers) {
  std::vector<PlannedTensor> tensors;
  for (const auto& buffer : buffers) {
    if (!buffer.bytes.empty()) {
      tensors.push_back(
          {buffer.name,
           "U8",
           {static_cast<std::int64_t>(buffer.bytes.size())}});
    }
  }
  save_tensors(path, tensors, [&](SafetensorsWriter& writer) {
    for (const auto& buffer : buffers) {
      if (!buffer.bytes.empty()) {
        writer.put(buffer.name, buffer.bytes);
      }
    }
  });
}

std::set<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::set<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    lines.insert(line);
  }
  return lines;
}

/// The lines of one text that the other lacks.
std::string only_in(const std::string& one, const std::string& other) {
  const auto theirs = lines_of(other);
  std::vector<std::string> own;
  for (const auto& line : lines_of(one)) {
    if (theirs.count(line) == 0) {
      own.push_back(line);
    }
  }
  return own.empty() ? "nothing more" : fmt::format("{}", fmt::join(own, ", "));
}

void require_same(
    const char* what,
    const std::string& saved,
    const std::string& now) {
  if (saved != now) {
    fail<UserError>(
        fmt::format("The checkpoint is of another {}", what),
        fmt::format(
            "It has {}, and this run has {}",
            only_in(saved, now),
            only_in(now, saved)),
        "Give what it was started with, or another --output to start anew");
  }
}

}  // namespace

fs::path checkpoint_folder(const fs::path& output) {
  return output / "checkpoint";
}

void save_run(
    const fs::path& folder,
    const RunState& state,
    Parameters& parameters,
    Optimizer& optimizer) {
  StagedFolder staged(folder);
  write_buffers(staged.path() / kTensors, buffers_of(parameters, optimizer));
  const Json run = {
      {"step", state.step},
      {"best_valid_loss", state.best_valid_loss},
      {"has_best", state.has_best},
      {"recent_losses", state.recent_losses},
      {"best_mean_loss", state.best_mean_loss},
      {"settings", state.settings},
      {"model", state.model},
      {"data", state.data}};
  const std::string text = run.dump(2) + "\n";
  write_file_atomically(staged.path() / kRun, std::as_bytes(std::span(text)));
  staged.publish();
}

RunState load_run(
    const fs::path& folder,
    const RunState& expected,
    Parameters& parameters,
    Optimizer& optimizer) {
  std::error_code error;
  if (!fs::is_regular_file(folder / kRun, error)) {
    fail<UserError>(
        fmt::format("There is no checkpoint in {}", folder.string()),
        "",
        "Start without --resume");
  }
  const Json run = read_json_file(folder / kRun);
  RunState state;
  try {
    run.at("step").get_to(state.step);
    run.at("best_valid_loss").get_to(state.best_valid_loss);
    run.at("has_best").get_to(state.has_best);
    run.at("recent_losses").get_to(state.recent_losses);
    run.at("best_mean_loss").get_to(state.best_mean_loss);
    run.at("settings").get_to(state.settings);
    run.at("model").get_to(state.model);
    run.at("data").get_to(state.data);
  } catch (const Json::exception& problem) {
    fail<CheckpointError>(
        fmt::format("{} is no checkpoint", (folder / kRun).string()),
        problem.what(),
        "Start without --resume");
  }
  require_same("model", state.model, expected.model);
  require_same("data set", state.data, expected.data);
  require_same("kind of run", state.settings, expected.settings);
  const SafetensorsFile file(folder / kTensors);
  for (const auto& buffer : buffers_of(parameters, optimizer)) {
    const auto* entry = file.find(buffer.name);
    if (buffer.bytes.empty()) {
      continue;
    }
    if (entry == nullptr || entry->bytes.size() != buffer.bytes.size()) {
      fail<CheckpointError>(
          fmt::format("{} lacks {}", file.label(), buffer.name),
          "It was cut short or comes from another run",
          "Start without --resume");
    }
    std::memcpy(buffer.bytes.data(), entry->bytes.data(), entry->bytes.size());
  }
  return state;
}

}  // namespace roofline
