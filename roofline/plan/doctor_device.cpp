#include <cstdlib>

#include <fmt/format.h>

#include "roofline/plan/chips.h"
#include "roofline/plan/doctor.h"
#include "roofline/plan/doctor_check.h"

namespace roofline {

namespace {

// What MLX's wheels ask for: its installation page.
constexpr const char* kLeastMacos = "14.0";
constexpr const char* kLeastDriverCuda12 = "550.54.14";
constexpr const char* kLeastDriverCuda13 = "580";
constexpr const char* kLeastPython = "3.10";

bool is_cuda_package(const DoctorInputs& in) {
  return in.mlx_package.starts_with("mlx-cuda");
}

/// MLX finds no GPU on a Mac.
Check check_missing_metal(const DoctorInputs& in) {
  if (in.facts.translated) {
    return problem(
        "device",
        "The CPU is used: this program is translated by Rosetta, and there is "
        "no Metal for MLX",
        "Build it as arm64, from a terminal that isn't under Rosetta");
  }
  const std::string_view system = in.facts.system;
  const std::size_t space = system.rfind(' ');
  if (space != system.npos &&
      version_before(system.substr(space + 1), kLeastMacos)) {
    return problem(
        "device",
        fmt::format(
            "The CPU is used: MLX's Metal needs macOS {}, here is {}",
            kLeastMacos,
            system),
        "Update macOS");
  }
  return problem(
      "device",
      "The CPU is used: MLX found no Metal device",
      "Run it outside virtual machines, on an Apple chip; `make setup` "
      "installs MLX's Metal");
}

/// MLX finds no GPU, though there is an NVIDIA driver.
Check check_missing_cuda(const DoctorInputs& in) {
  const std::string& driver = in.nvidia_driver;
  const bool thirteen = in.mlx_package == "mlx-cuda-13";
  const char* least = thirteen ? kLeastDriverCuda13 : kLeastDriverCuda12;
  if (version_before(driver, least)) {
    const bool twelve_would_do =
        thirteen && !version_before(driver, kLeastDriverCuda12);
    return problem(
        "device",
        fmt::format(
            "The CPU is used: the NVIDIA driver {} is too old, {} needs {}",
            driver,
            is_cuda_package(in) ? in.mlx_package : "MLX with CUDA",
            least),
        twelve_would_do
            ? "Update the driver, or run `make setup "
              "ROOFLINE_BACKEND=cuda12` and build again"
            : fmt::format("Update the driver to {} or later", least));
  }
  if (is_cuda_package(in)) {
    return problem(
        "device",
        fmt::format(
            "The CPU is used: {} and the NVIDIA driver {} are here, yet MLX "
            "finds no GPU",
            in.mlx_package,
            driver),
        "See what `nvidia-smi` lists; give a container its GPU (docker run "
        "--gpus all), and unset CUDA_VISIBLE_DEVICES");
  }
  const bool new_enough = !version_before(driver, kLeastDriverCuda13);
  return warning(
      "device",
      fmt::format(
          "The CPU is used: this MLX has no CUDA, though the NVIDIA driver {} "
          "is here",
          driver),
      fmt::format(
          "Run `make setup ROOFLINE_BACKEND={}` and build again",
          new_enough ? "cuda13" : "cuda12"));
}

std::string version_or_absent(const std::string& text) {
  return text.empty() ? "absent" : text;
}

/// "0.32.4.dev1" is 0.32.4's.
bool same_release(std::string_view version, std::string_view release) {
  return version == release ||
         (version.substr(0, release.size()) == release &&
          (version[release.size()] == '.' || version[release.size()] == '+'));
}

}  // namespace

bool version_before(std::string_view version, std::string_view other) {
  const auto take = [](std::string_view& text) {
    const std::size_t dot = text.find('.');
    const std::string part(text.substr(0, dot));
    text = dot == text.npos ? std::string_view() : text.substr(dot + 1);
    return std::strtol(part.c_str(), nullptr, 10);
  };
  while (!version.empty() || !other.empty()) {
    const long a = take(version);
    const long b = take(other);
    if (a != b) {
      return a < b;
    }
  }
  return false;
}

Check check_device(const DoctorInputs& in) {
  if (in.backend != "cpu") {
    const std::string gpu = fmt::format(
        "{}{}",
        in.backend == "metal" ? "Metal" : "CUDA",
        in.gpu.empty() ? "" : fmt::format(", {}", in.gpu));
    if (in.default_device == "cpu") {
      return warning(
          "device",
          fmt::format("The CPU is MLX's default, though it found {}", gpu),
          "Give --device gpu, or make the GPU the default again");
    }
    return good(
        "device",
        fmt::format(
            "The GPU ({}): MLX found it, and where there is one it is the "
            "default",
            gpu));
  }
  if (in.facts.macos) {
    return check_missing_metal(in);
  }
  if (!in.nvidia_driver.empty()) {
    return check_missing_cuda(in);
  }
  if (is_cuda_package(in)) {
    return warning(
        "device",
        fmt::format(
            "The CPU is used: {} is here, but no NVIDIA driver answers",
            in.mlx_package),
        "Install the NVIDIA driver; a container needs its GPU (docker run "
        "--gpus all)");
  }
  return good(
      "device",
      fmt::format(
          "The CPU: {} has neither Metal nor CUDA, and no NVIDIA driver "
          "answers",
          in.mlx_package.empty() ? "this MLX" : in.mlx_package));
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
  if (!in.facts.macos) {
    return good("system", in.facts.system);
  }
  if (in.xcode.empty()) {
    return warning(
        "system",
        in.facts.system + "; no Xcode command line tools, which building needs",
        "Run `xcode-select --install`");
  }
  return good("system", in.facts.system + "; Xcode tools at " + in.xcode);
}

Check check_python(const DoctorInputs& in) {
  if (in.python.empty()) {
    return good("python", "No python3 found; Roofline needs none to run");
  }
  const std::string found = fmt::format(
      "{} ({}); mlx {}, mlx-lm {}",
      in.python,
      in.python_environment.empty() ? "no environment active"
                                    : in.python_environment,
      version_or_absent(in.mlx_python),
      version_or_absent(in.mlx_lm_python));
  if (!in.mlx_python.empty() && !in.mlx_lm_needs.empty() &&
      version_before(in.mlx_python, in.mlx_lm_needs)) {
    return warning(
        "python",
        fmt::format("{}, which needs mlx {} or later", found, in.mlx_lm_needs),
        "Run `pip install --upgrade mlx mlx-lm`");
  }
  if (!in.mlx_python.empty() && !same_release(in.mlx_python, in.mlx_compiled)) {
    return warning(
        "python",
        fmt::format("{}; this program has mlx {}", found, in.mlx_compiled),
        fmt::format("Run `pip install mlx=={}`", in.mlx_compiled));
  }
  const std::size_t space = in.python.rfind(' ');
  const bool told = space != in.python.npos;
  if (told && version_before(in.python.substr(space + 1), kLeastPython)) {
    return warning(
        "python",
        fmt::format(
            "{}; the mlx of today needs Python {}",
            found,
            kLeastPython),
        "Make an environment with a later Python");
  }
  return good("python", found);
}

Check check_bandwidth(const DoctorInputs& in) {
  if (!in.bandwidth) {
    return good("bandwidth", "Not measured yet; the next bench does");
  }
  const double speed = *in.bandwidth / kGb;
  const std::string found =
      fmt::format("{:.1f} GB/s read by the CPU's threads, measured", speed);
  if (speed < 1 || speed > 20000) {
    return warning(
        "bandwidth",
        found + ", which isn't plausible",
        "Delete machine.json in the cache, and run `roofline bench`");
  }
  return good("bandwidth", found);
}

Check check_gpu_bandwidth(const DoctorInputs& in) {
  if (!in.gpu_bandwidth) {
    return in.backend == "cpu"
               ? good("gpu bandwidth", "There is no GPU to measure")
               : warning(
                     "gpu bandwidth",
                     "The GPU's memory couldn't be measured",
                     "End what else uses its memory, and run `roofline doctor` "
                     "again");
  }
  const double speed = *in.gpu_bandwidth / kGb;
  std::string found = fmt::format("{:.0f} GB/s, measured", speed);
  const Chip* chip = look_up_chip(in.gpu);
  if (chip == nullptr) {
    return good("gpu bandwidth", found);
  }
  const double share = speed / chip->gigabytes_s;
  found += fmt::format(
      "; {:.0f} % of the {:.0f} GB/s that are published",
      100 * share,
      chip->gigabytes_s);
  // A copy reaches 80 to 95 %.
  constexpr double kExpectedShare = 0.6;
  return share < kExpectedShare
             ? warning(
                   "gpu bandwidth",
                   found,
                   "End what else uses the GPU, plug in the power and turn off "
                   "low-power mode; delete machine.json in the cache to "
                   "measure again")
             : good("gpu bandwidth", found);
}

}  // namespace roofline
