#include "roofline/weights/save_arrays.h"

#include <sys/stat.h>

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"

namespace roofline {

namespace mx = mlx::core;

namespace {

/// The array's bytes in row-major order. `holder` keeps them.
std::span<const std::byte> bytes_of(const mx::array& array, mx::array& holder) {
  holder = mx::contiguous(array);
  holder.eval();
  return {
      reinterpret_cast<const std::byte*>(holder.data<char>()),
      holder.nbytes()};
}

/// Readable as any new file of this user; a nameless one begins as private.
void open_to_others(int fd) {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(fd, 0666 & ~mask);
}

}  // namespace

std::string dtype_name(mx::Dtype dtype) {
  switch (dtype.val()) {
    case mx::Dtype::Val::float32:
      return "F32";
    case mx::Dtype::Val::float16:
      return "F16";
    case mx::Dtype::Val::bfloat16:
      return "BF16";
    case mx::Dtype::Val::uint8:
      return "U8";
    case mx::Dtype::Val::int8:
      return "I8";
    case mx::Dtype::Val::uint32:
      return "U32";
    case mx::Dtype::Val::int32:
      return "I32";
    case mx::Dtype::Val::int64:
      return "I64";
    case mx::Dtype::Val::bool_:
      return "BOOL";
    default:
      fail<BugError>(
          "An array of this dtype can't be written",
          "",
          "Please report this");
  }
}

PlannedTensor planned_array(std::string name, const mx::array& array) {
  return {
      std::move(name),
      dtype_name(array.dtype()),
      {array.shape().begin(), array.shape().end()}};
}

void put_array(
    CheckpointWriter& writer,
    std::string_view name,
    const mx::array& array) {
  mx::array holder = array;
  writer.put(name, bytes_of(array, holder));
}

void save_tensors(
    const std::filesystem::path& path,
    const std::vector<PlannedTensor>& tensors,
    const std::function<void(SafetensorsWriter&)>& put_all,
    const SafetensorsMetadata& metadata) {
  AtomicFile file(path);
  if (!file.is_open()) {
    fail<UserError>(
        "Can't write " + path.string(),
        file.error(),
        "Check that the folder can be written");
  }
  SafetensorsWriter writer(file.fd(), path.string(), tensors, metadata);
  put_all(writer);
  writer.finish();
  open_to_others(file.fd());
  if (!file.publish()) {
    fail<UserError>(
        "Can't write " + path.string(),
        file.error(),
        "Check that the folder can be written");
  }
}

void save_arrays(
    const std::filesystem::path& path,
    const std::vector<std::pair<std::string, mx::array>>& arrays,
    const SafetensorsMetadata& metadata) {
  std::vector<PlannedTensor> tensors;
  for (const auto& [name, array] : arrays) {
    tensors.push_back(planned_array(name, array));
  }
  const auto put_all = [&](SafetensorsWriter& writer) {
    for (const auto& [name, array] : arrays) {
      mx::array holder = array;
      writer.put(name, bytes_of(array, holder));
    }
  };
  save_tensors(path, tensors, put_all, metadata);
}

}  // namespace roofline
