// Which of a model's matrices distillation trains.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "roofline/quantize/codes.h"
#include "roofline/weights/checkpoint.h"

namespace roofline {

using CodesByName = std::map<std::string, CodeMatrix, std::less<>>;
using NameSet = std::set<std::string, std::less<>>;

/// Those in affine codes; of experts, those of stacks where all are.
NameSet distilled_names(const Checkpoint& checkpoint, const CodesByName& codes);

}  // namespace roofline
