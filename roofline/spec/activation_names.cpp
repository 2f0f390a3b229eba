#include "roofline/spec/activation_names.h"

#include <algorithm>
#include <array>

namespace roofline {

namespace {

struct Row {
  std::string_view name;
  Activation activation;
  std::string_view words;
};

// Of several names for one, the first is the one that is written.
constexpr std::array kRows = {
    Row{"silu", Activation::silu, "silu"},
    Row{"swish", Activation::silu, ""},
    Row{"gelu", Activation::gelu, "gelu"},
    Row{"gelu_python", Activation::gelu, ""},
    Row{"gelu_pytorch_tanh", Activation::gelu_tanh, "gelu (tanh form)"},
    Row{"gelu_python_tanh", Activation::gelu_tanh, ""},
    Row{"gelu_new", Activation::gelu_tanh, ""},
    Row{"gelu_fast", Activation::gelu_tanh, ""},
    Row{"gelu_accurate", Activation::gelu_tanh, ""},
    Row{"gelu_tanh", Activation::gelu_tanh, ""},
    Row{"relu", Activation::relu, "relu"},
    Row{"relu2", Activation::relu_squared, "relu²"},
    Row{"quick_gelu", Activation::quick_gelu, "gelu (sigmoid form)"},
    Row{"gelu_10", Activation::clipped_gelu, "gelu within ±10"},
    Row{"mish", Activation::mish, "mish"},
    Row{"hardswish", Activation::hard_swish, "hard swish"},
    Row{"leaky_relu", Activation::leaky_relu, "leaky relu"},
    Row{"relu6", Activation::relu6, "relu6"},
    Row{"tanh", Activation::tanh, "tanh"},
    Row{"sigmoid", Activation::sigmoid, "sigmoid"},
    Row{"laplace", Activation::laplace, "laplace"},
    Row{"linear", Activation::identity, "none"},
    Row{"xielu", Activation::xielu, "xielu"},
};

const Row& row_of(Activation activation) {
  return *std::find_if(kRows.begin(), kRows.end(), [&](const Row& row) {
    return row.activation == activation;
  });
}

}  // namespace

std::optional<Activation> activation_named(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.name == name) {
      return row.activation;
    }
  }
  return std::nullopt;
}

std::vector<std::string> activation_names() {
  std::vector<std::string> out;
  for (const Row& row : kRows) {
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
