#include "roofline/cli/mlx_version.h"

#include <dlfcn.h>

#include <fmt/format.h>
#include <mlx/backend/cuda/cuda.h>
#include <mlx/backend/metal/metal.h>
#include <mlx/version.h>

#include "roofline/base/errors.h"

namespace roofline::cli {

namespace mx = mlx::core;

namespace {

/// The part of a version before a third dot: "0.32.4.dev1+abc" → "0.32.4".
std::string_view release_of(std::string_view version) {
  int dots = 0;
  for (std::size_t i = 0; i < version.size(); ++i) {
    const bool digit = version[i] >= '0' && version[i] <= '9';
    if (!digit && (version[i] != '.' || ++dots == 3)) {
      return version.substr(0, i);
    }
  }
  return version;
}

}  // namespace

std::string compiled_mlx_version() {
  return fmt::format(
      "{}.{}.{}",
      MLX_VERSION_MAJOR,
      MLX_VERSION_MINOR,
      MLX_VERSION_PATCH);
}

std::string loaded_mlx_version() {
  return mx::version();
}

std::filesystem::path loaded_mlx_path() {
  Dl_info info = {};
  const auto* symbol = reinterpret_cast<const void*>(&mx::version);
  return ::dladdr(symbol, &info) != 0 && info.dli_fname != nullptr
             ? std::filesystem::path(info.dli_fname)
             : std::filesystem::path();
}

void require_same_mlx(std::string_view compiled, std::string_view loaded) {
  if (release_of(compiled) == release_of(loaded)) {
    return;
  }
  fail<UnsupportedError>(
      fmt::format("The libmlx that was loaded is version {}", loaded),
      fmt::format("This program was built with {}", compiled),
      fmt::format(
          "Point LD_LIBRARY_PATH (DYLD_LIBRARY_PATH on macOS) at the libmlx of "
          "mlx {}, or build again with `make build`",
          compiled));
}

void require_same_mlx() {
  require_same_mlx(compiled_mlx_version(), loaded_mlx_version());
}

std::string mlx_backend() {
  if (mx::metal::is_available()) {
    return "metal";
  }
  return mx::cu::is_available() ? "cuda" : "cpu";
}

}  // namespace roofline::cli
