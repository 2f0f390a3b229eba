// The matrices that an adapter may be added to, as people write them.
#pragma once

#include <string_view>

namespace roofline {

/// "q_proj" → ".attention.q", the end of our tensors' names. Throws UserError
/// with the nearest name.
std::string_view adapter_tensor_end(std::string_view target);

}  // namespace roofline
