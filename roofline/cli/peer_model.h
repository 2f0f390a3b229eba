// The model in the layout that a peer reads: its own files where that is it,
// else a copy in a folder that goes when the benchmark ends.
#pragma once

#include <atomic>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "roofline/model/decoder.h"
#include "roofline/plan/planned_model.h"

namespace roofline::cli {

/// The form nearest to how most of the weights are stored: MLX's affine codes
/// in so many bits, or GGUF's type; 16: floats.
struct PeerForm {
  int bits = 16;
  std::string gguf_type = "bf16";
  int group_size = 32;
};
PeerForm peer_form(const PlannedModel& model);

class PeerModel {
 public:
  /// peer: llama.cpp reads GGUF files, mlx-lm folders. choice is how floats are
  /// to run, in its groups where the peer has such. Throws UserError when
  /// the model can't be written so, or once `stop` is set.
  PeerModel(
      std::string_view peer,
      const PlannedModel& model,
      const std::optional<QuantizeChoice>& choice,
      const std::atomic<bool>& stop);
  ~PeerModel();
  PeerModel(const PeerModel&) = delete;
  PeerModel& operator=(const PeerModel&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// What was written, for people; "" where nothing was.
  const std::string& remark() const { return remark_; }

 private:
  void write_folder(const PeerForm& form);
  void write_gguf(const PeerForm& form);

  const std::atomic<bool>& stop_;
  std::filesystem::path source_;
  std::filesystem::path path_;
  std::filesystem::path folder_;
  std::string remark_;
};

}  // namespace roofline::cli
