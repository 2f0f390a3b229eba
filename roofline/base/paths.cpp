#include "roofline/base/paths.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <system_error>

#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

namespace roofline {

namespace fs = std::filesystem;

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') {
    return std::nullopt;
  }
  return value;
}

fs::path home_dir() {
  if (auto home = environment("HOME")) {
    return *home;
  }
  const passwd* user = ::getpwuid(::getuid());
  return user != nullptr && user->pw_dir != nullptr ? user->pw_dir : "/";
}

bool ensure_private_dir(const fs::path& folder) {
  std::error_code error;
  if (fs::is_directory(folder, error)) {
    return true;
  }
  if (folder.has_parent_path() && folder.parent_path() != folder &&
      !ensure_private_dir(folder.parent_path())) {
    return false;
  }
  ::mkdir(folder.c_str(), 0700);
  return fs::is_directory(folder, error);
}

fs::path cache_dir() {
  fs::path folder;
  if (auto own = environment("ROOFLINE_CACHE")) {
    folder = *own;
  } else if (auto xdg = environment("XDG_CACHE_HOME")) {
    folder = fs::path(*xdg) / "roofline";
  } else {
    folder = home_dir() / ".cache" / "roofline";
  }
  ensure_private_dir(folder);
  return folder;
}

fs::path models_dir() {
  if (auto own = environment("ROOFLINE_MODELS")) {
    return *own;
  }
  if (auto xdg = environment("XDG_DATA_HOME")) {
    return fs::path(*xdg) / "roofline" / "models";
  }
  return home_dir() / ".local" / "share" / "roofline" / "models";
}

fs::path executable_path() {
  std::error_code error;
#ifdef __APPLE__
  char buffer[4096];
  std::uint32_t size = sizeof(buffer);
  if (_NSGetExecutablePath(buffer, &size) != 0) {
    return {};
  }
  fs::path path = fs::canonical(buffer, error);
#else
  fs::path path = fs::read_symlink("/proc/self/exe", error);
#endif
  return error ? fs::path() : path;
}

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

}  // namespace roofline
