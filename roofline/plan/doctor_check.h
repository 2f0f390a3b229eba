// Makes the findings of doctor's checks.
#pragma once

#include <string>
#include <utility>

#include "roofline/plan/doctor.h"

namespace roofline {

inline constexpr double kGb = 1e9;

inline Check good(std::string name, std::string finding) {
  return {std::move(name), CheckState::ok, std::move(finding), ""};
}

inline Check warning(std::string name, std::string finding, std::string fix) {
  return {
      std::move(name),
      CheckState::warning,
      std::move(finding),
      std::move(fix)};
}

inline Check problem(std::string name, std::string finding, std::string fix) {
  return {
      std::move(name),
      CheckState::problem,
      std::move(finding),
      std::move(fix)};
}

}  // namespace roofline
