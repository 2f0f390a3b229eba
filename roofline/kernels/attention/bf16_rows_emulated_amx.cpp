// For tests where there is no AMX.
#include "roofline/kernels/attention/tile_rows_impl.h"

namespace roofline {

void bf16_rows_emulated_amx(const AttentionTask& task) {
  tile_rows<EmulatedTiles>(task);
}

}  // namespace roofline
