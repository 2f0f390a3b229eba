#include "roofline/train/event_file.h"

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/text/bridge_call.h"

namespace roofline {

namespace {

void require_written(
    std::int32_t status,
    const BridgeBuffer& error,
    const std::string& folder) {
  const std::string what =
      fmt::format("TensorBoard's file in {} can't be written", folder);
  require_ok(status, error, {what, "Make room, or name another --tensorboard"});
}

}  // namespace

void EventFile::Close::operator()(rb_events* events) const {
  rb_events_free(events);
}

EventFile::EventFile(const std::filesystem::path& folder, int last_step)
    : folder_(folder.string()) {
  std::error_code unknown;
  if (std::filesystem::exists(folder, unknown) &&
      !std::filesystem::is_directory(folder, unknown)) {
    fail<UserError>(
        fmt::format("{} is no folder", folder_),
        "TensorBoard's files need one",
        "Name another --tensorboard");
  }
  rb_events* events = nullptr;
  BridgeBuffer error;
  require_written(
      rb_events_create(view_of(folder_), last_step + 1, &events, error.out()),
      error,
      folder_);
  events_.reset(events);
}

void EventFile::add(const StepFigures& f) {
  if (!events_) {
    return;
  }
  const auto scalar = [&](std::string_view tag, double value) {
    BridgeBuffer error;
    const auto status = rb_events_add(
        events_.get(),
        f.step,
        view_of(tag),
        static_cast<float>(value),
        error.out());
    if (status != RB_OK) {
      events_.reset();  // readers stop at a record that was cut short
    }
    require_written(status, error, folder_);
  };
  scalar("loss/train", f.loss);
  if (f.valid_loss) {
    scalar("loss/validation", *f.valid_loss);
  }
  scalar("learning_rate", f.learning_rate);
  scalar("gradient_norm", f.gradient_norm);
  scalar("tokens_per_second", static_cast<double>(f.tokens) / f.seconds);
  scalar("memory/resident_bytes", f.memory_bytes);
  scalar("memory/peak_bytes", f.peak_memory_bytes);
}

}  // namespace roofline
