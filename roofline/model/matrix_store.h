// Decides for each matrix of a checkpoint how the CPU step will read it, packs
// what must be packed into one blob file, and maps that file at the next start.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "roofline/base/thread_pool.h"
#include "roofline/kernels/packed_matrix.h"
#include "roofline/model/decoder.h"
#include "roofline/model/held_form.h"
#include "roofline/weights/blob_file.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/encodings.h"

namespace roofline {

class MatrixStore {
 public:
  /// names: of all matrices that will be asked for. head: the one of them that
  /// gets a coarse copy where that pays. `checkpoint` must outlive the store,
  /// since float matrices stay in it.
  MatrixStore(
      const Checkpoint& checkpoint,
      const ModelOptions& options,
      std::span<const std::string> names,
      std::string_view head,
      ThreadPool& pool);

  /// Throws BugError for a name that wasn't in the list.
  const PackedMatrix& at(std::string_view name) const;
  /// The coarse copy of the head (head_screen.h), or nullptr.
  const PackedMatrix* screen() const { return screen_ ? &*screen_ : nullptr; }
  /// Its rows' errors.
  std::span<const float> screen_errors() const { return screen_errors_; }
  /// Why nothing was kept on disk, or "".
  const std::string& note() const { return note_; }

 private:
  /// How one matrix comes into its packed form.
  struct Plan {
    const Tensor* tensor = nullptr;
    HeldForm form;
  };

  Plan plan_for(std::string_view name, const Tensor& tensor) const;
  std::string cache_key() const;
  std::vector<BlobSize> blob_sizes() const;
  bool map_cached(const std::string& key);
  void pack_all(const std::string& key);
  /// The matrix of a plan whose bytes are at data; its unit is still to be set.
  static PackedMatrix shaped(const Plan& plan, const std::byte* data);
  void view_screen(
      std::span<const std::byte> codes,
      std::span<const std::byte> errors);
  PackedMatrix pack_one(const Plan& plan, std::span<std::byte> out) const;

  const Checkpoint& checkpoint_;
  ModelOptions options_;
  ThreadPool& pool_;
  std::map<std::string, Plan, std::less<>> plans_;
  std::map<std::string, PackedMatrix, std::less<>> matrices_;
  std::string head_;
  const Tensor* screened_ = nullptr;  ///< the head, if it gets a coarse copy
  std::optional<PackedMatrix> screen_;
  std::span<const float> screen_errors_;
  std::optional<BlobFile> file_;
  std::unique_ptr<BlobFileWriter> writer_;
  std::string note_;
};

}  // namespace roofline
