// The kernels that bench/kernel_roofs.cpp measures.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace roofline::bench {

/// What bounds a kernel at its shape.
enum class Roof { bandwidth, int8, float32, bfloat16 };

/// One run on all threads, with memory of its own.
struct KernelCase {
  std::function<void()> run;
  double bytes = 0;       ///< read and written
  double operations = 0;  ///< executed: two planes of codes count twice
};

/// Made when its turn comes, so that only one case's memory is held.
struct CaseMaker {
  std::string name;   ///< unique: kernel, format, tokens
  std::string shape;  ///< for people
  Roof roof = Roof::bandwidth;
  std::function<KernelCase()> make;
};

std::vector<CaseMaker> kernel_cases();

}  // namespace roofline::bench
