#include "roofline/weights/convert/write_rows.h"

#include <algorithm>
#include <thread>

#include <mlx/device.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/weights/save_arrays.h"

namespace roofline {

namespace mx = mlx::core;

namespace {

/// Elements of a piece: 8 MB of bf16. Small enough that several fit into any
/// machine, large enough that scheduling costs nothing.
constexpr std::int64_t kPieceElements = std::int64_t{4} << 20;
/// More threads than this wait for the disk.
constexpr unsigned kMostStreams = 8;

struct PlacedArray {
  std::string name;
  mx::array array;
  std::size_t offset = 0;
};

std::vector<mx::array> computed_arrays(
    const RowJob& job,
    std::int64_t first,
    std::int64_t count,
    mx::Stream stream) {
  if (job.keep_packed) {
    std::vector<mx::array> out;
    for (const auto& each : job.tensor->read_packed(first, count, stream)) {
      out.push_back(mx::contiguous(each, false, stream));
    }
    return out;
  }
  const mx::array rows =
      mx::astype(job.tensor->read(first, count, stream), job.dtype, stream);
  if (!job.form) {
    return {mx::contiguous(rows, false, stream)};
  }
  return mx::quantize(
      rows,
      job.form->group_size,
      job.form->bits,
      job.form->mode,
      std::nullopt,
      stream);
}

/// The arrays that rows [first, first + count) of a job become.
void compute_piece(
    const RowJob& job,
    std::int64_t first,
    std::int64_t count,
    mx::Stream stream,
    std::vector<PlacedArray>& out) {
  const std::vector<mx::array> arrays =
      computed_arrays(job, first, count, stream);
  const std::vector<PlannedTensor> plan = job.plan();
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const std::size_t row =
        plan[i].bytes() / static_cast<std::size_t>(job.tensor->rows());
    out.push_back(
        {plan[i].name, arrays[i], row * static_cast<std::size_t>(first)});
  }
}

std::vector<mx::Stream> make_streams() {
  const mx::Device device = mx::default_device();
  if (device != mx::Device::cpu) {
    return {mx::default_stream(device)};
  }
  // The streams' threads live as long as the process: make them once.
  static const std::vector<mx::Stream> streams = [] {
    std::vector<mx::Stream> out;
    const unsigned count =
        std::clamp(std::thread::hardware_concurrency(), 1u, kMostStreams);
    for (unsigned i = 0; i < count; ++i) {
      out.push_back(mx::new_stream(mx::Device::cpu));
    }
    return out;
  }();
  return streams;
}

void flush(CheckpointWriter& writer, std::vector<PlacedArray>& pending) {
  std::vector<mx::array> arrays;
  for (const PlacedArray& placed : pending) {
    arrays.push_back(placed.array);
  }
  mx::eval(arrays);
  for (const PlacedArray& placed : pending) {
    writer.put(
        placed.name,
        {reinterpret_cast<const std::byte*>(placed.array.data<char>()),
         placed.array.nbytes()},
        placed.offset);
  }
  pending.clear();
}

}  // namespace

std::vector<PlannedTensor> RowJob::plan() const {
  if (keep_packed) {
    const PackedPiece& packed = *tensor->packed();
    return plan_packed(*tensor, packed.form, packed.dtype);
  }
  if (form) {
    return plan_packed(*tensor, *form, dtype);
  }
  return {{tensor->name, dtype_name(dtype), tensor->shape}};
}

void write_rows(
    CheckpointWriter& writer,
    std::span<const RowJob> jobs,
    const RowProgress& progress) {
  const std::vector<mx::Stream> streams = make_streams();
  double all = 0;
  for (const RowJob& job : jobs) {
    all += static_cast<double>(job.tensor->elements());
  }
  double done = 0;
  std::vector<PlacedArray> pending;
  std::size_t busy = 0;
  std::vector<const RowTensor*> finished;
  const auto finish = [&] {
    flush(writer, pending);
    busy = 0;
    for (const RowTensor* tensor : finished) {
      if (tensor->release) {
        tensor->release();
      }
    }
    finished.clear();
  };
  std::int64_t held = 0;  // elements in pending
  for (const RowJob& job : jobs) {
    if (progress) {
      progress(all == 0 ? 1 : done / all, job.tensor->name);
    }
    const std::int64_t rows = job.tensor->rows();
    const std::int64_t step =
        std::max<std::int64_t>(1, kPieceElements / job.tensor->cols());
    for (std::int64_t first = 0; first < rows; first += step) {
      const std::int64_t count = std::min(step, rows - first);
      compute_piece(job, first, count, streams[busy % streams.size()], pending);
      ++busy;
      held += count * job.tensor->cols();
      if (held >= kPieceElements * static_cast<std::int64_t>(streams.size())) {
        finish();
        held = 0;
      }
    }
    done += static_cast<double>(job.tensor->elements());
    finished.push_back(job.tensor);
  }
  finish();
}

}  // namespace roofline
