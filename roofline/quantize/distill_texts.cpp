#include "roofline/quantize/distill_texts.h"

#include <numeric>
#include <utility>

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/quantize/calibrate.h"
#include "roofline/train/batches.h"

namespace roofline {

namespace {

/// One window in so many is held out, at most kMostHeldOut.
constexpr std::size_t kHeldOutOf = 10;
constexpr std::size_t kMostHeldOut = 8;

}  // namespace

bool DistillTexts::read(
    const Checkpoint& source,
    const std::vector<std::vector<std::int32_t>>& windows,
    const std::function<void(double share, const std::string& what)>& progress,
    const std::function<bool()>& stop) {
  const TextStream stream = run_all_layers(source, windows, [&](double share) {
    if (progress) {
      progress(share, "reading the source's predictions");
    }
    return !(stop && stop());
  });
  if (stop && stop()) {
    return false;
  }
  const char* name = source.spec().tied_embeddings ? "embed" : "head";
  const LayeredModel::Head head(source.spec(), source);
  for (std::size_t i = 0; i < windows.size(); ++i) {
    auto rows = mx::contiguous(head.normed(stream.at(i)));
    mx::eval(rows);
    DistillText text{windows[i], {}};
    text.teacher.assign(rows.data<float>(), rows.data<float>() + rows.size());
    const bool held =
        i % kHeldOutOf == kHeldOutOf / 2 && held_out_.size() < kMostHeldOut;
    (held ? held_out_ : texts_).push_back(std::move(text));
  }
  if (held_out_.empty() && texts_.size() > 1) {
    held_out_.push_back(std::move(texts_.back()));
    texts_.pop_back();
  }
  head_ = std::make_shared<FloatMatrix>(
      read_matrix(source.at(name), ThreadPool::global()));
  return true;
}

std::vector<const DistillText*> DistillTexts::next(int step_tokens) {
  std::vector<const DistillText*> out;
  std::size_t tokens = 0;
  while (out.empty() || tokens + out.back()->ids.size() <=
                            static_cast<std::size_t>(step_tokens)) {
    if (order_.empty()) {
      order_.resize(texts_.size());
      std::iota(order_.begin(), order_.end(), std::size_t{0});
      for (std::size_t i = order_.size(); i > 1; --i) {
        std::swap(order_[i - 1], order_[next_random(random_) % i]);
      }
    }
    out.push_back(&texts_[order_.back()]);
    order_.pop_back();
    tokens += out.back()->ids.size();
  }
  return out;
}

mx::array DistillTexts::divergence(
    TrainableDecoder& decoder,
    const std::vector<const DistillText*>& texts,
    LossGradient gradient,
    KeepLayers keep) const {
  std::vector<std::int32_t> ids;
  std::vector<int> first{0};
  auto targets = std::make_shared<TokenTargets>();
  std::vector<float> rows;
  for (const DistillText* text : texts) {
    ids.insert(ids.end(), text->ids.begin(), text->ids.end());
    first.push_back(static_cast<int>(ids.size()));
    rows.insert(rows.end(), text->teacher.begin(), text->teacher.end());
  }
  // Scale and softcap are the model's own; divergence is all of the loss.
  TokenHead theirs = decoder.token_head();
  theirs.trained.reset();
  theirs.matrix = float_matrix(head_->values.data(), head_->rows, head_->cols);
  theirs.memory = head_;
  theirs.products = GemmType::f32;
  targets->teacher = std::make_shared<const TokenTeacher>(TokenTeacher{
      mx::array(rows.data(), {static_cast<int>(ids.size()), head_->cols}),
      theirs,
      1.0f,
      1.0f});
  targets->targets.assign(ids.size(), 0);
  targets->weights.assign(ids.size(), 1.0f / static_cast<float>(ids.size()));
  const auto hidden = decoder.hidden({ids, first}, keep);
  return mx::reshape(
      token_loss(hidden, decoder.token_head(), targets, gradient).loss,
      {});
}

}  // namespace roofline
