#include "roofline/spec/read_config.h"

namespace roofline {

std::string describe(const ModelSpec& spec) {
  return spec.family;
}

}  // namespace roofline
