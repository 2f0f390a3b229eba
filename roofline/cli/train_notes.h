// What `roofline train` tells on the way: figures of steps, and what of the
// settings and the data has no effect.
#pragma once

#include <filesystem>
#include <string>

#include "roofline/train/dataset.h"
#include "roofline/train/metrics.h"
#include "roofline/train/options.h"

namespace roofline::cli {

/// Lines of figures while a run goes on.
class Watch {
 public:
  /// most_tokens: a second, by the processor's arithmetic.
  Watch(int every, bool quiet, double most_tokens)
      : every_(every), quiet_(quiet), most_tokens_(most_tokens) {}

  void step(const StepFigures& f, int steps);

 private:
  int every_;
  bool quiet_;
  double most_tokens_;
  double tokens_ = 0;
  double seconds_ = 0;
  double losses_ = 0;
  int count_ = 0;
};

/// Says so where a setting is of another method, loss or optimizer than the one
/// that was chosen.
void tell_if_idle(const std::string& name, const TrainOptions& options);

/// Says so where the data have tools that the chat template leaves out: the
/// model doesn't see them.
void tell_of_tools(
    const Dataset& data,
    const std::filesystem::path& file,
    const std::string& chat_template);

}  // namespace roofline::cli
