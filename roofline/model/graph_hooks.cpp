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
  int begin;
  int rows;
};

std::vector<Placed> placed(const std::vector<GraphHookPtr>& hooks) {
  std::vector<Placed> out;
  int begin = 0;
  for (const auto& hook : hooks) {
    for (const auto& addition : hook->additions) {
      out.push_back({&addition, begin, hook->rows});
    }
    begin += hook->rows;
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
    rows.push_back({each.addition->b, each.begin, each.addition->scale});
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
        times_transposed(x, each.addition->a),
        each.addition->b);
    part = mx::multiply(part, mx::array(each.addition->scale, part.dtype()));
    const int after = y.shape(1) - each.begin - each.rows;
    sum = mx::add(
        sum,
        mx::pad(part, {{0, 0}, {each.begin, after}}, mx::array(0.0f)));
  }
  return sum;
}

}  // namespace

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

mx::array add_additions(
    const mx::array& x,
    const mx::array& y,
    const std::vector<GraphHookPtr>& hooks) {
  const auto all = placed(hooks);
  if (all.empty()) {
    return y;
  }
  return on_cpu() ? add_on_cpu(x, y, all) : add_on_gpu(x, y, all);
}

}  // namespace roofline
