// What the tests of planning ask about: a model that everybody knows.
#pragma once

#include "roofline/plan/memory.h"

namespace roofline {

inline const PlannedModel& llama() {
  static const PlannedModel model = plan_model("llama-2-7b");
  return model;
}

/// On a GPU, where weights are held as they are stored.
inline InferenceQuestion asked(std::int64_t tokens) {
  InferenceQuestion question;
  question.context_tokens = tokens;
  question.gpu = true;
  return question;
}

}  // namespace roofline
