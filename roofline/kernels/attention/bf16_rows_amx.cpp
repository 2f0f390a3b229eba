#include "roofline/kernels/attention/tile_rows_impl.h"

namespace roofline {

void bf16_rows_amx(const AttentionTask& task) {
  tile_rows<AmxTiles>(task);
}

}  // namespace roofline
