#include "roofline/kernels/peak/peak_tiles.h"

namespace roofline {

PeakKernel peak_amx(PeakKind kind) {
  return tiles_peak<AmxTiles>(kind);
}

}  // namespace roofline
