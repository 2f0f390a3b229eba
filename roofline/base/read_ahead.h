// What a thread of a pool will read in the next run: it asks for that while it
// waits for the run to begin. Memory would idle otherwise, which is what bounds
// a step of one token.
#pragma once

#include <cstddef>

namespace roofline {

struct ReadAhead {
  const std::byte* begin = nullptr;
  std::size_t bytes = 0;
};

/// Called in a piece: how the calling thread passes its next wait, in place of
/// what it said before. Only asked for, so the memory may be gone by then.
void read_while_waiting(const ReadAhead& next);

}  // namespace roofline
