#include "roofline/weights/checkpoint.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/base/sha256.h"
#include "roofline/weights/gguf.h"
#include "roofline/weights/opened_checkpoint.h"
#include "roofline/weights/text_files.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

void check_exists(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    fail<UserError>(
        "There is no " + path.string(),
        error ? error.message() : "",
        "Check the path");
  }
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

/// A weight file that needs the files beside it was named instead of its
/// folder.
void refuse_lone_file(const fs::path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".safetensors") {
    fail<UserError>(
        path.string() + " holds weights only",
        "config.json and the tokenizer lie beside it in its folder",
        "Name the folder instead: " +
            fs::absolute(path).parent_path().string());
  }
  if (extension == ".bin" || extension == ".pt" || extension == ".pth") {
    fail<UnsupportedError>(
        "Can't open " + path.string(),
        "PyTorch's pickle format can run any code when it is read",
        "Take the safetensors version of the model, or convert it to that");
  }
}

}  // namespace

void check_readable(const fs::path& path) {
  if (is_folder(path) && ::access(path.c_str(), R_OK | X_OK) != 0) {
    fail<UserError>(
        "Can't read " + path.string(),
        std::strerror(errno),
        "Check the permissions of the folder");
  }
}

std::unique_ptr<Checkpoint> Checkpoint::open(const fs::path& path) {
  check_exists(path);
  check_readable(path);
  if (is_folder(path)) {
    return open_folder(path);
  }
  refuse_lone_file(path);
  return open_gguf(path);
}

const Tensor* Checkpoint::find(std::string_view name) const {
  const auto& all = tensors();
  const auto at = std::lower_bound(
      all.begin(),
      all.end(),
      name,
      [](const Tensor& tensor, auto wanted) { return tensor.name < wanted; });
  return at == all.end() || at->name != name ? nullptr : &*at;
}

const Tensor& Checkpoint::at(std::string_view name) const {
  if (const Tensor* found = find(name)) {
    return *found;
  }
  std::vector<std::string> names;
  for (const Tensor& tensor : tensors()) {
    names.push_back(tensor.name);
  }
  fail<CheckpointError>(
      fmt::format("{} has no tensor {}", path().string(), name),
      did_you_mean(name, names),
      "Check that the checkpoint is complete");
}

void OpenedCheckpoint::add_eos(std::int64_t token) {
  auto& known = spec_.eos_tokens;
  if (std::find(known.begin(), known.end(), token) == known.end()) {
    known.push_back(static_cast<std::int32_t>(token));
  }
}

std::string fingerprint_files(std::span<const fs::path> files) {
  Sha256 hash;
  for (const fs::path& file : files) {
    std::error_code error;
    const fs::path real = fs::canonical(file, error);
    const auto bytes = fs::file_size(file, error);
    const auto time = fs::last_write_time(file, error);
    hash.update(fmt::format(
        "{}\n{}\n{}\n",
        real.string(),
        bytes,
        static_cast<std::int64_t>(time.time_since_epoch().count())));
  }
  return hash.hex();
}

std::unique_ptr<Tokenizer> load_tokenizer(const fs::path& model) {
  check_exists(model);
  fs::path file = model;
  if (is_folder(model)) {
    file = only_gguf_in(model);
    if (file.empty() || fs::exists(model / "tokenizer.json") ||
        fs::exists(model / "tokenizer.model")) {
      return folder_tokenizer(model);
    }
  } else {
    refuse_lone_file(model);
  }
  return Tokenizer::from_vocabulary(gguf_vocabulary(GgufFile(file)));
}

std::optional<std::string> load_chat_template(const fs::path& model) {
  check_exists(model);
  fs::path file = model;
  if (is_folder(model)) {
    if (auto found = folder_chat_template(model)) {
      return found;
    }
    file = only_gguf_in(model);
    if (file.empty()) {
      return std::nullopt;
    }
  }
  return gguf_chat_template(GgufFile(file));
}

}  // namespace roofline
