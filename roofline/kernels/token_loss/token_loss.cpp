#include "roofline/kernels/token_loss/token_loss.h"

#include <algorithm>
#include <cstring>

#include <mlx/ops.h>

#include "roofline/base/thread_pool.h"
#include "roofline/kernels/cpu_op.h"
#include "roofline/kernels/gemm/gemm.h"
#include "roofline/kernels/norm_rope/norm_rope.h"
#include "roofline/kernels/row_grads/row_grads.h"

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
      const TokenTargets& targets,
      const float* hidden)
      : head_(head),
        matrix_(matrix),
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
  }

  /// out: loss, nll[, d_hidden[, d_head]].
  void compute(const std::vector<float*>& out) {
    const bool with_gradient = out.size() > 2;
    std::fill_n(out[1], weights_.size(), 0.0f);
    if (with_gradient) {
      std::fill_n(out[2], weights_.size() * dim(), 0.0f);
    }
    if (out.size() > 3) {
      std::fill_n(out[3], static_cast<std::size_t>(matrix_.rows) * dim(), 0.0f);
    }
    double loss = 0;
    if (targets_.reweigh) {
      each_step([&](std::size_t first, std::size_t count) {
        compute_logits(first, count);
        probabilities(first, count, out[1]);
      });
      loss = targets_.reweigh({out[1], weights_.size()}, weights_);
    }
    if (with_gradient || !targets_.reweigh) {
      each_step([&](std::size_t first, std::size_t count) {
        compute_logits(first, count);
        probabilities(first, count, out[1]);
        if (with_gradient) {
          add_gradient(first, count, out);
        }
      });
    }
    if (!targets_.reweigh) {
      for (const int t : rows_) {
        loss += static_cast<double>(weights_[static_cast<std::size_t>(t)]) *
                out[1][t];
      }
    }
    out[0][0] = static_cast<float>(loss);
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
    auto piece = [&](int index, int) { fn(static_cast<std::size_t>(index)); };
    ThreadPool::global().run(static_cast<int>(count), piece);
  }

  void compute_logits(std::size_t first, std::size_t count) {
    if (targets_.teacher) {
      const auto& teacher = *targets_.teacher;
      wanted_.resize(logits_.size());
      gather(first, count, teacher.hidden.data());
      multiply(teacher.head, count, wanted_.data());
    }
    gather(first, count, hidden_);
    multiply(matrix_, count, logits_.data());
  }

  /// The rows at work of a model's hidden ones, in inputs_.
  void gather(std::size_t first, std::size_t count, const float* hidden) {
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(
          inputs_.data() + i * dim(),
          hidden + static_cast<std::size_t>(row_of(first + i)) * dim(),
          dim() * sizeof(float));
    }
  }

  void multiply(const PackedMatrix& matrix, std::size_t count, float* logits) {
    gemm(
        {inputs_.data(), matrix_.cols, 1},
        static_cast<int>(count),
        {matrix, true},
        logits,
        matrix_.rows,
        GemmResult::replace,
        ThreadPool::global(),
        head_.products);
  }

  /// Logits become probabilities; their −log goes to nll. With a softcap the
  /// capped logits are needed again, for their slope: kept beside.
  void probabilities(std::size_t first, std::size_t count, float* nll) {
    const float cap = head_.logit_softcap.value_or(0.0f);
    if (cap != 0.0f) {
      capped_.resize(logits_.size());
    }
    each_row(count, [&](std::size_t i) {
      float* row = logits_.data() + i * vocab();
      const int n = matrix_.rows;
      if (cap != 0.0f || head_.logit_scale != 1.0f) {
        row_kernels().scale_and_cap(row, head_.logit_scale, cap, n);
      }
      if (cap != 0.0f) {
        std::memcpy(capped_.data() + i * vocab(), row, vocab() * sizeof(float));
      }
      const auto t = static_cast<std::size_t>(row_of(first + i));
      if (targets_.teacher) {
        nll[t] = divergence(wanted_.data() + i * vocab(), row);
        return;
      }
      const float of_target = row[targets_.targets[t]];
      nll[t] = row_grad_kernels().softmax(row, n) - of_target;
    });
  }

  /// KL(teacher ‖ student) of one row; both logits become probabilities.
  float divergence(float* wanted, float* row) const {
    const auto& kernels = row_grad_kernels();
    const int n = matrix_.rows;
    const float cap = head_.logit_softcap.value_or(0.0f);
    if (cap != 0.0f || head_.logit_scale != 1.0f) {
      row_kernels().scale_and_cap(wanted, head_.logit_scale, cap, n);
    }
    // Σ q·(m − l) − log Σe^m + log Σe^l, from differences: they are small.
    thread_local std::vector<float> difference;
    difference.resize(vocab());
    for (std::size_t v = 0; v < vocab(); ++v) {
      difference[v] = wanted[v] - row[v];
    }
    const float of_wanted = kernels.softmax(wanted, n);
    const float of_row = kernels.softmax(row, n);
    return kernels.dot(wanted, difference.data(), n) - of_wanted + of_row;
  }

  /// Probabilities become the gradient of the logits, which is multiplied out.
  void add_gradient(
      std::size_t first,
      std::size_t count,
      const std::vector<float*>& out) {
    each_row(count, [&](std::size_t i) {
      float* row = logits_.data() + i * vocab();
      const auto t = static_cast<std::size_t>(row_of(first + i));
      if (targets_.teacher) {
        const float* wanted = wanted_.data() + i * vocab();
        for (std::size_t v = 0; v < vocab(); ++v) {
          row[v] -= wanted[v];
        }
      } else {
        row[targets_.targets[t]] -= 1.0f;
      }
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
    if (out.size() > 3) {
      gemm(
          {logits_.data(), 1, matrix_.rows},
          matrix_.rows,
          {float_matrix(inputs_.data(), static_cast<int>(count), matrix_.cols)},
          out[3],
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
          out[2] + static_cast<std::size_t>(row_of(first + i)) * dim(),
          inputs_.data() + i * dim(),
          dim() * sizeof(float));
    }
  }

  const TokenHead& head_;
  const PackedMatrix& matrix_;
  const TokenTargets& targets_;
  std::vector<float> weights_;
  const float* hidden_;
  std::vector<int> rows_;  ///< that count
  std::size_t step_ = 0;
  std::vector<float> logits_;
  std::vector<float> wanted_;  ///< the teacher's logits
  std::vector<float> capped_;
  std::vector<float> inputs_;
};

}  // namespace

TokenLoss token_loss(
    const mx::array& hidden,
    const TokenHead& head,
    std::shared_ptr<const TokenTargets> targets,
    LossGradient gradient) {
  const int tokens = hidden.shape(0);
  CpuOp op;
  op.name = "TokenLoss";
  op.out_shapes = {{1}, {tokens}};
  Arrays inputs{hidden};
  if (head.trained) {
    inputs.push_back(*head.trained);
  }
  if (gradient == LossGradient::with) {
    for (const auto& input : inputs) {
      op.out_shapes.push_back(input.shape());
    }
  }
  TokenHead frozen = head;  // the graph must not hold itself
  frozen.trained.reset();
  const auto trained_shape =
      head.trained ? head.trained->shape() : mx::Shape{0, 0};
  op.eval = [frozen, trained_shape, targets](const CpuOpMemory& m) {
    const PackedMatrix matrix =
        m.in.size() > 1
            ? float_matrix(m.in[1], trained_shape[0], trained_shape[1])
            : frozen.matrix;
    Run(frozen, matrix, *targets, m.in[0]).compute(m.out);
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
