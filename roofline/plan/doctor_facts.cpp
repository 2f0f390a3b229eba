// What doctor asks this machine by trying.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>

#include <fmt/format.h>

#include "roofline/base/clock.h"
#include "roofline/plan/doctor.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

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

double measure_cpu_share() {
  const auto start = Clock::now();
  const double before = cpu_seconds();
  double wall = 0;
  while (wall < 0.2) {
    wall = seconds_since(start);
  }
  return std::min(1.0, (cpu_seconds() - before) / wall);
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

std::string mlx_package_near(const fs::path& library) {
  constexpr std::array kPackages = {
      "mlx_cuda_13",
      "mlx_cuda_12",
      "mlx_cpu",
      "mlx_metal"};
  // site-packages/mlx/lib/libmlx.so
  constexpr int kLevels = 4;
  fs::path folder = library.parent_path();
  for (int level = 0; level < kLevels && !folder.empty(); ++level) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      const std::string name = entry.path().filename().string();
      for (std::string package : kPackages) {
        if (name.starts_with(package + "-") && name.ends_with(".dist-info")) {
          std::replace(package.begin(), package.end(), '_', '-');
          return package;
        }
      }
    }
    folder = folder.parent_path();
  }
  return "";
}

}  // namespace roofline
