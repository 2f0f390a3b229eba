// The matrices that an adapter may be added to, as people write them.
#pragma once

#include <string>
#include <string_view>

namespace roofline {

/// "q_proj" → ".attention.q", the end of our tensors' names. Throws UserError
/// with the nearest name.
std::string_view adapter_tensor_end(std::string_view target);

/// Programs that name modules by their place in a model of their own.
enum class ModuleTree { peft, mlx_lm };

/// A module's name there, from its name in the model's files: nearly always the
/// same.
std::string module_in_tree(std::string_view stored, ModuleTree tree);

}  // namespace roofline
