#include "roofline/cli/train_notes.h"

#include <tuple>

#include <fmt/format.h>

#include "roofline/cli/output.h"

namespace roofline::cli {

namespace {

std::string duration_text(double seconds) {
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole < 90) {
    return fmt::format("{} s", whole);
  }
  return whole < 5400 ? fmt::format("{} min", (whole + 30) / 60)
                      : fmt::format("{:.1f} h", seconds / 3600);
}

}  // namespace

void Watch::step(const StepFigures& f, int steps) {
  tokens_ += static_cast<double>(f.tokens);
  seconds_ += f.seconds;
  losses_ += f.loss;
  ++count_;
  const bool due = (every_ > 0 && f.step % every_ == 0) || f.step == steps;
  if (quiet_ || (!due && !f.valid_loss)) {
    return;
  }
  const double left = seconds_ / count_ * (steps - f.step);
  std::string line =
      fmt::format("step {}/{}  loss {:.4f}", f.step, steps, losses_ / count_);
  if (f.valid_loss) {
    line += fmt::format("  validation {:.4f}", *f.valid_loss);
  }
  line += fmt::format(
      "  rate {:.2g}  norm {:.3g}  {:.0f} tok/s ({:.0f} % of the roof)  {} "
      "(peak {})",
      f.learning_rate,
      f.gradient_norm,
      tokens_ / seconds_,
      100 * tokens_ / seconds_ / most_tokens_,
      format_bytes(f.memory_bytes),
      format_bytes(f.peak_memory_bytes));
  if (f.step < steps) {
    line += "  " + duration_text(left) + " left";
  }
  write_notice(line + "\n");
  tokens_ = seconds_ = losses_ = 0;
  count_ = 0;
}

void tell_if_idle(const std::string& name, const TrainOptions& o) {
  const bool full = o.method == AdaptMethod::full;
  using enum OptimizerName;
  const auto optimizer = o.optimizer.name;
  const bool no_means = optimizer == sgd || optimizer == adafactor;
  const std::tuple<const char*, bool, const char*> all[] = {
      {"rank", full, "--method full"},
      {"alpha", full, "--method full"},
      {"dropout", full, "--method full"},
      {"targets", full, "--method full"},
      {"beta", o.loss == LossName::cross_entropy, "--loss cross_entropy"},
      {"temperature", o.teacher.empty(), "no --teacher"},
      {"teacher-share", o.teacher.empty(), "no --teacher"},
      {"momentum", optimizer != sgd, "this --optimizer"},
      {"beta1", no_means, "this --optimizer"},
      {"beta2", no_means, "this --optimizer"},
      {"eps", no_means || optimizer == lion, "this --optimizer"},
      {"final-rate",
       o.schedule == ScheduleName::constant,
       "--schedule constant"}};
  for (const auto& [each, idle, why] : all) {
    if (idle && each == name) {
      write_notice(
          fmt::format("roofline: --{} says nothing with {}\n", name, why));
    }
  }
}

void tell_of_tools(
    const Dataset& data,
    const std::filesystem::path& file,
    const std::string& chat_template) {
  const auto tell = [&](int lines, const char* what, const char* name) {
    if (lines > 0 && !chat_template.empty() &&
        chat_template.find(name) == std::string::npos) {
      write_notice(fmt::format(
          "roofline: {}: {} samples have {}, which the model's chat template "
          "leaves out\n",
          file.string(),
          lines,
          what));
    }
  };
  tell(data.with_tools, "tools", "tools");
  tell(data.with_tool_calls, "calls of tools", "tool_calls");
}

}  // namespace roofline::cli
