#include "roofline/quantize/turned_experts.h"

#include <algorithm>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "roofline/spec/mixture_names.h"
#include "roofline/weights/encodings.h"
#include "roofline/weights/expert_tensors.h"

namespace roofline {

namespace {

Tensor::Foreign::Scale type_of(Encoding encoding) {
  return encoding == Encoding::f32    ? Tensor::Foreign::Scale::f32
         : encoding == Encoding::bf16 ? Tensor::Foreign::Scale::bf16
                                      : Tensor::Foreign::Scale::f16;
}

/// Every `step`th column of a tensor from `first` on, as rows.
Tensor columns_of(const Tensor& tensor, std::string name, int first, int step) {
  Tensor out;
  out.name = std::move(name);
  out.encoding = Encoding::turned;
  out.rows = tensor.cols / step;
  out.cols = tensor.rows;
  out.bytes = tensor.bytes;
  out.foreign.stored_rows = tensor.cols;
  out.foreign.first_row = first;
  out.foreign.row_step = step;
  out.foreign.scale_type = type_of(tensor.encoding);
  return out;
}

bool lies_turned(const Checkpoint& checkpoint) {
  return std::any_of(
      checkpoint.tensors().begin(),
      checkpoint.tensors().end(),
      [](const Tensor& tensor) {
        return tensor.name.find(kTurnedExpertsPart) != std::string::npos &&
               is_float(tensor.encoding);
      });
}

class ExpertsByRows : public Checkpoint {
 public:
  explicit ExpertsByRows(std::unique_ptr<Checkpoint> base)
      : base_(std::move(base)), spec_(base_->spec()) {
    for (LayerSpec& layer : spec_.layers) {
      if (layer.feed_forward && layer.feed_forward->mixture) {
        layer.feed_forward->mixture->layout = ExpertLayout::apart;
      }
    }
    for (const Tensor& tensor : base_->tensors()) {
      add(tensor);
    }
    std::sort(
        tensors_.begin(),
        tensors_.end(),
        [](const Tensor& a, const Tensor& b) { return a.name < b.name; });
  }

  const std::filesystem::path& path() const override { return base_->path(); }
  const ModelSpec& spec() const override { return spec_; }
  const std::vector<Tensor>& tensors() const override { return tensors_; }
  void release(const Tensor& tensor) const override {
    // Gate lies among up, which comes after it.
    const bool gate =
        tensor.encoding == Encoding::turned && tensor.name.ends_with(".gate");
    if (!gate) {
      base_->release(tensor);
    }
  }
  std::string format() const override { return base_->format(); }
  std::size_t file_bytes() const override { return base_->file_bytes(); }
  std::string fingerprint() const override { return base_->fingerprint(); }
  std::unique_ptr<Tokenizer> load_tokenizer() const override {
    return base_->load_tokenizer();
  }
  std::optional<std::string> chat_template() const override {
    return base_->chat_template();
  }

 private:
  int experts_of(std::string_view name) const {
    const auto layer = static_cast<std::size_t>(std::stoul(
        std::string(name.substr(std::string_view("layers.").size()))));
    return spec_.layers[layer].feed_forward->mixture->experts;
  }

  void add(const Tensor& tensor) {
    const std::size_t at = tensor.name.find(kTurnedExpertsPart);
    if (at != std::string::npos) {
      add_experts(tensor, tensor.name.substr(0, at + 1));
    } else if (tensor.name.ends_with("experts.gate_up.bias")) {
      add_biases(tensor);
    } else {
      tensors_.push_back(tensor);
    }
  }

  /// layer: "layers.3.feed_forward.".
  void add_experts(const Tensor& tensor, const std::string& layer) {
    const bool down = tensor.name.ends_with(".down");
    const int experts = experts_of(tensor.name);
    const std::int64_t rows = tensor.rows / experts;
    for (int e = 0; e < experts; ++e) {
      const Tensor own = row_slice(tensor, e * rows, rows);
      const auto name = [&](const char* part) {
        return fmt::format("{}experts.{}.{}", layer, e, part);
      };
      if (down) {
        tensors_.push_back(columns_of(own, name("down"), 0, 1));
      } else {
        tensors_.push_back(columns_of(own, name("gate"), 0, 2));
        tensors_.push_back(columns_of(own, name("up"), 1, 2));
      }
    }
  }

  void add_biases(const Tensor& tensor) {
    const std::string at = tensor.name.substr(
        0,
        tensor.name.size() - std::string_view("gate_up.bias").size());
    std::vector<float> row(static_cast<std::size_t>(tensor.cols));
    for (const int first : {0, 1}) {
      auto& values = biases_.emplace_back();
      for (std::int64_t e = 0; e < tensor.rows; ++e) {
        decode_row(tensor, e, row);
        for (auto i = static_cast<std::size_t>(first); i < row.size(); i += 2) {
          values.push_back(row[i]);
        }
      }
      Tensor out;
      out.name = at + (first == 0 ? "gate.bias" : "up.bias");
      out.rows = tensor.rows;
      out.cols = tensor.cols / 2;
      out.bytes = std::as_bytes(std::span(values));
      tensors_.push_back(std::move(out));
    }
  }

  std::unique_ptr<Checkpoint> base_;
  ModelSpec spec_;
  std::vector<Tensor> tensors_;
  std::list<std::vector<float>> biases_;  ///< tensors point into them
};

}  // namespace

std::unique_ptr<Checkpoint> with_experts_by_rows(
    std::unique_ptr<Checkpoint> checkpoint) {
  if (!lies_turned(*checkpoint)) {
    return checkpoint;
  }
  return std::make_unique<ExpertsByRows>(std::move(checkpoint));
}

}  // namespace roofline
