// Which modules of other programs' models our matrices are: a module can be one
// matrix, or several one above the other (queries, keys and values as one).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "roofline/model/adapter.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

/// Rows of a module, in the order of the matrix's own.
struct ModulePart {
  std::string matrix;  ///< our name
  std::vector<std::int32_t> rows;
};

struct AdapterModule {
  std::string name;  ///< "model.layers.3.self_attn.qkv_proj"
  int rows = 0;
  std::vector<ModulePart> parts;

  /// It is that one matrix, all of it.
  bool is_matrix() const;
};

/// The modules with an adapter's matrices, by their names in the files of the
/// model and, where those have no such name, by Hugging Face's usual one. A
/// matrix that no module is known for is one under our own name.
std::vector<AdapterModule> adapter_modules(
    const Adapter& adapter,
    const Checkpoint& checkpoint,
    AdapterFormat format);

/// The name of one of our matrices in Hugging Face's layout, without ".weight";
/// our own name where there is no matrix of its own.
std::string hugging_face_matrix(const std::string& name, const ModelSpec& spec);

}  // namespace roofline
