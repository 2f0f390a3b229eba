// How much memory this process holds, as the system counts it.
#pragma once

#include <cstddef>

namespace roofline {

/// Bytes resident now: Linux VmRSS, macOS the physical footprint. 0 when the
/// system won't tell.
std::size_t resident_bytes();

/// Of those, pages of mapped files: Linux RssFile. 0 when the system won't
/// tell.
std::size_t resident_file_bytes();

/// The most that was ever resident, from the process's start: Linux VmHWM,
/// macOS the footprint's peak. 0 when the system won't tell.
std::size_t peak_resident_bytes();

/// Gives memory that was freed back to the system, where the allocator would
/// keep it (glibc's); nothing elsewhere.
void release_freed_memory();

}  // namespace roofline
