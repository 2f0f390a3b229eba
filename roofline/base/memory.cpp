#include "roofline/base/memory.h"

#ifdef __APPLE__
#include <mach/mach.h>
#else
#include <features.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#endif

namespace roofline {

#ifdef __APPLE__

namespace {

task_vm_info_data_t vm_info() {
  task_vm_info_data_t info = {};
  mach_msg_type_number_t count = TASK_VM_INFO_COUNT;
  task_info(
      mach_task_self(),
      TASK_VM_INFO,
      reinterpret_cast<task_info_t>(&info),
      &count);
  return info;
}

}  // namespace

std::size_t resident_bytes() {
  return static_cast<std::size_t>(vm_info().phys_footprint);
}

std::size_t resident_file_bytes() {
  return 0;
}

std::size_t peak_resident_bytes() {
  return static_cast<std::size_t>(vm_info().ledger_phys_footprint_peak);
}

#else

namespace {

// A line of /proc/self/status such as "VmHWM:    123456 kB".
std::size_t status_bytes(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field) && line.size() > field.size() &&
        line[field.size()] == ':') {
      const char* digits = line.c_str() + field.size() + 1;
      return std::strtoull(digits, nullptr, 10) * 1024;
    }
  }
  return 0;
}

}  // namespace

std::size_t resident_bytes() {
  return status_bytes("VmRSS");
}

std::size_t resident_file_bytes() {
  return status_bytes("RssFile");
}

std::size_t peak_resident_bytes() {
  return status_bytes("VmHWM");
}

#endif

void release_freed_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace roofline
