#include "roofline/plan/doctor.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include <fmt/format.h>

namespace roofline {

namespace {

namespace fs = std::filesystem;

constexpr double kGb = 1e9;

Check good(std::string name, std::string finding) {
  return {std::move(name), CheckState::ok, std::move(finding), ""};
}

Check warning(std::string name, std::string finding, std::string fix) {
  return {
      std::move(name),
      CheckState::warning,
      std::move(finding),
      std::move(fix)};
}

Check problem(std::string name, std::string finding, std::string fix) {
  Check check = warning(std::move(name), std::move(finding), std::move(fix));
  check.state = CheckState::problem;
  return check;
}

Check check_device(const DoctorInputs& in) {
  if (in.backend != "cpu") {
    return good(
        "device",
        fmt::format("MLX computes on the GPU ({})", in.backend));
  }
  if (in.nvidia_driver) {
    return warning(
        "device",
        "The CPU is used: an NVIDIA driver is here, but this MLX has no CUDA",
        "Install the mlx with CUDA and build again");
  }
  return good(
      "device",
      "The CPU is used: MLX found neither Metal nor CUDA, and there is no "
      "nvidia-smi");
}

Check check_mlx(const DoctorInputs& in) {
  const std::string found = fmt::format(
      "libmlx {} was loaded, built with {}",
      in.mlx_loaded,
      in.mlx_compiled);
  return in.same_mlx ? good("mlx", found)
                     : problem(
                           "mlx",
                           found,
                           "Point the library path at the libmlx of that "
                           "version, or build again with `make build`");
}

Check check_system(const DoctorInputs& in) {
#ifdef __APPLE__
  if (in.xcode.empty()) {
    return warning(
        "system",
        in.facts.system + "; no Xcode command line tools",
        "Run `xcode-select --install`");
  }
  return good("system", in.facts.system + "; Xcode tools at " + in.xcode);
#else
  return good("system", in.facts.system);
#endif
}

Check check_python(const DoctorInputs& in) {
  if (in.python.empty()) {
    return good("python", "No python3 found; Roofline needs none to run");
  }
  const auto version = [](const std::string& text) {
    return text.empty() ? std::string("absent") : text;
  };
  std::string found = fmt::format(
      "{} ({}); mlx {}, mlx-lm {}",
      in.python,
      in.python_environment.empty() ? "no environment active"
                                    : in.python_environment,
      version(in.mlx_python),
      version(in.mlx_lm_python));
  if (!in.mlx_python.empty() && !in.mlx_python.starts_with(in.mlx_compiled)) {
    return warning(
        "python",
        found + ", not the mlx of this program",
        fmt::format("Run `pip install mlx=={}`", in.mlx_compiled));
  }
  return good("python", found);
}

Check check_isa(const DoctorInputs& in) {
  if (!in.isa_error.empty()) {
    return {
        "instructions",
        CheckState::problem,
        in.isa_error,
        fmt::format("Unset ROOFLINE_ISA; the best here is {}", in.isa_best)};
  }
  if (in.isa_active != in.isa_best) {
    return warning(
        "instructions",
        fmt::format(
            "{} is used, though {} is permitted",
            in.isa_active,
            in.isa_best),
        "Unset ROOFLINE_ISA");
  }
  return good("instructions", in.isa_active + " is permitted and used");
}

Check check_cores(const DoctorInputs& in) {
  std::string found = fmt::format(
      "{} of {} cores usable; a busy thread got {:.0f} % of one",
      in.facts.usable_cores,
      in.facts.all_cores,
      100 * in.cpu_share);
  if (in.cpu_share < 0.9) {
    return warning(
        "cores",
        found,
        "End what else runs, or use fewer --threads");
  }
  return good("cores", found);
}

Check check_memory(const DoctorInputs& in) {
  const MachineFacts& facts = in.facts;
  std::string found = fmt::format("{:.1f} GB", facts.memory_bytes / kGb);
  if (facts.available_bytes) {
    found += fmt::format(", {:.1f} GB available", *facts.available_bytes / kGb);
  }
  if (facts.swap_used_bytes) {
    found += fmt::format(", {:.1f} GB swapped", *facts.swap_used_bytes / kGb);
  }
  if (facts.pressure_percent) {
    found +=
        fmt::format(", waited for {:.1f} % of 10 s", *facts.pressure_percent);
  }
  const bool swaps = facts.swap_used_bytes.value_or(0) > kGb / 10;
  if (swaps || facts.pressure_percent.value_or(0) > 5) {
    return warning(
        "memory",
        found,
        "End what else needs memory, or take a smaller model");
  }
  return good("memory", found);
}

Check check_disk(const DoctorInputs& in) {
  if (!in.cache_free_bytes || !in.models_free_bytes) {
    return warning(
        "disk",
        "The system doesn't tell what is free",
        "Check the folders of ROOFLINE_CACHE and ROOFLINE_MODELS");
  }
  std::string found = fmt::format(
      "{:.1f} GB free for the cache, {:.1f} GB for models",
      *in.cache_free_bytes / kGb,
      *in.models_free_bytes / kGb);
  if (std::min(*in.cache_free_bytes, *in.models_free_bytes) < 2 * kGb) {
    return warning(
        "disk",
        found,
        "Free some, or point ROOFLINE_CACHE elsewhere");
  }
  return good("disk", found);
}

Check check_cache(const DoctorInputs& in) {
  if (!in.cache_writable) {
    return problem(
        "cache",
        in.cache.string() + " can't be written",
        "Change its owner, or point ROOFLINE_CACHE at another folder");
  }
  return good("cache", in.cache.string() + " can be written");
}

Check check_bandwidth(const DoctorInputs& in) {
  if (!in.kept_bandwidth) {
    return good("bandwidth", "Not measured yet; the next bench does");
  }
  const double speed = *in.kept_bandwidth / kGb;
  const std::string found = fmt::format("{:.1f} GB/s were measured", speed);
  if (speed < 1 || speed > 20000) {
    return warning(
        "bandwidth",
        found + ", which isn't plausible",
        "Delete machine.json in the cache, and run `roofline bench`");
  }
  return good("bandwidth", found);
}

Check check_bundled(const DoctorInputs& in) {
  return in.bundled_model.empty()
             ? warning(
                   "model",
                   "The bundled model isn't there",
                   "Run `make setup`, or name a model in each command")
             : good("model", in.bundled_model);
}

double cpu_seconds() {
  rusage usage = {};
#ifdef RUSAGE_THREAD
  getrusage(RUSAGE_THREAD, &usage);
#else
  getrusage(RUSAGE_SELF, &usage);
#endif
  const auto seconds = [](const timeval& time) {
    return time.tv_sec + 1e-6 * time.tv_usec;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

std::vector<Check> run_checks(const DoctorInputs& in) {
  using Function = Check (*)(const DoctorInputs&);
  const Function table[] = {
      check_device,
      check_mlx,
      check_system,
      check_python,
      check_isa,
      check_cores,
      check_memory,
      check_disk,
      check_cache,
      check_bandwidth,
      check_bundled};
  std::vector<Check> checks;
  for (const Function check : table) {
    checks.push_back(check(in));
  }
  return checks;
}

std::string check_state_name(CheckState state) {
  switch (state) {
    case CheckState::ok:
      return "ok";
    case CheckState::warning:
      return "warning";
    case CheckState::problem:
      return "problem";
  }
  return "unknown";
}

int doctor_exit_code(const std::vector<Check>& checks, bool strict) {
  const CheckState limit = strict ? CheckState::warning : CheckState::problem;
  return std::any_of(checks.begin(), checks.end(), [&](const Check& check) {
    return check.state >= limit;
  });
}

double measure_cpu_share() {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const double before = cpu_seconds();
  std::chrono::duration<double> wall{0};
  while (wall.count() < 0.2) {
    wall = Clock::now() - start;
  }
  return std::min(1.0, (cpu_seconds() - before) / wall.count());
}

bool can_write(const fs::path& folder) {
  const fs::path file =
      folder / fmt::format(".doctor-{}", static_cast<long>(getpid()));
  std::ofstream out(file);
  out << "doctor\n";
  out.close();
  const bool written = !out.fail();
  std::error_code error;
  fs::remove(file, error);
  return written;
}

std::optional<std::uint64_t> free_bytes(fs::path folder) {
  std::error_code error;
  while (!fs::exists(folder, error) && folder.has_relative_path()) {
    folder = folder.parent_path();
  }
  const fs::space_info space = fs::space(folder, error);
  return error ? std::nullopt : std::optional<std::uint64_t>(space.available);
}

}  // namespace roofline
