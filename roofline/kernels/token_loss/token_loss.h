// The loss of a language model from its last hidden rows, without the logits of
// a whole batch ever being there: rows go through the head a few at a time, and
// their gradient is taken in the same pass.
//   loss = Σ_i weight_i · (log Σ_v e^{l_iv} − l_{i,target_i}),
//   l = cap·tanh(scale · h·headᵀ / cap)
// or, with a teacher's logits m and its probabilities q,
//   loss = Σ_i weight_i · Σ_v q_iv·(log q_iv − log p_iv)
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

/// What the rows are to predict. Rows of weight 0 cost nothing.
struct TokenTargets {
  std::vector<std::int32_t> targets;  ///< [tokens]
  std::vector<float> weights;         ///< [tokens]
  /// Given −log p of every row (0 where the weight is 0): overwrites the
  /// weights with the derivatives of a loss, and returns that loss. For losses
  /// that weigh tokens by how probable they are (preference training).
  std::function<double(std::span<const float> nll, std::span<float> weights)>
      reweigh;
  /// Distillation: the rows follow another model's predictions instead of
  /// tokens, and what stands for −log p is KL(teacher ‖ student).
  struct Teacher {
    std::vector<float> hidden;  ///< [tokens, dim], after its final norm
    PackedMatrix head;  ///< [vocab, dim]; scale and softcap as TokenHead
    std::shared_ptr<const void> memory;
  };
  std::optional<Teacher> teacher;
};

struct TokenHead {
  /// Frozen: a matrix [vocab, dim] and what owns its bytes.
  PackedMatrix matrix;
  std::shared_ptr<const void> memory;
  /// Trained instead: [vocab, dim] float32; receives a gradient.
  std::optional<mx::array> trained;
  float logit_scale = 1.0f;
  std::optional<float> logit_softcap;
  GemmType products = GemmType::f32;
};

struct TokenLoss {
  mx::array loss;  ///< [1], differentiable in hidden and in head.trained
  mx::array nll;   ///< [tokens]: −log p; 0 where the weight is 0
};

enum class LossGradient { none, with };

/// hidden [tokens, dim] float32.
TokenLoss token_loss(
    const mx::array& hidden,
    const TokenHead& head,
    std::shared_ptr<const TokenTargets> targets,
    LossGradient gradient);

}  // namespace roofline
