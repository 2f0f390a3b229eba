// What macOS tells of the machine. The only file that asks it.
#ifdef __APPLE__

#include <mach/mach.h>
#include <sys/sysctl.h>

#include <cstddef>
#include <string>

#include "roofline/plan/machine_facts.h"

namespace roofline {

namespace {

template <class T>
std::optional<T> sysctl_value(const char* name) {
  T value = {};
  std::size_t size = sizeof(value);
  if (::sysctlbyname(name, &value, &size, nullptr, 0) != 0) {
    return std::nullopt;
  }
  return value;
}

/// Free pages, and those that can be had at once.
std::optional<std::uint64_t> available_bytes() {
  vm_statistics64_data_t counts = {};
  mach_msg_type_number_t size = HOST_VM_INFO64_COUNT;
  vm_size_t page = 0;
  const host_t host = mach_host_self();
  if (host_page_size(host, &page) != KERN_SUCCESS ||
      host_statistics64(
          host,
          HOST_VM_INFO64,
          reinterpret_cast<host_info64_t>(&counts),
          &size) != KERN_SUCCESS) {
    return std::nullopt;
  }
  const std::uint64_t pages = std::uint64_t{counts.free_count} +
                              counts.inactive_count + counts.purgeable_count;
  return pages * page;
}

}  // namespace

void read_system_facts(MachineFacts& facts) {
  facts.macos = true;
  char version[64] = {};
  std::size_t size = sizeof(version) - 1;
  if (::sysctlbyname("kern.osproductversion", version, &size, nullptr, 0) ==
      0) {
    facts.system = std::string("macOS ") + version;
  }
  facts.memory_bytes = sysctl_value<std::uint64_t>("hw.memsize").value_or(0);
  facts.installed_bytes = facts.memory_bytes;
  facts.available_bytes = available_bytes();
  if (const auto swap = sysctl_value<xsw_usage>("vm.swapusage")) {
    facts.swap_used_bytes = swap->xsu_used;
  }
  facts.pressure_level =
      sysctl_value<int>("kern.memorystatus_vm_pressure_level");
  facts.translated =
      sysctl_value<int>("sysctl.proc_translated").value_or(0) == 1;
}

}  // namespace roofline

#endif
