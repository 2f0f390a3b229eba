// What this machine can do, measured once and kept: the bandwidth that the
// share of the roof is computed from.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace roofline {

struct MachineProfile {
  /// The processor's own name, or the GPU's.
  std::string cpu;
  /// CPU threads that read; 0 for a GPU.
  int threads = 0;
  /// Read bandwidth with all threads, bytes a second, over working_set_bytes
  /// that lie in no cache when the reading begins. For a GPU: bytes
  /// read and written by a large copy. That of the quickest quarter of many
  /// readings: whatever else runs can only make one slower.
  double read_bandwidth = 0;
  std::size_t working_set_bytes = 0;
  /// Operations a second, as peak.h measures them; 0: not measured yet. Of
  /// 8-bit codes and of float32; a GPU's of 16-bit floats stands in both.
  double code_operations = 0;
  double float_operations = 0;
};

/// The kept profile for this processor and thread count, or none (also when
/// the file that keeps them is broken).
std::optional<MachineProfile> load_machine_profile(int threads);
/// Measures (well under a second); keeps and returns it, or what was kept
/// before where that is more. Holds some 16 MB of memory meanwhile.
MachineProfile measure_machine(int threads);
/// Kept, else measured.
MachineProfile machine_profile(int threads);

/// The same for MLX's default GPU. Throws UnsupportedError when there is none.
MachineProfile gpu_profile();

/// The memory of the card that MLX's GPU is; absent where the GPU shares the
/// system's (Apple's) and where there is none.
std::optional<std::uint64_t> card_memory_bytes();

/// The same profile with its peak operations: measured (some 0.1 s), or what
/// was kept before where that is more. Keeps them.
MachineProfile with_peak(MachineProfile profile);

/// The profile of the device that a decoder runs on: gpu_profile() when MLX's
/// default device is a GPU, else machine_profile() of the global pool's
/// threads, or of the usable cores where these are fewer: more threads than
/// cores don't make the memory slower, only themselves.
MachineProfile current_profile();

/// The same beside a run that read `bytes` again and again, so many a second:
/// measured anew when that is more than was kept, for something else had the
/// memory then. Not where the bytes are too few to tell a cache from it.
MachineProfile profile_beside(std::size_t bytes, double bytes_per_second);

}  // namespace roofline
