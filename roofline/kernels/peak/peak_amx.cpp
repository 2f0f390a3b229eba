#include "roofline/kernels/peak/peak_tiles.h"

namespace roofline {

PeakKernel peak_amx() {
  return tiles_peak<AmxTiles>();
}

}  // namespace roofline
