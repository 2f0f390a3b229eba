// The values that a run trains: plain float32 memory, which the graph sees
// through the hooks of a decoder, in the order of names.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <mlx/array.h>

#include "roofline/model/adapter.h"
#include "roofline/model/trainable_decoder.h"
#include "roofline/train/optimizer.h"
#include "roofline/train/options.h"

namespace roofline {

/// Whether full training changes the weight of this name: those of the last
/// `last_layers` layers, or all where that is 0.
bool is_trained_name(std::string_view name, int layers, int last_layers);

/// Whether a matrix is one of the targets ("q_proj", …). Throws UserError for
/// an unknown target.
bool is_target(std::string_view name, const std::vector<std::string>& targets);

class Parameters {
 public:
  /// Adapters: adds low-rank matrices to the hooks of the targets, a drawn from
  /// the seed within ±1/√in, b zero. Full: takes over what the hooks hold.
  /// Throws UserError when a target isn't in the model.
  Parameters(const TrainableDecoder& decoder, const TrainOptions& options);

  std::size_t count() const { return values_.size(); }
  std::size_t total_values() const;
  const std::vector<TrainedShape>& shapes() const { return shapes_; }
  const std::vector<std::string>& names() const { return names_; }
  std::vector<std::span<float>> values();

  /// Arrays over the values as they are now; they must not outlive a change.
  std::vector<mx::array> arrays() const;
  /// Puts arrays (values, or a gradient's tracers) into the hooks.
  void place(const std::vector<mx::array>& arrays) const;
  /// Takes the adapter out of the hooks, until place().
  void remove() const;
  /// What dropout draws in the next graphs.
  void set_dropout(float share, std::uint64_t seed);

  /// The low-rank matrices as an adapter (not for full training).
  Adapter adapter(const TrainOptions& options) const;

 private:
  void add(const std::string& name, TrainedShape shape);
  void add_adapter(const std::string& name, GraphHook& hook, int rank);

  const TrainableDecoder& decoder_;
  bool full_;
  float scale_ = 1.0f;
  float dropout_ = 0.0f;
  std::uint64_t dropout_seed_ = 0;
  std::vector<GraphHookPtr> hooks_;  ///< adapters: one for two values
  std::vector<std::string> names_;
  std::vector<TrainedShape> shapes_;
  std::vector<std::vector<float>> values_;
};

}  // namespace roofline
