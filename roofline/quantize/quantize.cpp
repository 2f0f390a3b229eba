#include "roofline/quantize/quantize.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/thread_pool.h"
#include "roofline/quantize/awq.h"
#include "roofline/quantize/calibrate.h"
#include "roofline/quantize/gptq.h"
#include "roofline/quantize/layered_model.h"
#include "roofline/quantize/overlay.h"
#include "roofline/quantize/refine.h"
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
    if (makes_up()) {
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
  bool makes_up() const {
    return method_ == QuantizeMethod::gptq && options_.make_up_share > 0;
  }

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
      append(kept_->find(name)->second, codes);
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

  static void append(CodeMatrix& to, const CodeMatrix& more) {
    to.rows += more.rows;
    to.codes.insert(to.codes.end(), more.codes.begin(), more.codes.end());
    to.scales.insert(to.scales.end(), more.scales.begin(), more.scales.end());
    to.biases.insert(to.biases.end(), more.biases.begin(), more.biases.end());
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
          quantize(name, std::move(folded->second), format, statistics));
    } else {
      const std::int64_t piece = piece_rows(name, tensor, statistics);
      for (std::int64_t row = 0; row < tensor.rows; row += piece) {
        const std::int64_t rows = std::min(piece, tensor.rows - row);
        deliver(
            name,
            row,
            static_cast<std::size_t>(tensor.rows * tensor.cols),
            quantize(
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

  /// A stack of experts in one tensor goes expert by expert, each with what it
  /// was multiplied with.
  CodeMatrix quantize(
      const std::string& name,
      FloatMatrix weights,
      const MatrixFormat& format,
      const StatisticsByName& statistics) {
    const auto find = [&](const std::string& key) {
      const auto found = statistics.find(key);
      return found == statistics.end() ? nullptr : found->second.get();
    };
    const InputStatistics* all = find(expert_stack(name));
    if (find(expert_name(name, 0)) == nullptr) {
      return quantize_one(name, std::move(weights), format, find(name), all);
    }
    int experts = 0;
    while (find(expert_name(name, experts)) != nullptr) {
      ++experts;
    }
    CodeMatrix out = empty_codes(0, weights.cols, format, options_.scale_type);
    const int rows = weights.rows / experts;
    const auto size = static_cast<std::ptrdiff_t>(rows) * weights.cols;
    for (int expert = 0; expert < experts; ++expert) {
      const auto begin = weights.values.begin() + expert * size;
      append(
          out,
          quantize_one(
              name,
              {rows, weights.cols, {begin, begin + size}},
              format,
              find(expert_name(name, expert)),
              find(name)));
    }
    return out;
  }

  /// own: of the matrix's inputs, or null; all: of all experts', or null.
  CodeMatrix quantize_one(
      const std::string& name,
      FloatMatrix weights,
      const MatrixFormat& format,
      const InputStatistics* own,
      const InputStatistics* all) {
    if (method_ == QuantizeMethod::plain) {
      return round_plain(weights, format, options_.scale_type, pool_);
    }
    own = own != nullptr && own->tokens() > 0 ? own : all;
    if (own == nullptr || own->tokens() == 0) {
      return round_plain(
          weights,
          format,
          options_.scale_type,
          pool_,
          RangeSearch::narrower);
    }
    const SquareMatrix moments = damped(
        all != nullptr ? filled_up(*own, *all) : own->moments(),
        name == "embed" ? options_.lookup_damping : options_.damping);
    if (method_ == QuantizeMethod::awq) {
      return round_plain(
          weights,
          format,
          options_.scale_type,
          pool_,
          RangeSearch::narrower,
          importance_of(name, moments));
    }
    if (makes_up()) {
      make_up_for_lag(
          weights,
          own->lag(),
          moments,
          options_.make_up_share,
          pool_);
    }
    CodeMatrix codes =
        gptq(weights, moments, format, options_.scale_type, pool_);
    refine(codes, weights, moments, options_.refine_rounds, pool_);
    return codes;
  }

  /// What an error in each column weighs, AWQ's scales counted.
  std::vector<float> importance_of(
      const std::string& name,
      const SquareMatrix& moments) const {
    const auto scales = folded_.input_scales.find(name);
    std::vector<float> importance;
    for (int col = 0; col < moments.size; ++col) {
      const float scale = scales == folded_.input_scales.end()
                              ? 1.0f
                              : scales->second[static_cast<std::size_t>(col)];
      importance.push_back(moments.at(col, col) / (scale * scale));
    }
    return importance;
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
  OverlayCheckpoint seen_;  ///< with what is quantized already
  LayeredModel model_;
  FoldedLayer folded_;   ///< of the layer at work
  FloatMatrix decoded_;  ///< the matrix at work, as far as it's done
  std::vector<FloatMatrix> looked_up_;  ///< of the rounded embedding
  std::set<std::string> done_;
  double weights_ = 0;
  double weights_done_ = 0;
};

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

/// Hands on changed floats, and shows them to the student.
class StudentFloats : public QuantizeSink {
 public:
  StudentFloats(OverlayCheckpoint& student, QuantizeSink& sink)
      : student_(student), sink_(sink) {}
  void put_codes(
      const std::string& name,
      const PackedCodes& codes,
      std::int64_t first_row) override {
    sink_.put_codes(name, codes, first_row);
  }
  void put_floats(const std::string& name, const FloatMatrix& values) override {
    student_.replace(name, values);
    sink_.put_floats(name, values);
  }

 private:
  OverlayCheckpoint& student_;
  QuantizeSink& sink_;
};

DistillResult distilled(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const QuantizeOptions& options,
    QuantizeSink& sink) {
  CodesByName codes;
  OverlayCheckpoint student(checkpoint);
  StudentFloats floats(student, sink);
  round_model(checkpoint, plan, options, options.start, floats, &codes);
  auto& pool = ThreadPool::global();
  for (const auto& [name, matrix] : codes) {
    if (!is_distilled(checkpoint, codes, name)) {
      student.replace(name, decode(matrix, pool));
    }
  }
  FloatsByName norms;
  const DistillResult result = distill(
      checkpoint,
      student,
      options.distill,
      options.progress,
      options.stop,
      codes,
      norms);
  if (options.stop && options.stop()) {
    throw QuantizeCancelled();
  }
  for (const auto& [name, matrix] : codes) {
    sink.put_codes(name, pack_codes(matrix, pool), 0);
  }
  for (const auto& [name, values] : norms) {
    sink.put_floats(name, values);
  }
  return result;
}

}  // namespace

std::vector<std::vector<std::int32_t>> spread_windows(
    std::span<const std::int32_t> tokens,
    int window,
    int total,
    std::optional<std::int32_t> first_token) {
  const auto width = std::min(static_cast<std::size_t>(window), tokens.size());
  if (width == 0) {
    return {};
  }
  const std::size_t all = tokens.size() / width;
  const std::size_t count =
      std::clamp(static_cast<std::size_t>(total) / width, std::size_t{1}, all);
  std::vector<std::vector<std::int32_t>> windows;
  for (std::size_t i = 0; i < count; ++i) {
    const auto part = tokens.subspan(i * all / count * width, width);
    windows.emplace_back(part.begin(), part.end());
    if (first_token) {
      windows.back().front() = *first_token;
    }
  }
  return windows;
}

std::optional<DistillResult> quantize_model(
    const Checkpoint& checkpoint,
    const FormatPlan& plan,
    const QuantizeOptions& options,
    QuantizeSink& sink) {
  if (options.method == QuantizeMethod::dwq) {
    return distilled(checkpoint, plan, options, sink);
  }
  round_model(checkpoint, plan, options, options.method, sink, nullptr);
  return std::nullopt;
}

}  // namespace roofline
