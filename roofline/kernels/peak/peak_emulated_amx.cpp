// For tests where there is no AMX.
#include "roofline/kernels/peak/peak_tiles.h"

namespace roofline {

PeakKernel peak_emulated_amx(PeakKind kind) {
  return tiles_peak<EmulatedTiles>(kind);
}

}  // namespace roofline
