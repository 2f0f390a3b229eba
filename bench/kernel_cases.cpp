#include "kernel_cases.h"

#include "kernel_cases_parts.h"

namespace roofline::bench {

std::vector<CaseMaker> kernel_cases() {
  std::vector<CaseMaker> cases;
  add_products(cases);
  add_attention(cases);
  add_rows(cases);
  add_others(cases);
  return cases;
}

}  // namespace roofline::bench
