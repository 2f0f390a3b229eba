// For tests where there is no AMX.
#include "roofline/kernels/attention/bf16_rows_tiles.h"

namespace roofline {

void bf16_rows_emulated_amx(const AttentionTask& task) {
  bf16_rows_of<TileProducts<EmulatedTiles>>(task);
}

}  // namespace roofline
