// A run's figures as TensorBoard reads them: an event file of scalars in a
// folder that several runs may share.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "roofline/train/metrics.h"

struct rb_events;

namespace roofline {

class EventFile {
 public:
  /// Starts a file of its own; of older files in the folder the steps after
  /// `last_step` no longer count, since a run that goes on does them again.
  /// Throws UserError when it can't be written.
  EventFile(const std::filesystem::path& folder, int last_step);

  /// Adds loss/train, loss/validation (where there is one), learning_rate,
  /// gradient_norm, tokens_per_second, memory/resident_bytes and
  /// memory/peak_bytes. Throws UserError when the disk is full; nothing can be
  /// added after that.
  void add(const StepFigures& figures);

 private:
  struct Close {
    void operator()(rb_events* events) const;
  };
  std::string folder_;
  std::unique_ptr<rb_events, Close> events_;
};

}  // namespace roofline
