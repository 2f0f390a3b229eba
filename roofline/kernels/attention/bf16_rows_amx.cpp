#include "roofline/kernels/attention/bf16_rows_tiles.h"

namespace roofline {

void bf16_rows_amx(const AttentionTask& task) {
  bf16_rows_of<TileProducts<AmxTiles>>(task);
}

}  // namespace roofline
