// The sizes of a model in a config.json, under the names that its family has
// for them.
#pragma once

#include <cstdint>

#include "roofline/spec/families.h"
#include "roofline/spec/fields.h"

namespace roofline {

struct Sizes {
  int dim = 0;
  int hidden = 0;
  int layers = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int vocab = 0;
  std::int64_t context = 0;
};

/// Sizes that go together: heads share kv_heads evenly, head_dim is known.
Sizes read_sizes(Fields& config, const Family& family);

}  // namespace roofline
