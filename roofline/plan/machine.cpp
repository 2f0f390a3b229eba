#include "roofline/plan/machine.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <variant>

#include <fmt/format.h>
#include <mlx/device.h>
#include <nlohmann/json.hpp>

#include "roofline/base/atomic_file.h"
#include "roofline/base/core_count.h"
#include "roofline/base/cpu_features.h"
#include "roofline/base/errors.h"
#include "roofline/base/paths.h"
#include "roofline/base/thread_pool.h"
#include "roofline/plan/bandwidth.h"
#include "roofline/plan/peak.h"

namespace roofline {

namespace {

namespace mx = mlx::core;
using Json = nlohmann::ordered_json;

// Counts up when the way of measuring changes: older figures are dropped.
constexpr int kVersion = 1;
// A profile file is a few hundred bytes; something larger isn't ours.
constexpr std::uintmax_t kLargestFile = 1 << 20;

std::filesystem::path profile_path() {
  return cache_dir() / "machine.json";
}

/// The list of kept profiles; empty when there is none or the file is broken.
Json read_profiles() {
  std::error_code error;
  const auto path = profile_path();
  const auto size = std::filesystem::file_size(path, error);
  if (error || size > kLargestFile) {
    return Json::array();
  }
  std::ifstream file(path);
  const Json json = Json::parse(file, nullptr, false);
  const bool ours = json.is_object() && json.contains("version") &&
                    json["version"] == kVersion && json.contains("profiles") &&
                    json["profiles"].is_array();
  return ours ? json["profiles"] : Json::array();
}

bool is_for(const Json& entry, const std::string& device, int threads) {
  return entry.is_object() && entry.contains("device") &&
         entry["device"] == device && entry.contains("threads") &&
         entry["threads"] == threads;
}

std::optional<MachineProfile> find(const std::string& device, int threads) {
  for (const Json& entry : read_profiles()) {
    if (!is_for(entry, device, threads)) {
      continue;
    }
    const auto number = [&](const char* name) {
      const bool there = entry.contains(name) && entry[name].is_number();
      return there ? entry[name].get<double>() : 0.0;
    };
    MachineProfile profile;
    profile.cpu = device;
    profile.threads = threads;
    profile.read_bandwidth = number("read_bandwidth");
    // Another instruction set has other peaks.
    if (threads == 0 || entry.value("isa", "") == isa_name(active_isa())) {
      profile.code_operations = number("code_operations");
      profile.float_operations = number("float_operations");
    }
    const double working_set = number("working_set_bytes");
    if (profile.read_bandwidth > 0 && std::isfinite(profile.read_bandwidth) &&
        working_set > 0 && working_set < 1e15) {
      profile.working_set_bytes = static_cast<std::size_t>(working_set);
      return profile;
    }
  }
  return std::nullopt;
}

void keep(const MachineProfile& profile) {
  Json profiles = Json::array();
  for (const Json& entry : read_profiles()) {
    if (!is_for(entry, profile.cpu, profile.threads)) {
      profiles.push_back(entry);
    }
  }
  profiles.push_back(
      {{"device", profile.cpu},
       {"threads", profile.threads},
       {"read_bandwidth", profile.read_bandwidth},
       {"working_set_bytes", profile.working_set_bytes},
       {"isa", isa_name(active_isa())},
       {"code_operations", profile.code_operations},
       {"float_operations", profile.float_operations}});
  const Json json = {{"version", kVersion}, {"profiles", profiles}};
  // A name of a device may hold any bytes.
  const std::string text =
      json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  try {
    write_file_atomically(profile_path(), std::as_bytes(std::span(text)));
  } catch (const UserError&) {
    // A folder that can't be written costs a measurement a run, no more.
  }
}

std::string gpu_name() {
  if (!mx::is_available(mx::Device::gpu)) {
    fail<UnsupportedError>(
        "There is no GPU to measure",
        "The MLX library in use offers only the CPU",
        "Use --device cpu");
  }
  const auto& info = mx::device_info(mx::Device::gpu);
  const auto name = info.find("device_name");
  if (name != info.end()) {
    if (const auto* text = std::get_if<std::string>(&name->second)) {
      return *text;
    }
  }
  return "GPU";
}

}  // namespace

std::optional<MachineProfile> load_machine_profile(int threads) {
  return find(cpu_name(), threads);
}

MachineProfile measure_machine(int threads) {
  ThreadPool& global = ThreadPool::global();
  std::unique_ptr<ThreadPool> own;
  if (global.threads() != threads) {
    own = std::make_unique<ThreadPool>(threads);
  }
  const Bandwidth measured = measure_read_bandwidth(own ? *own : global);
  MachineProfile profile;
  profile.cpu = cpu_name();
  profile.threads = threads;
  profile.read_bandwidth = measured.bytes_per_second;
  profile.working_set_bytes = measured.working_set_bytes;
  // Whatever else runs can only make a reading slower.
  const auto kept = load_machine_profile(threads);
  if (kept && kept->read_bandwidth >= profile.read_bandwidth) {
    return *kept;
  }
  if (kept) {
    profile.code_operations = kept->code_operations;
    profile.float_operations = kept->float_operations;
  }
  keep(profile);
  return profile;
}

MachineProfile machine_profile(int threads) {
  const auto kept = load_machine_profile(threads);
  return kept ? *kept : measure_machine(threads);
}

MachineProfile gpu_profile() {
  const std::string name = gpu_name();
  if (const auto kept = find(name, 0)) {
    return *kept;
  }
  const Bandwidth measured = measure_gpu_bandwidth();
  MachineProfile profile;
  profile.cpu = name;
  profile.read_bandwidth = measured.bytes_per_second;
  profile.working_set_bytes = measured.working_set_bytes;
  keep(profile);
  return profile;
}

std::optional<std::uint64_t> card_memory_bytes() {
  if (!mx::is_available(mx::Device::gpu)) {
    return std::nullopt;
  }
  // Metal tells `memory_size`, of the whole machine.
  const auto& info = mx::device_info(mx::Device::gpu);
  const auto found = info.find("total_memory");
  const auto* bytes =
      found == info.end() ? nullptr : std::get_if<std::size_t>(&found->second);
  return bytes ? std::optional<std::uint64_t>(*bytes) : std::nullopt;
}

MachineProfile with_peak(MachineProfile profile) {
  // Whatever else runs can only make a reading slower.
  const auto raise = [](double& kept, double measured) {
    kept = std::max(kept, measured);
  };
  if (profile.threads == 0) {
    raise(profile.float_operations, measure_gpu_peak_operations());
    profile.code_operations = profile.float_operations;
  } else {
    ThreadPool& global = ThreadPool::global();
    std::unique_ptr<ThreadPool> own;
    if (global.threads() != profile.threads) {
      own = std::make_unique<ThreadPool>(profile.threads);
    }
    ThreadPool& pool = own ? *own : global;
    raise(
        profile.code_operations,
        measure_peak_operations(pool, product_peak(true)));
    raise(
        profile.float_operations,
        measure_peak_operations(pool, product_peak(false)));
  }
  keep(profile);
  return profile;
}

MachineProfile current_profile() {
  if (mx::default_device() == mx::Device::gpu) {
    return gpu_profile();
  }
  return machine_profile(
      std::min(ThreadPool::global().threads(), usable_cores()));
}

MachineProfile profile_beside(std::size_t bytes, double bytes_per_second) {
  MachineProfile profile = current_profile();
  const bool gpu = profile.threads == 0;
  if (gpu || bytes <= profile.working_set_bytes ||
      bytes_per_second <= profile.read_bandwidth) {
    return profile;
  }
  return measure_machine(profile.threads);
}

}  // namespace roofline
