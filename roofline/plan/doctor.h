// What may be wrong with this machine's setup: checks over facts that were
// gathered before, each with its finding and the fix.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/plan/machine_facts.h"

namespace roofline {

enum class CheckState { ok, warning, problem };

struct Check {
  std::string name;
  CheckState state = CheckState::ok;
  std::string finding;
  std::string fix;  ///< empty when there is nothing to mend
};

/// All that the checks look at.
struct DoctorInputs {
  MachineFacts facts;
  std::string mlx_compiled, mlx_loaded;
  bool same_mlx = true;
  std::string backend;         ///< "cpu", "cuda", "metal": what MLX found
  std::string default_device;  ///< "cpu", "gpu": what MLX takes
  std::string gpu;             ///< its name; empty: none
  std::string mlx_package;     ///< "mlx-cuda-13": of the libmlx; empty: unknown
  std::string nvidia_driver;   ///< "580.65.06"; empty: none answers
  std::string isa_best, isa_active;
  bool amx_refused = false;  ///< the processor has it, the system withholds it
  std::string isa_error;  ///< what is wrong with ROOFLINE_ISA; empty: nothing
  double cpu_share = 1;   ///< of one core, that a busy thread got
  std::filesystem::path cache, models;
  bool cache_writable = true;
  std::optional<std::uint64_t> cache_free_bytes, models_free_bytes;
  std::optional<double> bandwidth;  ///< of the CPU's threads, bytes a second
  std::optional<double> gpu_bandwidth;  ///< bytes a second
  std::string bundled_model;            ///< empty: not found
  std::string python;  ///< "/usr/bin/python3 3.11.2"; empty: none
  std::string python_environment;
  std::string mlx_python, mlx_lm_python;
  std::string mlx_lm_needs;  ///< the least mlx that mlx-lm asks for: "0.30.0"
  std::string xcode;         ///< macOS only: where the command line tools lie
};

std::vector<Check> run_checks(const DoctorInputs& inputs);

/// Of run_checks(), in doctor_device.cpp: why MLX computes where it does, and
/// whether the libraries and packages beside it are in step.
Check check_device(const DoctorInputs& inputs);
Check check_mlx(const DoctorInputs& inputs);
Check check_system(const DoctorInputs& inputs);
Check check_python(const DoctorInputs& inputs);
Check check_bandwidth(const DoctorInputs& inputs);
Check check_gpu_bandwidth(const DoctorInputs& inputs);

/// Whether a dotted version is before another; a part that is no number counts
/// as 0.
bool version_before(std::string_view version, std::string_view other);

/// "ok", "warning", "problem".
std::string check_state_name(CheckState state);

/// 1 for a problem (when strict, for a warning too), else 0.
int doctor_exit_code(const std::vector<Check>& checks, bool strict);

/// The share of a core that a thread which never waits gets over some 200 ms.
double measure_cpu_share();

/// The wheel that a libmlx came from, told by the folders beside it
/// ("mlx_cuda_13-0.32.4.dist-info"); empty when there is none.
std::string mlx_package_near(const std::filesystem::path& library);

/// Whether a file can be made and written in a folder.
bool can_write(const std::filesystem::path& folder);

/// Bytes free where a path, or its nearest parent that exists, lies.
std::optional<std::uint64_t> free_bytes(std::filesystem::path folder);

}  // namespace roofline
