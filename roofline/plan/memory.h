// Predicts what a model takes in memory, part by part: at inference for a
// context, a batch and a precision, and in training. Pure arithmetic over
// PlannedModel; the constants of this machine come in with the question.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "roofline/model/kv_format.h"
#include "roofline/plan/planned_model.h"

namespace roofline {

struct MemoryPart {
  std::string name;  ///< "weights: attention (int4)", "KV cache: full layers"
  std::string kind;  ///< weights, kv, state, transients, logits, cache,
                     ///< runtime, adapters, gradients, optimizer, activations
  std::uint64_t bytes = 0;
};

struct MemoryPrediction {
  std::vector<MemoryPart> parts;
  /// Adds a part; of less than a byte none.
  void add(std::string name, std::string kind, double bytes);
  std::uint64_t total() const;
  std::uint64_t of(std::string_view kind) const;
};

/// What a run takes beside the model on this machine; defaults were measured,
/// calibrate() of history.h refines them.
struct MemoryConstants {
  std::uint64_t runtime_bytes = 0;        ///< program, libraries, heap
  std::uint64_t tokenizer_per_entry = 0;  ///< bytes for each vocabulary entry
};
MemoryConstants default_memory_constants();

struct InferenceQuestion {
  std::int64_t context_tokens = 4096;
  int batch = 1;
  /// How keys and values are kept; what isn't in codes has so many bits.
  KvFormat kv = {};
  int kv_float_bits = 16;  ///< 16, or 32 (--exact)
  int prefill_step = 512;
  /// Quantize at load; absent: as stored.
  std::optional<WeightFormat> quantize;
  /// The program's own: the CPU step with its packed weights, or a GPU graph.
  bool gpu = false;
  /// A GPU with memory of its own, of which alone is asked.
  bool card = false;
  int threads = 0;  ///< the CPU's alone; 0: as many as this machine runs
  MemoryConstants constants = default_memory_constants();

  /// Keys and values in 32, 16, 8 or 4 bits.
  void set_kv_bits(int bits);
  /// Of a key.
  int kv_bits() const;
  /// "8 bits (group 64)".
  std::string kv_text() const;
};

MemoryPrediction predict_inference(
    const PlannedModel& model,
    const InferenceQuestion& question);

/// The weights as they are stored, by class and format: of files to the byte.
std::vector<MemoryPart> stored_weights(const PlannedModel& model);
/// What all layers keep of one token of one sequence, as long as no window
/// drops it.
std::uint64_t kv_bytes_per_token(
    const ModelSpec& spec,
    const InferenceQuestion& question);

enum class TrainMethod { full, lora, qlora, dora };
enum class OptimizerKind { sgd, adamw, adamw8, lion, adafactor, muon };

struct TrainingQuestion {
  TrainMethod method = TrainMethod::lora;
  int rank = 8;
  /// q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj
  std::vector<std::string> targets = {"q_proj", "k_proj", "v_proj", "o_proj"};
  int batch = 4;
  std::int64_t sequence_tokens = 512;
  bool checkpointing = false;
  OptimizerKind optimizer = OptimizerKind::adamw;
  int precision_bits = 16;  ///< of weights and activations; 32 or 16
  /// Of the frozen weights for qlora.
  WeightFormat base_format = {4, 64};
  /// Else as `roofline train` holds it on a CPU: float32 but for the frozen
  /// weights, and the loss in its own pieces.
  bool gpu = true;
  /// A GPU with memory of its own, of which alone is asked.
  bool card = false;
  /// The CPU's alone. Tokens of the largest batch, where the data are known;
  /// absent: batch · sequence_tokens.
  std::optional<std::int64_t> batch_tokens = {};
  /// The CPU's alone. Tokens of the largest batch of which only the loss is
  /// asked: of validation and of test; 0: none.
  std::int64_t forward_tokens = 0;
  /// The CPU's alone. All weights are written at the end, from their files.
  bool writes_model = false;
  /// The last so many layers are trained; 0: all.
  int trained_layers = 0;
  bool momentum = false;  ///< sgd keeps one
  int threads = 2;        ///< the CPU's alone
  /// A teacher's weights and what it answers with; 0: none.
  double teacher_bytes = 0;
  MemoryConstants constants = default_memory_constants();
};

MemoryPrediction predict_training(
    const PlannedModel& model,
    const TrainingQuestion& question);

/// What the CPU's kernels hold of a tensor as it is stored: codes packed anew,
/// floats as they are.
std::uint64_t held_on_cpu_bytes(const ModelTensor& tensor);

/// What training's graph keeps of matrices and their gradients (training_memory
/// and training_memory_cpu).
struct TrainedValues {
  double values = 0;
  double magnitudes = 0;  ///< DoRA's
};
/// The first layer that learns; everything from it on has a gradient.
int first_trained(const PlannedModel& model, const TrainingQuestion& question);
/// Whether a tensor is of a layer that is trained.
bool learns(
    const PlannedModel& model,
    const TrainingQuestion& question,
    const ModelTensor& tensor);
TrainedValues adapter_values(
    const PlannedModel& model,
    const TrainingQuestion& question);
double optimizer_state_bytes(
    const PlannedModel& model,
    const TrainingQuestion& question,
    double values);
/// Bytes that automatic differentiation takes on a GPU.
struct GpuActivations {
  double kept = 0;       ///< given back as gradients are made
  double in_flight = 0;  ///< of the layers at work
};
GpuActivations gpu_activations(
    const PlannedModel& model,
    const TrainingQuestion& question);
/// Of a few rows' logits.
double gpu_logits_bytes(
    const ModelSpec& spec,
    const TrainingQuestion& question);
MemoryPrediction predict_cpu_training(
    const PlannedModel& model,
    const TrainingQuestion& question);

}  // namespace roofline
