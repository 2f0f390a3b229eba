#include "roofline/quantize/round_model.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/quantize/awq.h"
#include "roofline/quantize/calibrate.h"
#include "roofline/quantize/layered_model.h"
#include "roofline/quantize/overlay.h"
#include "roofline/quantize/round_matrix.h"
#include "roofline/weights/expert_tensors.h"

namespace roofline {

namespace {

class Run {
 public:
  Run(const Checkpoint& checkpoint,
      const FormatPlan& plan,
      const QuantizeOptions& options,
      QuantizeMethod method,
      QuantizeSink& sink,
      CodesByName* kept)
      : checkpoint_(checkpoint),
        plan_(plan),
        options_(options),
        method_(method),
        sink_(sink),
        kept_(kept),
        pool_(ThreadPool::global()),
        rounder_(method, options, pool_),
        seen_(checkpoint),
        model_(checkpoint.spec()) {
    for (const auto& [name, format] : plan.formats) {
      const Tensor& tensor = checkpoint.at(name);
      weights_ += static_cast<double>(tensor.rows * tensor.cols);
    }
  }

  void plain() {
    for (const auto& [name, format] : plan_.formats) {
      finish(name, format, {});
    }
  }

  void calibrated() {
    const auto layers = static_cast<int>(checkpoint_.spec().layers.size());
    const bool tied = checkpoint_.spec().tied_embeddings;
    // The embedding comes first, but as a tied head it is calibrated by what
    // leaves the last layer.
    const StatisticsByName head =
        tied && quantizes("embed") ? source_head() : StatisticsByName();
    finish_named("embed", head);
    TextStream stream = looked_up_.empty()
                            ? TextStream(checkpoint_, options_.windows)
                            : TextStream(
                                  checkpoint_,
                                  options_.windows,
                                  std::exchange(looked_up_, {}));
    std::optional<TextStream> source;
    if (rounder_.makes_up()) {
      source.emplace(checkpoint_, options_.windows);
    }
    for (int layer = 0; layer < layers; ++layer) {
      const auto statistics = stream.observe(
          model_,
          checkpoint_,
          layer,
          pool_,
          source ? &*source : nullptr);
      fold(layer, statistics);
      const auto prefix = fmt::format("layers.{}.", layer);
      for (const auto& [name, format] : plan_.formats) {
        if (name.starts_with(prefix)) {
          finish_named(name, statistics);
        }
      }
      stream.advance(model_, seen_, layer);
      if (source) {
        source->advance(model_, checkpoint_, layer);
      }
      seen_.restore();
    }
    if (!tied && quantizes("head")) {
      finish_named(
          "head",
          stream.observe_head(checkpoint_.spec(), checkpoint_, pool_));
    }
    finish_rest();
  }

 private:
  bool quantizes(const std::string& name) const {
    const auto found = plan_.formats.find(name);
    return found != plan_.formats.end() &&
           found->second.mode != QuantMode::keep;
  }

  /// The statistics of the head's input in the model as it is.
  StatisticsByName source_head() {
    TextStream stream(checkpoint_, options_.windows);
    const auto layers = static_cast<int>(checkpoint_.spec().layers.size());
    for (int layer = 0; layer < layers; ++layer) {
      tell("reading the text", 0);
      stream.advance(model_, checkpoint_, layer);
    }
    return stream.observe_head(checkpoint_.spec(), checkpoint_, pool_);
  }

  /// AWQ's scales, into this layer's tensors. Vectors are done with that.
  void fold(int layer, const StatisticsByName& statistics) {
    if (method_ != QuantizeMethod::awq) {
      return;
    }
    folded_ = fold_awq(
        checkpoint_,
        checkpoint_.spec().layers[static_cast<std::size_t>(layer)],
        layer,
        plan_,
        statistics,
        options_.scale_type,
        pool_);
    for (const auto& [name, values] : folded_.tensors) {
      if (values.rows == 1) {
        sink_.put_floats(name, values);
        seen_.replace(name, values);
      }
    }
  }

  void finish_named(
      const std::string& name,
      const StatisticsByName& statistics) {
    const auto format = plan_.formats.find(name);
    if (format == plan_.formats.end() || !done_.insert(name).second) {
      return;
    }
    finish(name, format->second, statistics);
  }

  /// Matrices that no layer named (of parts that only planning knows).
  void finish_rest() {
    for (const auto& [name, format] : plan_.formats) {
      finish_named(name, {});
    }
  }

  /// Rows that are worked on at a time.
  std::int64_t piece_rows(
      const std::string& name,
      const Tensor& tensor,
      const StatisticsByName& statistics) const {
    const bool stack = statistics.contains(expert_name(name, 0));
    const bool whole = stack || !(kept_ != nullptr || sink_.takes_pieces(name));
    return whole ? tensor.rows
                 : std::max<std::int64_t>(
                       1,
                       options_.piece_weights / tensor.cols);
  }

  /// To the sink, or to what is kept; and to what the layers behind will see.
  /// all_values: how many all pieces together have.
  void deliver(
      const std::string& name,
      std::int64_t row,
      std::size_t all_values,
      CodeMatrix codes) {
    if (name == "embed" && method_ != QuantizeMethod::plain) {
      look_up(row, decode(codes, pool_));
    } else if (seen_later(name)) {
      FloatMatrix values = decode(codes, pool_);
      if (row == 0) {
        decoded_ = std::move(values);
        decoded_.values.reserve(all_values);
      } else {
        decoded_.rows += values.rows;
        decoded_.values.insert(
            decoded_.values.end(),
            values.values.begin(),
            values.values.end());
      }
    }
    if (kept_ == nullptr) {
      sink_.put_codes(name, pack_codes(codes, pool_), row);
    } else if (row == 0) {
      kept_->emplace(name, std::move(codes));
    } else {
      kept_->find(name)->second.append(codes);
    }
  }

  /// Whether calibration runs through the matrix as it was rounded.
  bool seen_later(const std::string& name) const {
    return method_ != QuantizeMethod::plain && name.starts_with("layers.");
  }

  /// Keeps what the text looks up: a large vocabulary isn't decoded whole.
  void look_up(std::int64_t first, const FloatMatrix& values) {
    const auto cols = static_cast<std::size_t>(values.cols);
    looked_up_.resize(options_.windows.size());
    for (std::size_t w = 0; w < looked_up_.size(); ++w) {
      const auto& ids = options_.windows[w];
      FloatMatrix& rows = looked_up_[w];
      rows.rows = static_cast<int>(ids.size());
      rows.cols = values.cols;
      rows.values.resize(ids.size() * cols);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        const std::int64_t at = ids[i] - first;
        if (at >= 0 && at < values.rows) {
          const auto row = values.row(static_cast<int>(at));
          std::copy(
              row.begin(),
              row.end(),
              rows.row(static_cast<int>(i)).begin());
        }
      }
    }
  }

  void finish(
      const std::string& name,
      const MatrixFormat& format,
      const StatisticsByName& statistics) {
    const Tensor& tensor = checkpoint_.at(name);
    const auto weight = static_cast<double>(tensor.rows * tensor.cols);
    tell(name, weight);
    if (format.mode == QuantMode::keep) {
      return;
    }
    const auto folded = folded_.tensors.find(name);
    if (folded != folded_.tensors.end()) {
      deliver(
          name,
          0,
          0,
          round(name, std::move(folded->second), format, statistics));
    } else {
      const std::int64_t piece = piece_rows(name, tensor, statistics);
      for (std::int64_t row = 0; row < tensor.rows; row += piece) {
        const std::int64_t rows = std::min(piece, tensor.rows - row);
        deliver(
            name,
            row,
            static_cast<std::size_t>(tensor.rows * tensor.cols),
            round(
                name,
                read_rows(tensor, row, rows, pool_),
                format,
                statistics));
        checkpoint_.release(row_slice(tensor, row, rows));
      }
    }
    if (seen_later(name)) {
      seen_.replace(name, std::move(decoded_));
      decoded_ = {};
    }
    checkpoint_.release(tensor);
  }

  CodeMatrix round(
      const std::string& name,
      FloatMatrix weights,
      const MatrixFormat& format,
      const StatisticsByName& statistics) const {
    return rounder_.round(
        name,
        std::move(weights),
        format,
        statistics,
        folded_.input_scales);
  }

  void tell(const std::string& what, double weight) {
    if (options_.stop && options_.stop()) {
      throw QuantizeCancelled();
    }
    if (options_.progress) {
      options_.progress(weights_ > 0 ? weights_done_ / weights_ : 0, what);
    }
    weights_done_ += weight;
  }

  const Checkpoint& checkpoint_;
  const FormatPlan& plan_;
  const QuantizeOptions& options_;
  QuantizeMethod method_;
  QuantizeSink& sink_;
  CodesByName* kept_;  ///< instead of the sink, for codes
  ThreadPool& pool_;
  MatrixRounder rounder_;
  OverlayCheckpoint seen_;  ///< with what is quantized already
  LayeredModel model_;
  FoldedLayer folded_;   ///< of the layer at work
  FloatMatrix decoded_;  ///< the matrix at work, as far as it's done
  std::vector<FloatMatrix> looked_up_;  ///< of the rounded embedding
  std::set<std::string> done_;
  double weights_ = 0;
  double weights_done_ = 0;
};

}  // namespace

void round_model(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const QuantizeOptions& options,
    QuantizeMethod method,
    QuantizeSink& sink,
    CodesByName* kept) {
  Run run(checkpoint, plan, options, method, sink, kept);
  if (method == QuantizeMethod::plain) {
    run.plain();
    return;
  }
  if (options.windows.empty()) {
    fail<UserError>(
        "There is no text to calibrate with",
        "Calibrated methods look at what the layers' inputs are",
        "Give a longer --calibration text");
  }
  run.calibrated();
}

}  // namespace roofline
