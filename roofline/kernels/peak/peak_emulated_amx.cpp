// For tests where there is no AMX.
#include "roofline/kernels/peak/peak_tiles.h"

namespace roofline {

PeakKernel peak_emulated_amx() {
  return tiles_peak<EmulatedTiles>();
}

}  // namespace roofline
