// What may be wrong with this machine's setup: checks over facts that were
// gathered before, each with its finding and the fix.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
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
  std::string backend;  ///< "cpu", "cuda", "metal"
  bool nvidia_driver = false;
  std::string isa_best, isa_active;
  std::string isa_error;  ///< what is wrong with ROOFLINE_ISA; empty: nothing
  double cpu_share = 1;   ///< of one core, that a busy thread got
  std::filesystem::path cache, models;
  bool cache_writable = true;
  std::optional<std::uint64_t> cache_free_bytes, models_free_bytes;
  std::optional<double> kept_bandwidth;  ///< bytes a second
  std::string bundled_model;             ///< empty: not found
  std::string python;  ///< "/usr/bin/python3 3.11.2"; empty: none
  std::string python_environment;
  std::string mlx_python, mlx_lm_python;
  std::string xcode;  ///< macOS only: where the command line tools lie
};

std::vector<Check> run_checks(const DoctorInputs& inputs);

/// "ok", "warning", "problem".
std::string check_state_name(CheckState state);

/// 1 for a problem (when strict, for a warning too), else 0.
int doctor_exit_code(const std::vector<Check>& checks, bool strict);

/// The share of a core that a thread which never waits gets over some 200 ms.
double measure_cpu_share();

/// Whether a file can be made and written in a folder.
bool can_write(const std::filesystem::path& folder);

/// Bytes free where a path, or its nearest parent that exists, lies.
std::optional<std::uint64_t> free_bytes(std::filesystem::path folder);

}  // namespace roofline
