#include "roofline/spec/activation_names.h"

#include <algorithm>
#include <array>

namespace roofline {

namespace {

struct ActivationRow {
  std::string_view name;
  Activation activation;
  std::string_view words;
};

// Of several names for one, the first is the one that is written.
constexpr std::array kActivationRows = {
    ActivationRow{"silu", Activation::silu, "silu"},
    ActivationRow{"swish", Activation::silu, ""},
    ActivationRow{"gelu", Activation::gelu, "gelu"},
    ActivationRow{"gelu_python", Activation::gelu, ""},
    ActivationRow{
        "gelu_pytorch_tanh",
        Activation::gelu_tanh,
        "gelu (tanh form)"},
    ActivationRow{"gelu_python_tanh", Activation::gelu_tanh, ""},
    ActivationRow{"gelu_new", Activation::gelu_tanh, ""},
    ActivationRow{"gelu_fast", Activation::gelu_tanh, ""},
    ActivationRow{"gelu_accurate", Activation::gelu_tanh, ""},
    ActivationRow{"gelu_tanh", Activation::gelu_tanh, ""},
    ActivationRow{"relu", Activation::relu, "relu"},
    ActivationRow{"relu2", Activation::relu_squared, "relu²"},
    ActivationRow{"quick_gelu", Activation::quick_gelu, "gelu (sigmoid form)"},
    ActivationRow{"gelu_10", Activation::clipped_gelu, "gelu within ±10"},
    ActivationRow{"mish", Activation::mish, "mish"},
    ActivationRow{"hardswish", Activation::hard_swish, "hard swish"},
    ActivationRow{"leaky_relu", Activation::leaky_relu, "leaky relu"},
    ActivationRow{"relu6", Activation::relu6, "relu6"},
    ActivationRow{"tanh", Activation::tanh, "tanh"},
    ActivationRow{"sigmoid", Activation::sigmoid, "sigmoid"},
    ActivationRow{"laplace", Activation::laplace, "laplace"},
    ActivationRow{"linear", Activation::identity, "none"},
    ActivationRow{"xielu", Activation::xielu, "xielu"},
};

const ActivationRow& row_of(Activation activation) {
  return *std::find_if(
      kActivationRows.begin(),
      kActivationRows.end(),
      [&](const ActivationRow& row) { return row.activation == activation; });
}

}  // namespace

std::optional<Activation> activation_named(std::string_view name) {
  for (const ActivationRow& row : kActivationRows) {
    if (row.name == name) {
      return row.activation;
    }
  }
  return std::nullopt;
}

std::vector<std::string> activation_names() {
  std::vector<std::string> out;
  for (const ActivationRow& row : kActivationRows) {
    out.emplace_back(row.name);
  }
  return out;
}

std::string_view activation_name(Activation activation) {
  return row_of(activation).name;
}

std::string_view activation_in_words(Activation activation) {
  return row_of(activation).words;
}

}  // namespace roofline
