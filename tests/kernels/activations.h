// What torch makes of each activation that configs name, and its slope:
// tests/data/activations.json, made by make_activations.py beside it.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "roofline/spec/activation_names.h"

namespace roofline::testing {

struct ActivationCase {
  std::string name;
  Activation activation;
  std::vector<float> x;
  std::vector<double> y, slope;
};

inline std::vector<ActivationCase> activation_cases() {
  std::ifstream file(
      std::filesystem::path(ROOFLINE_TEST_DATA) / "activations.json");
  const auto root = nlohmann::json::parse(file);
  std::vector<ActivationCase> out;
  for (const auto& [name, values] : root.items()) {
    if (name != "x") {
      out.push_back(
          {name,
           activation_named(name).value(),
           root.at("x").get<std::vector<float>>(),
           values.at("y").get<std::vector<double>>(),
           values.at("slope").get<std::vector<double>>()});
    }
  }
  return out;
}

}  // namespace roofline::testing
