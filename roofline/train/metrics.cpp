#include "roofline/train/metrics.h"

#include <algorithm>
#include <fstream>

#include <fmt/format.h>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kHeader =
    "step,loss,valid_loss,learning_rate,gradient_norm,tokens,seconds,"
    "memory_bytes,peak_memory_bytes\n";

std::string csv_line(const StepFigures& f) {
  return fmt::format(
      "{},{},{},{},{},{},{},{},{}\n",
      f.step,
      f.loss,
      f.valid_loss ? fmt::format("{}", *f.valid_loss) : "",
      f.learning_rate,
      f.gradient_norm,
      f.tokens,
      f.seconds,
      f.memory_bytes,
      f.peak_memory_bytes);
}

std::optional<StepFigures> parse(const std::string& line) {
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_object() || !json.contains("step")) {
    return std::nullopt;  // a line that a crash cut short
  }
  StepFigures f;
  f.step = json.value("step", 0);
  f.loss = json.value("loss", 0.0);
  if (json.contains("valid_loss")) {
    f.valid_loss = json["valid_loss"].get<double>();
  }
  f.learning_rate = json.value("learning_rate", 0.0);
  f.gradient_norm = json.value("gradient_norm", 0.0);
  f.tokens = json.value("tokens", std::int64_t{0});
  f.seconds = json.value("seconds", 0.0);
  f.memory_bytes = json.value("memory_bytes", 0.0);
  f.peak_memory_bytes = json.value("peak_memory_bytes", 0.0);
  return f;
}

void write(const fs::path& path, const std::string& text) {
  write_file_atomically(path, std::as_bytes(std::span(text)));
}

/// Appends the text and empties it, or leaves the file as it was.
void append(const fs::path& path, std::string& text) {
  if (text.empty()) {
    return;
  }
  std::error_code error;
  const auto before = fs::file_size(path, error);
  std::ofstream out(path, std::ios::app);
  out << text << std::flush;
  if (!out) {
    out.close();
    if (!error) {
      fs::resize_file(path, before, error);
    }
    fail<UserError>(
        fmt::format("{} can't be written", path.string()),
        "The disk may be full",
        "Make room");
  }
  text.clear();
}

}  // namespace

Json figures_json(const StepFigures& f) {
  Json json = {{"step", f.step}, {"loss", f.loss}};
  if (f.valid_loss) {
    json["valid_loss"] = *f.valid_loss;
  }
  json["learning_rate"] = f.learning_rate;
  json["gradient_norm"] = f.gradient_norm;
  json["tokens"] = f.tokens;
  json["seconds"] = f.seconds;
  json["memory_bytes"] = f.memory_bytes;
  json["peak_memory_bytes"] = f.peak_memory_bytes;
  return json;
}

Metrics::Metrics(const fs::path& folder, int last_step) : folder_(folder) {
  std::ifstream in(folder / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    const auto figures = parse(line);
    if (figures && figures->step <= last_step) {
      all_.push_back(*figures);
    }
  }
  std::string lines;
  std::string csv(kHeader);
  for (const auto& figures : all_) {
    lines += figures_json(figures).dump() + "\n";
    csv += csv_line(figures);
  }
  write(folder / "metrics.jsonl", lines);
  write(folder / "metrics.csv", csv);
}

void Metrics::add(const StepFigures& figures) {
  all_.push_back(figures);
  lines_ += figures_json(figures).dump() + "\n";
  csv_ += csv_line(figures);
  flush();
}

void Metrics::flush() {
  append(folder_ / "metrics.jsonl", lines_);
  append(folder_ / "metrics.csv", csv_);
}

Chart loss_chart(const std::vector<StepFigures>& figures) {
  constexpr std::size_t kMean = 20;
  Chart chart;
  chart.title = "Loss";
  chart.x_title = "step";
  chart.y_title = "loss";
  ChartSeries each{"each step", {}};
  ChartSeries mean{fmt::format("mean of {}", kMean), {}};
  ChartSeries valid{"validation", {}};
  double sum = 0;
  for (std::size_t i = 0; i < figures.size(); ++i) {
    const auto& f = figures[i];
    each.points.push_back({static_cast<double>(f.step), f.loss, "", {}, {}});
    sum += f.loss - (i >= kMean ? figures[i - kMean].loss : 0);
    const auto count = static_cast<double>(std::min(i + 1, kMean));
    mean.points.push_back(
        {static_cast<double>(f.step), sum / count, "", {}, {}});
    if (f.valid_loss) {
      valid.points.push_back(
          {static_cast<double>(f.step), *f.valid_loss, "", {}, {}});
    }
  }
  chart.series = {each, mean};
  if (!valid.points.empty()) {
    chart.series.push_back(valid);
  }
  return chart;
}

}  // namespace roofline
