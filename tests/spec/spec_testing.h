// Helpers of the spec tests: configs of goldens, and errors' messages.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/spec/read_config.h"

namespace roofline {

inline std::filesystem::path golden_path(const std::string& name) {
  return std::filesystem::path(ROOFLINE_GOLDENS) / name;
}

inline nlohmann::json golden_config(const std::string& name) {
  std::ifstream file(golden_path(name) / "config.json");
  return nlohmann::json::parse(file);
}

/// Folders of tests/goldens that hold a config, sorted.
inline std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(ROOFLINE_GOLDENS)) {
    if (std::filesystem::exists(entry.path() / "config.json")) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// The message of the E that f throws; "" and a failure when it doesn't.
template <class E, class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another error: " << error.what();
    return "";
  }
  ADD_FAILURE() << "no error";
  return "";
}

template <class E>
std::string config_error(const nlohmann::json& config) {
  return message_of<E>([&] { read_config(config); });
}

inline void expect_has(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos)
      << "\"" << part << "\" isn't in: " << text;
}

}  // namespace roofline
