#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/output.h"
#include "roofline/model/held_form.h"
#include "roofline/spec/read_config.h"
#include "roofline/weights/checkpoint.h"
#include "roofline/weights/encodings.h"

namespace roofline::cli {

namespace {

/// The figure of the guide: memory for so many tokens of conversation.
constexpr std::int64_t kTokens = 1000;
/// Keys and values are kept in 16-bit floats.
constexpr std::int64_t kKvBytes = 2;

struct WeightClass {
  const char* title;
  const char* marker;  ///< in a tensor's name; "" takes the rest
};

constexpr std::array<WeightClass, 5> kClasses = {{
    {"embedding", "embed"},
    {"head", "head"},
    {"attention", ".attention."},
    {"feed-forward", ".feed_forward."},
    {"norms and others", ""},
}};

const char* class_of(std::string_view name) {
  for (const WeightClass& kind : kClasses) {
    const bool from_start = kind.marker[0] != '.';
    const std::size_t at = name.find(kind.marker);
    if (from_start ? at == 0 : at != name.npos) {
      return kind.title;
    }
  }
  return kClasses.back().title;
}

struct Memory {
  std::map<std::string, std::size_t> weights;  ///< bytes by class
  std::size_t weight_bytes = 0;
  std::int64_t weight_count = 0;
  std::int64_t kv_bytes = 0;  ///< for kTokens
};

/// How the CPU kernels hold a matrix; "" for vectors, which become float32.
std::string held_text(const Tensor& tensor) {
  if (tensor.rows == 1) {
    return "";
  }
  const HeldForm form = held_form(tensor, false);
  if (!form.quantize) {
    return held_name(form);
  }
  return fmt::format(
      "{} again, error {:.2g} %",
      held_name(form),
      100 * requantization_error(tensor, *form.quantize));
}

/// Weights of a tensor; packed codes count as what they stand for.
std::int64_t count_of(const Tensor& tensor) {
  return tensor.rows * tensor.cols;
}

std::int64_t kv_bytes_of(const ModelSpec& spec, std::int64_t tokens) {
  std::int64_t bytes = 0;
  for (const LayerSpec& layer : spec.layers) {
    if (!layer.attention) {
      continue;
    }
    const AttentionSpec& attention = *layer.attention;
    const std::int64_t held =
        attention.window_tokens
            ? std::min<std::int64_t>(tokens, *attention.window_tokens)
            : tokens;
    const std::int64_t keys_and_values =
        2 * std::int64_t{attention.kv_heads} * attention.head_dim;
    bytes += held * kKvBytes *
             (attention.latent
                  ? attention.latent->kv_rank + attention.latent->rope_dim
                  : keys_and_values);
  }
  return bytes;
}

Memory memory_of(const Checkpoint& checkpoint) {
  Memory memory;
  for (const Tensor& tensor : checkpoint.tensors()) {
    memory.weights[class_of(tensor.name)] += tensor.total_bytes();
    memory.weight_bytes += tensor.total_bytes();
    memory.weight_count += count_of(tensor);
  }
  memory.kv_bytes = kv_bytes_of(checkpoint.spec(), kTokens);
  return memory;
}

nlohmann::ordered_json tensor_json(const Tensor& tensor) {
  return {
      {"name", tensor.name},
      {"encoding", encoding_text(tensor)},
      {"held_as", held_text(tensor)},
      {"rows", tensor.rows},
      {"cols", tensor.cols},
      {"bytes", tensor.total_bytes()}};
}

nlohmann::ordered_json spec_json(const ModelSpec& spec) {
  nlohmann::ordered_json out = {
      {"family", spec.family},
      {"dim", spec.dim},
      {"vocab", spec.vocab},
      {"layers", spec.layers.size()},
      {"context_tokens", spec.context_tokens},
      {"tied_embeddings", spec.tied_embeddings},
      {"eos_tokens", spec.eos_tokens}};
  // Of the first layer that has such a part.
  for (const LayerSpec& layer : spec.layers) {
    if (layer.attention && !out.contains("heads")) {
      out["heads"] = layer.attention->heads;
      out["kv_heads"] = layer.attention->kv_heads;
      out["head_dim"] = layer.attention->head_dim;
    }
    if (layer.feed_forward && !out.contains("hidden")) {
      out["hidden"] = layer.feed_forward->hidden;
    }
  }
  return out;
}

void print_json(const Checkpoint& checkpoint) {
  const Memory memory = memory_of(checkpoint);
  auto tensors = nlohmann::ordered_json::array();
  for (const Tensor& tensor : checkpoint.tensors()) {
    tensors.push_back(tensor_json(tensor));
  }
  write_json({
      {"path", checkpoint.path().string()},
      {"format", checkpoint.format()},
      {"file_bytes", checkpoint.file_bytes()},
      {"spec", spec_json(checkpoint.spec())},
      {"description", describe(checkpoint.spec())},
      {"memory",
       {{"weight_bytes", memory.weight_bytes},
        {"weights", memory.weights},
        {"parameters", memory.weight_count},
        {"kv_bytes_per_1000_tokens", memory.kv_bytes}}},
      {"has_chat_template", checkpoint.chat_template().has_value()},
      {"tensors", std::move(tensors)},
  });
}

std::string memory_text(const Checkpoint& checkpoint) {
  const Memory memory = memory_of(checkpoint);
  std::string text = fmt::format(
      "Memory\n  weights            {:>10}  ({:.1f} million parameters)\n",
      format_bytes(static_cast<double>(memory.weight_bytes)),
      static_cast<double>(memory.weight_count) / 1e6);
  for (const WeightClass& kind : kClasses) {
    const auto found = memory.weights.find(kind.title);
    if (found != memory.weights.end()) {
      text += fmt::format(
          "    {:<17}{:>10}\n",
          kind.title,
          format_bytes(static_cast<double>(found->second)));
    }
  }
  text += fmt::format(
      "  KV, {} tokens    {:>10}  (f16)\n",
      kTokens,
      format_bytes(static_cast<double>(memory.kv_bytes)));
  return text;
}

std::string tensor_table(const Checkpoint& checkpoint) {
  std::string text = "Tensors (stored as, and held by the CPU kernels as)\n";
  for (const Tensor& tensor : checkpoint.tensors()) {
    const std::string shape = fmt::format("{} x {}", tensor.rows, tensor.cols);
    text += fmt::format(
        "  {:<42} {:>16}  {:<16} {:>10}  {}\n",
        tensor.name,
        shape,
        encoding_text(tensor),
        format_bytes(static_cast<double>(tensor.total_bytes())),
        held_text(tensor));
  }
  return text;
}

class Inspect : public Command {
 public:
  void declare(App& app) override {
    app.add_option(
           "model,--model",
           model_,
           "The model. Left out: the bundled one.")
        ->type_name("[MODEL]");
    app.add_flag("--json", json_, "Print JSON.")->group("Output");
    app.footer(
        "Reads headers only, and a few rows of matrices that the CPU kernels "
        "can't hold\n"
        "without loss: it is as fast for a large model as for a small one.\n"
        "\n"
        "Examples\n"
        "    roofline inspect model.gguf\n"
        "    roofline inspect path/to/folder --json");
  }

  int run() override {
    const auto checkpoint = Checkpoint::open(resolve_model(model_));
    if (json_) {
      print_json(*checkpoint);
      return kSuccess;
    }
    std::string text = fmt::format(
        "{}\n{}, {}\n\nModel\n{}",
        checkpoint->path().string(),
        checkpoint->format(),
        format_bytes(static_cast<double>(checkpoint->file_bytes())),
        describe(checkpoint->spec()));
    if (!text.ends_with('\n')) {
      text += '\n';
    }
    text += fmt::format(
        "\n{}\nChat template: {}\n\n{}",
        memory_text(*checkpoint),
        checkpoint->chat_template() ? "yes" : "no",
        tensor_table(*checkpoint));
    write_output(text);
    return kSuccess;
  }

 private:
  std::string model_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_inspect() {
  return std::make_unique<Inspect>();
}

}  // namespace roofline::cli
