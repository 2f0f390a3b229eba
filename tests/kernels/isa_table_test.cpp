#include "roofline/kernels/isa_table.h"

#include <gtest/gtest.h>

#include <string>

#include "kernels/isas.h"
#include "roofline/kernels/attention/task.h"
#include "roofline/kernels/dense/dense.h"
#include "roofline/kernels/gemm/gemm.h"
#include "roofline/kernels/norm_rope/norm_rope.h"
#include "roofline/kernels/qmm/qmm.h"
#include "roofline/kernels/recurrent/scan.h"
#include "roofline/kernels/row_grads/row_grads.h"

namespace roofline {
namespace {

struct Named {
  const char* name;
};

constexpr Named kGeneric{"generic"};
constexpr Named kAvx2{"avx2"};
constexpr Named kNeon{"neon"};

class IsaTableTest : public testing::EveryIsa {};

TEST_P(IsaTableTest, AMissingVariantIsReplacedByTheNextOneDown) {
  const IsaTable<Named> table{
      []() -> const Named& { return kGeneric; },
      []() -> const Named& { return kAvx2; },
      nullptr,
      []() -> const Named& { return kNeon; },
      nullptr};
  EXPECT_EQ(table.find(Isa::avx512), nullptr);
  EXPECT_EQ(table.find(Isa::i8mm), nullptr);
  EXPECT_EQ(table.find(Isa::neon), &kNeon);
  const std::string name = table.active().name;
  switch (GetParam()) {
    case Isa::generic:
      EXPECT_EQ(name, "generic");
      break;
    case Isa::avx2:
    case Isa::avx512:
    case Isa::amx:
      EXPECT_EQ(name, "avx2");
      break;
    case Isa::neon:
    case Isa::i8mm:
      EXPECT_EQ(name, "neon");
      break;
  }
}

TEST_P(IsaTableTest, EveryOpRunsTheForcedVariant) {
  const Isa isa = GetParam();
  const auto expect = [&](const auto& active, const auto* own) {
    EXPECT_EQ(active.name, testing::variant_name(isa, own != nullptr));
    if (own != nullptr) {
      EXPECT_EQ(&active, own);
    }
  };
  // The byte products are what i8mm is there for.
  if (isa != Isa::amx) {
    EXPECT_EQ(qmm_kernels().name, isa_name(isa));
  }
  expect(qmm_kernels(), qmm_kernels(isa));
  expect(dense_kernels(), dense_kernels(isa));
  expect(gemm_kernels(), gemm_kernels(isa));
  expect(attention_kernels(), attention_kernels(isa));
  expect(kv_code_kernels(), kv_code_kernels(isa));
  expect(row_kernels(), row_kernels(isa));
  expect(row_grad_kernels(), row_grad_kernels(isa));
  expect(scan_kernels(), scan_kernels(isa));
}

INSTANTIATE_TEST_SUITE_P(
    Isas,
    IsaTableTest,
    ::testing::ValuesIn(testing::runnable_isas()),
    testing::isa_test_name);

}  // namespace
}  // namespace roofline
