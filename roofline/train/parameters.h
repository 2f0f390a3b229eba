// The values that a run trains: float32 memory that optimizers write and that
// the graph sees through the hooks of a decoder, in the order of names.
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
  /// the seed within ±1/√in, b zero; DoRA's magnitudes are the rows' lengths.
  /// Full: takes over what the hooks hold. Throws UserError when a target isn't
  /// in the model.
  Parameters(const TrainableDecoder& decoder, const TrainOptions& options);

  std::size_t count() const { return arrays_.size(); }
  std::size_t total_values() const;
  /// Indices in the order in which a gradient comes about: of what follows the
  /// layers, of each layer from the last, of what stands before them.
  std::vector<std::vector<int>> way_back() const;
  const std::vector<TrainedShape>& shapes() const { return shapes_; }
  const std::vector<std::string>& names() const { return names_; }
  std::vector<std::span<float>> values();

  /// Over the same memory: a graph must be done before the values change.
  const std::vector<mx::array>& arrays() const { return arrays_; }
  /// Puts arrays (values, or a gradient's tracers) into the hooks.
  void place(const std::vector<mx::array>& arrays) const;
  /// Takes the adapter out of the hooks, until place().
  void remove() const;
  /// What dropout draws in the next graphs.
  void set_dropout(float share, std::uint64_t seed);

  /// The low-rank matrices as an adapter (not for full training).
  Adapter adapter(const TrainOptions& options) const;

 private:
  /// Values that a hook has: a, b and with DoRA a magnitude a row.
  std::size_t each() const { return full_ ? 1 : magnitudes_ ? 3 : 2; }
  void add(const std::string& name, TrainedShape shape, mx::array start);
  void take_over();
  void add_adapters(const TrainOptions& options);
  void add_adapter(
      const std::string& name,
      const GraphHook& hook,
      int rank,
      std::uint64_t& state);

  const TrainableDecoder& decoder_;
  bool full_;
  bool magnitudes_;
  float scale_ = 1.0f;
  float dropout_ = 0.0f;
  std::uint64_t dropout_seed_ = 0;
  std::vector<GraphHookPtr> hooks_;  ///< adapters: one for each() values
  std::vector<std::string> names_;
  std::vector<TrainedShape> shapes_;
  std::vector<mx::array> arrays_;
};

}  // namespace roofline
