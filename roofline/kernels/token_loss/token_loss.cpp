#include "roofline/kernels/token_loss/token_loss.h"

#include <algorithm>
#include <cstring>

#include <mlx/ops.h>

#include "roofline/base/thread_pool.h"
#include "roofline/kernels/cpu_op.h"
#include "roofline/kernels/gemm/gemm.h"
#include "roofline/kernels/norm_rope/norm_rope.h"
#include "roofline/kernels/row_grads/row_grads.h"
#include "roofline/kernels/token_loss/graph_token_loss.h"

namespace roofline {

namespace {

/// Logits that exist at a time: 64 MiB, at least a product's worth of rows.
constexpr std::int64_t kLogits = 16 << 20;
constexpr std::int64_t kLeastRows = 48;

using Arrays = std::vector<mx::array>;

/// One evaluation, on plain memory.
class Run {
 public:
  Run(const TokenHead& head,
      const PackedMatrix& matrix,
      const float* bias,
      const TokenTargets& targets,
      const float* hidden)
      : head_(head),
        matrix_(matrix),
        bias_(bias),
        targets_(targets),
        weights_(targets.weights),
        hidden_(hidden) {
    for (std::size_t t = 0; t < weights_.size(); ++t) {
      if (weights_[t] != 0.0f) {
        rows_.push_back(static_cast<int>(t));
      }
    }
    const auto fit = std::max(kLeastRows, kLogits / matrix.rows);
    step_ = std::min(rows_.size(), static_cast<std::size_t>(fit));
    logits_.resize(step_ * static_cast<std::size_t>(matrix.rows));
    inputs_.resize(step_ * dim());
    if (const auto* teacher = targets.teacher.get()) {
      const auto threads =
          static_cast<std::size_t>(ThreadPool::global().threads());
      teacher_logits_.resize(logits_.size());
      teacher_inputs_.resize(
          step_ * static_cast<std::size_t>(teacher->head.matrix.cols));
      beside_.resize(threads, std::vector<float>(2 * vocab()));
    }
  }

  struct Out {
    float* loss;
    float* nll;
    float* d_hidden;  ///< these where they are wanted
    float* d_head;
    float* d_bias;
  };

  void compute(const Out& out) {
    const bool with_gradient = out.d_hidden != nullptr;
    std::fill_n(out.nll, weights_.size(), 0.0f);
    if (with_gradient) {
      std::fill_n(out.d_hidden, weights_.size() * dim(), 0.0f);
    }
    if (out.d_head != nullptr) {
      std::fill_n(out.d_head, vocab() * dim(), 0.0f);
    }
    if (out.d_bias != nullptr) {
      std::fill_n(out.d_bias, vocab(), 0.0f);
    }
    double loss = 0;
    if (targets_.reweigh) {
      each_step([&](std::size_t first, std::size_t count) {
        compute_logits(first, count);
        probabilities(first, count, out.nll);
      });
      loss = targets_.reweigh({out.nll, weights_.size()}, weights_);
    }
    if (with_gradient || !targets_.reweigh) {
      each_step([&](std::size_t first, std::size_t count) {
        compute_logits(first, count);
        probabilities(first, count, out.nll);
        if (with_gradient) {
          add_gradient(first, count, out);
        }
      });
    }
    if (!targets_.reweigh) {
      for (const int t : rows_) {
        loss += static_cast<double>(weights_[static_cast<std::size_t>(t)]) *
                out.nll[t];
      }
    }
    out.loss[0] = static_cast<float>(loss);
  }

 private:
  std::size_t dim() const { return static_cast<std::size_t>(matrix_.cols); }
  std::size_t vocab() const { return static_cast<std::size_t>(matrix_.rows); }
  int row_of(std::size_t index) const { return rows_[index]; }

  template <class Fn>
  void each_step(Fn fn) {
    for (std::size_t first = 0; first < rows_.size(); first += step_) {
      fn(first, std::min(step_, rows_.size() - first));
    }
  }

  template <class Fn>
  void each_row(std::size_t count, Fn fn) {
    auto piece = [&](int index, int worker) {
      fn(static_cast<std::size_t>(index), static_cast<std::size_t>(worker));
    };
    ThreadPool::global().run(static_cast<int>(count), piece);
  }

  void compute_logits(std::size_t first, std::size_t count) {
    multiply(first, count, hidden_, matrix_, head_.products, inputs_, logits_);
    if (const auto* teacher = targets_.teacher.get()) {
      multiply(
          first,
          count,
          teacher->hidden.data<float>(),
          teacher->head.matrix,
          teacher->head.products,
          teacher_inputs_,
          teacher_logits_);
    }
  }

  /// logits := the rows that count · matrixᵀ
  void multiply(
      std::size_t first,
      std::size_t count,
      const float* hidden,
      const PackedMatrix& matrix,
      GemmType products,
      std::vector<float>& inputs,
      std::vector<float>& logits) const {
    const auto width = static_cast<std::size_t>(matrix.cols);
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(
          inputs.data() + i * width,
          hidden + static_cast<std::size_t>(row_of(first + i)) * width,
          width * sizeof(float));
    }
    gemm(
        {inputs.data(), matrix.cols, 1},
        static_cast<int>(count),
        {matrix, true},
        logits.data(),
        matrix.rows,
        GemmResult::replace,
        ThreadPool::global(),
        products);
  }

  /// Bias, scale and softcap of a row of products.
  static void finish_logits(
      const TokenHead& head,
      const float* bias,
      float* row,
      int n) {
    for (int v = 0; bias != nullptr && v < n; ++v) {
      row[v] += bias[v];
    }
    const float cap = head.logit_softcap.value_or(0.0f);
    if (cap != 0.0f || head.logit_scale != 1.0f) {
      row_kernels().scale_and_cap(row, head.logit_scale, cap, n);
    }
  }

  /// Logits become probabilities; their −log goes to nll. With a softcap the
  /// capped logits are needed again, for their slope: kept beside.
  void probabilities(std::size_t first, std::size_t count, float* nll) {
    const float cap = head_.logit_softcap.value_or(0.0f);
    if (cap != 0.0f) {
      capped_.resize(logits_.size());
    }
    each_row(count, [&](std::size_t i, std::size_t worker) {
      float* row = logits_.data() + i * vocab();
      const int n = matrix_.rows;
      finish_logits(head_, bias_, row, n);
      if (cap != 0.0f) {
        std::memcpy(capped_.data() + i * vocab(), row, vocab() * sizeof(float));
      }
      const auto t = static_cast<std::size_t>(row_of(first + i));
      const float of_target = row[targets_.targets[t]];
      if (targets_.teacher) {
        nll[t] = follow(i, worker, row, of_target);
      } else {
        nll[t] = row_grad_kernels().softmax(row, n) - of_target;
      }
    });
  }

  /// The row's logits become (1 − share)·p + share·t·(p_t − q_t), whose target
  /// add_gradient() sees to; returns the row's loss.
  float follow(
      std::size_t index,
      std::size_t worker,
      float* row,
      float of_target) {
    const auto& teacher = *targets_.teacher;
    const int n = matrix_.rows;
    const float t = teacher.temperature;
    float* q = teacher_logits_.data() + index * vocab();
    finish_logits(teacher.head, bias_of(teacher.head), q, n);
    float* own = beside_[worker].data();  // student's, over t
    float* theirs = own + vocab();
    for (std::size_t v = 0; v < vocab(); ++v) {
      own[v] = row[v] / t;
      theirs[v] = q[v] /= t;
    }
    const float of_q = row_grad_kernels().softmax(q, n);
    double across = 0;  // Σ q·(l' − l)/t
    for (std::size_t v = 0; v < vocab(); ++v) {
      across += static_cast<double>(q[v]) * (theirs[v] - own[v]);
    }
    const float of_own = row_grad_kernels().softmax(own, n);
    const float divergence = static_cast<float>(across) - of_q + of_own;
    const float nll = row_grad_kernels().softmax(row, n) - of_target;
    const float share = teacher.share;
    for (std::size_t v = 0; v < vocab(); ++v) {
      row[v] = (1 - share) * row[v] + share * t * (own[v] - q[v]);
    }
    return (1 - share) * nll + share * t * t * divergence;
  }

  static const float* bias_of(const TokenHead& head) {
    return head.bias ? head.bias->data<float>() : nullptr;
  }

  /// Probabilities become the gradient of the logits, which is multiplied out.
  void add_gradient(std::size_t first, std::size_t count, const Out& out) {
    const float of_target =
        targets_.teacher ? 1.0f - targets_.teacher->share : 1.0f;
    each_row(count, [&](std::size_t i, std::size_t) {
      float* row = logits_.data() + i * vocab();
      const auto t = static_cast<std::size_t>(row_of(first + i));
      row[targets_.targets[t]] -= of_target;
      const float factor = weights_[t] * head_.logit_scale;
      row_kernels().scale_and_cap(row, factor, 0.0f, matrix_.rows);
      if (head_.logit_softcap) {
        const float inverse = 1.0f / *head_.logit_softcap;
        const float* capped = capped_.data() + i * vocab();
        for (std::size_t v = 0; v < vocab(); ++v) {
          const float share = capped[v] * inverse;
          row[v] *= 1.0f - share * share;
        }
      }
    });
    auto& pool = ThreadPool::global();
    if (out.d_bias != nullptr) {
      for (std::size_t i = 0; i < count; ++i) {
        const float* row = logits_.data() + i * vocab();
        for (std::size_t v = 0; v < vocab(); ++v) {
          out.d_bias[v] += row[v];
        }
      }
    }
    if (out.d_head != nullptr) {
      gemm(
          {logits_.data(), 1, matrix_.rows},
          matrix_.rows,
          {float_matrix(inputs_.data(), static_cast<int>(count), matrix_.cols)},
          out.d_head,
          matrix_.cols,
          GemmResult::add,
          pool);
    }
    gemm(
        {logits_.data(), matrix_.rows, 1},
        static_cast<int>(count),
        {matrix_},
        inputs_.data(),
        matrix_.cols,
        GemmResult::replace,
        pool,
        head_.products);
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(
          out.d_hidden + static_cast<std::size_t>(row_of(first + i)) * dim(),
          inputs_.data() + i * dim(),
          dim() * sizeof(float));
    }
  }

  const TokenHead& head_;
  const PackedMatrix& matrix_;
  const float* bias_;
  const TokenTargets& targets_;
  std::vector<float> weights_;
  const float* hidden_;
  std::vector<int> rows_;  ///< that count
  std::size_t step_ = 0;
  std::vector<float> logits_;
  std::vector<float> capped_;
  std::vector<float> inputs_;
  std::vector<float> teacher_logits_;
  std::vector<float> teacher_inputs_;
  std::vector<std::vector<float>> beside_;  ///< one a thread: two rows
};

}  // namespace

TokenLoss token_loss(
    const mx::array& hidden,
    const TokenHead& head,
    std::shared_ptr<const TokenTargets> targets,
    LossGradient gradient) {
  if (head.logits) {
    return graph_token_loss(hidden, head, *targets);
  }
  const int tokens = hidden.shape(0);
  CpuOp op;
  op.name = "TokenLoss";
  op.out_shapes = {{1}, {tokens}};
  Arrays inputs{hidden};
  if (head.trained) {
    inputs.push_back(*head.trained);
  }
  const bool learns_bias = head.bias && head.bias_is_trained;
  if (learns_bias) {
    inputs.push_back(*head.bias);
  }
  if (gradient == LossGradient::with) {
    for (const auto& input : inputs) {
      op.out_shapes.push_back(input.shape());
    }
  }
  TokenHead frozen = head;  // the graph must not hold itself
  frozen.trained.reset();
  if (learns_bias) {
    frozen.bias.reset();
  }
  const auto trained_shape =
      head.trained ? head.trained->shape() : mx::Shape{0, 0};
  const bool learns_matrix = head.trained.has_value();
  op.eval = [=](const CpuOpMemory& m) {
    const PackedMatrix matrix =
        learns_matrix
            ? float_matrix(m.in[1], trained_shape[0], trained_shape[1])
            : frozen.matrix;
    const float* bias = learns_bias   ? m.in.back()
                        : frozen.bias ? frozen.bias->data<float>()
                                      : nullptr;
    const bool with_gradient = m.out.size() > 2;
    Run(frozen, matrix, bias, *targets, m.in[0])
        .compute(
            {m.out[0],
             m.out[1],
             with_gradient ? m.out[2] : nullptr,
             with_gradient && learns_matrix ? m.out[3] : nullptr,
             with_gradient && learns_bias ? m.out.back() : nullptr});
  };
  op.vjp = [](const Arrays&,
              const Arrays& cotangents,
              const Arrays& outputs,
              const std::vector<int>& wanted) {
    Arrays grads;
    for (const int index : wanted) {
      grads.push_back(mx::multiply(
          outputs[2 + static_cast<std::size_t>(index)],
          cotangents[0]));
    }
    return grads;
  };
  const auto out = cpu_op(std::move(op), inputs);
  return {out[0], out[1]};
}

}  // namespace roofline
