// Where a checkpoint's matrices lie in MLX's layout: which stored tensor holds
// each, and which of its rows. From a folder in Hugging Face's or MLX's layout
// or from a GGUF file, whose rows may lie in another order.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "roofline/quantize/plan_formats.h"
#include "roofline/spec/families.h"
#include "roofline/spec/tensor_names.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/convert/hf_source.h"

namespace roofline {

/// One tensor as it will be stored, and which of ours it holds.
struct StoredTensor {
  const RowTensor* tensor = nullptr;
  std::string module;  ///< its name without ".weight"
  std::vector<NamedRows> parts;
};

struct StoredPlace {
  const StoredTensor* stored = nullptr;
  NamedRows rows;
  /// Not 0: the checkpoint has the rows of so many heads in pairs.
  int paired_heads = 0;
};

class MlxPlaces {
 public:
  /// checkpoint must outlive it. Throws what opening it as a source of
  /// conversion throws, UnsupportedError for weights that are packed already.
  explicit MlxPlaces(const Checkpoint& checkpoint);
  MlxPlaces(const MlxPlaces&) = delete;
  MlxPlaces& operator=(const MlxPlaces&) = delete;

  const HfSource& source() const { return source_; }
  const std::vector<StoredTensor>& stored() const { return stored_; }
  /// name: ours. nullptr: no stored tensor holds it.
  const StoredPlace* find(const std::string& name) const;
  /// Matrices (our names) that one stored tensor holds, or that readers make
  /// one of (experts), which so must share a format; only where there are
  /// several.
  std::vector<std::vector<std::string>> together() const;
  /// Matrices that share a stored tensor get the widest of their formats;
  /// those that can't be stored in codes stay floats and are added to `unfit`,
  /// and those whose source has codes of no more bits stay as they are.
  void settle(FormatPlan& plan) const;
  /// Whether a stored tensor is to be quantized, once the plan is settled.
  MatrixFormat format_of(const StoredTensor& stored, const FormatPlan& plan)
      const;
  /// The same of what it will be stored in: codes of the source's count too.
  MatrixFormat stored_format(const StoredTensor& stored, const FormatPlan& plan)
      const;

 private:
  void add(const RowTensor& tensor, const ModelSpec& spec);
  bool is_paired(const StoredTensor& stored) const;
  int heads_in_pairs(const std::string& name) const;
  std::map<std::string, std::vector<std::string>> loose_experts() const;
  static void settle_alike(
      const std::vector<std::string>& names,
      FormatPlan& plan);

  const Checkpoint& checkpoint_;
  HfSource source_;
  /// Whose architecture a file has and whose folder it would become; null of a
  /// folder.
  const Family* file_family_ = nullptr;
  const Family* family_ = nullptr;
  std::vector<RowTensor> tensors_;
  std::vector<StoredTensor> stored_;
  std::map<std::string, StoredPlace, std::less<>> places_;
};

}  // namespace roofline
