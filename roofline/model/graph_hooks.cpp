#include "roofline/model/graph_hooks.h"

#include <mlx/device.h>
#include <mlx/ops.h>

#include "roofline/kernels/train_ops.h"

namespace roofline {

namespace {

bool on_cpu() {
  return mx::default_device() == mx::Device::cpu;
}

mx::array times_transposed(const mx::array& x, const mx::array& w) {
  if (!on_cpu()) {
    return mx::matmul(x, mx::astype(mx::transpose(w), x.dtype()));
  }
  return product(x, Side::plain, w, Side::transposed);
}

mx::array dropped(const mx::array& x, const LowRankAddition& addition) {
  return dropout(x, addition.dropout, addition.dropout_seed);
}

struct Placed {
  const LowRankAddition* addition;
  mx::array b;
  int begin;
  int rows;
};

/// What a stack's hooks do to y.
struct Changes {
  std::vector<Placed> additions;
  std::optional<mx::array> factors;  ///< [Σ rows]
};

Changes changes_of(const std::vector<GraphHookPtr>& hooks) {
  Changes out;
  int begin = 0;
  bool any = false;
  std::vector<mx::array> factors;
  for (const auto& hook : hooks) {
    factors.push_back(
        hook->row_factors ? *hook->row_factors
                          : mx::ones({hook->rows}, mx::float32));
    any = any || hook->row_factors;
    for (const auto& addition : hook->additions) {
      auto b = addition.b;
      if (addition.magnitude) {
        const auto factor =
            mx::divide(*addition.magnitude, adapted_lengths(*hook, addition));
        b = mx::multiply(mx::expand_dims(factor, 1), b);
        factors.back() = mx::multiply(factors.back(), factor);
        any = true;
      }
      out.additions.push_back({&addition, b, begin, hook->rows});
    }
    begin += hook->rows;
  }
  if (any) {
    out.factors = mx::concatenate(factors);
  }
  return out;
}

/// Matrices that read the same input are multiplied as one.
mx::array add_on_cpu(
    const mx::array& x,
    const mx::array& y,
    const std::vector<Placed>& all) {
  bool together = true;
  std::vector<mx::array> as;
  std::vector<LowRankRows> rows;
  for (const auto& each : all) {
    as.push_back(each.addition->a);
    rows.push_back({each.b, each.begin, each.addition->scale});
    together = together && each.addition->dropout == 0.0f;
  }
  if (together) {
    const auto stacked = as.size() == 1 ? as[0] : mx::concatenate(as, 0);
    return add_low_rank(y, times_transposed(x, stacked), rows);
  }
  std::vector<mx::array> hs;
  for (const auto& each : all) {
    hs.push_back(
        times_transposed(dropped(x, *each.addition), each.addition->a));
  }
  return add_low_rank(y, hs.size() == 1 ? hs[0] : mx::concatenate(hs, 1), rows);
}

mx::array add_on_gpu(
    const mx::array& x,
    const mx::array& y,
    const std::vector<Placed>& all) {
  auto sum = y;
  for (const auto& each : all) {
    auto part = times_transposed(
        times_transposed(dropped(x, *each.addition), each.addition->a),
        each.b);
    part = mx::multiply(part, mx::array(each.addition->scale, part.dtype()));
    const int after = y.shape(1) - each.begin - each.rows;
    sum = mx::add(
        sum,
        mx::pad(part, {{0, 0}, {each.begin, after}}, mx::array(0.0f)));
  }
  return sum;
}

}  // namespace

std::vector<mx::array*> trained_arrays(const std::vector<GraphHookPtr>& hooks) {
  std::vector<mx::array*> places;
  for (const auto& hook : hooks) {
    if (!hook) {
      continue;
    }
    if (hook->trained) {
      places.push_back(&*hook->trained);
    }
    if (hook->coded) {
      places.push_back(&hook->coded->scales);
      places.push_back(&hook->coded->offsets);
    }
    for (auto& addition : hook->additions) {
      places.push_back(&addition.a);
      places.push_back(&addition.b);
      if (addition.magnitude) {
        places.push_back(&*addition.magnitude);
      }
    }
  }
  return places;
}

SwappedArrays::SwappedArrays(
    std::vector<mx::array*> places,
    std::span<const mx::array> values)
    : places_(std::move(places)) {
  for (std::size_t i = 0; i < places_.size(); ++i) {
    before_.push_back(*places_[i]);
    *places_[i] = values[i];
  }
}

SwappedArrays::~SwappedArrays() {
  for (std::size_t i = 0; i < places_.size(); ++i) {
    *places_[i] = before_[i];
  }
}

bool is_trained(const std::vector<GraphHookPtr>& hooks) {
  return !hooks.empty() && (hooks[0]->trained || hooks[0]->coded);
}

mx::array trained_weight(const GraphHook& hook) {
  return hook.coded ? coded_weight(
                          hook.coded->codes,
                          hook.coded->scales,
                          hook.coded->offsets)
                    : *hook.trained;
}

mx::array trained_rows(const GraphHook& hook, const mx::array& ids) {
  return hook.coded ? coded_rows(
                          hook.coded->codes,
                          hook.coded->scales,
                          hook.coded->offsets,
                          ids)
                    : mx::take(*hook.trained, ids, 0);
}

mx::array multiply_trained(
    const mx::array& x,
    const std::vector<GraphHookPtr>& hooks) {
  std::vector<mx::array> outputs;
  for (const auto& hook : hooks) {
    outputs.push_back(times_transposed(x, trained_weight(*hook)));
  }
  return outputs.size() == 1 ? outputs[0] : mx::concatenate(outputs, 1);
}

/// ‖w + s·b·a‖² = ‖w‖² + 2s·b·(a·wᵀ) + s²·b·(a·aᵀ)·bᵀ, row by row.
mx::array adapted_lengths(const GraphHook& hook, const LowRankAddition& each) {
  const auto a = mx::stop_gradient(each.a);
  const auto b = mx::stop_gradient(each.b);
  const mx::array scale(each.scale);
  const auto scaled = mx::multiply(b, scale);
  const auto across =
      mx::transpose(mx::astype(hook.stored.times(a), b.dtype()));
  const auto within = mx::matmul(scaled, mx::matmul(a, mx::transpose(a)));
  const auto added = mx::sum(
      mx::multiply(
          scaled,
          mx::add(mx::multiply(across, mx::array(2.0f)), within)),
      1);
  return mx::stop_gradient(mx::sqrt(mx::add(hook.stored.squares(), added)));
}

bool is_changed(const GraphHook& hook) {
  return hook.trained || hook.coded || hook.row_factors ||
         !hook.additions.empty();
}

mx::array adapted_weight(const GraphHookPtr& hook, const mx::array& stored) {
  const auto changes = changes_of({hook});
  auto w = is_trained({hook}) ? trained_weight(*hook) : stored;
  if (changes.factors) {
    w = mx::multiply(w, mx::expand_dims(*changes.factors, 1));
  }
  for (const auto& each : changes.additions) {
    const auto& a = each.addition->a;
    const auto change = on_cpu() ? product(each.b, Side::plain, a, Side::plain)
                                 : mx::matmul(each.b, a);
    w = mx::add(w, mx::multiply(change, mx::array(each.addition->scale)));
  }
  return w;
}

mx::array add_additions(
    const mx::array& x,
    const mx::array& y,
    const std::vector<GraphHookPtr>& hooks) {
  const auto changes = changes_of(hooks);
  const auto scaled =
      changes.factors ? mx::multiply(y, mx::astype(*changes.factors, y.dtype()))
                      : y;
  if (changes.additions.empty()) {
    return scaled;
  }
  return on_cpu() ? add_on_cpu(x, scaled, changes.additions)
                  : add_on_gpu(x, scaled, changes.additions);
}

}  // namespace roofline
