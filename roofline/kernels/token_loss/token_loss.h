// The loss of a language model from its last hidden rows, without the logits of
// a whole batch ever being there: rows go through the head a few at a time, and
// their gradient is taken in the same pass.
//   loss = Σ_i weight_i · (log Σ_v e^{l_iv} − l_{i,target_i}),
//   l = cap·tanh(scale · (h·headᵀ + bias) / cap)
// With a teacher, whose logits are l' (distillation, arXiv 1503.02531), a row
// is
//   (1 − share) · (…) + share · t² · KL(softmax(l'/t) ‖ softmax(l/t))
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <mlx/array.h>

#include "roofline/kernels/gemm/gemm.h"
#include "roofline/kernels/packed_matrix.h"

namespace roofline {

namespace mx = mlx::core;

struct TokenTeacher;

/// What the rows are to predict. Rows of weight 0 cost nothing.
struct TokenTargets {
  std::vector<std::int32_t> targets;  ///< [tokens]
  std::vector<float> weights;         ///< [tokens]
  /// Given −log p of every row (0 where the weight is 0): overwrites the
  /// weights with the derivatives of a loss, and returns that loss. For losses
  /// that weigh tokens by how probable they are (preference training).
  std::function<double(std::span<const float> nll, std::span<float> weights)>
      reweigh;
  /// Not together with reweigh.
  std::shared_ptr<const TokenTeacher> teacher = {};
};

struct TokenHead {
  /// On a GPU: rows [n, dim] and values of `parameters` → logits in MLX's ops,
  /// scaled and capped. The loss is a graph of such ops then, and nothing below
  /// is looked at.
  std::function<
      mx::array(const mx::array& rows, const std::vector<mx::array>& values)>
      logits;
  /// Of `logits`: what of the head is trained.
  std::vector<mx::array> parameters;
  /// Frozen: a matrix [vocab, dim] and what owns its bytes.
  PackedMatrix matrix;
  std::shared_ptr<const void> memory;
  /// Trained instead: [vocab, dim] float32; receives a gradient.
  std::optional<mx::array> trained;
  /// [vocab] float32, frozen or, like the matrix, trained.
  std::optional<mx::array> bias;
  bool bias_is_trained = false;
  float logit_scale = 1.0f;
  std::optional<float> logit_softcap;
  GemmType products = GemmType::f32;
};

/// A model of the same vocabulary that the rows are to follow.
struct TokenTeacher {
  mx::array hidden;  ///< [tokens, its dim] float32, evaluated
  TokenHead head;    ///< frozen
  float temperature = 1.0f;
  float share = 0.5f;
};

struct TokenLoss {
  /// [1], differentiable in hidden and in what of the head is trained
  mx::array loss;
  /// [tokens]: −log p, or what a teacher makes of it; 0 where the weight is 0
  mx::array nll;
};

enum class LossGradient { none, with };

/// hidden [tokens, dim] float32.
TokenLoss token_loss(
    const mx::array& hidden,
    const TokenHead& head,
    std::shared_ptr<const TokenTargets> targets,
    LossGradient gradient);

}  // namespace roofline
