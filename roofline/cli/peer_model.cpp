#include "roofline/cli/peer_model.h"

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <system_error>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/cli/output.h"
#include "roofline/report/progress.h"
#include "roofline/weights/convert/mlx_quantize.h"
#include "roofline/weights/convert/to_gguf.h"
#include "roofline/weights/convert/to_mlx.h"

namespace roofline::cli {

namespace fs = std::filesystem;

namespace {

fs::path make_folder() {
  std::string name =
      (fs::temp_directory_path() / "roofline-peer-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    fail<UserError>(
        "Can't make a folder for a peer's model",
        std::strerror(errno),
        "Set TMPDIR to a folder that can be written");
  }
  return name;
}

std::function<void(double, std::string_view)> shown(
    Progress& progress,
    const std::atomic<bool>& stop) {
  return [&](double share, std::string_view name) {
    if (stop) {
      fail<UserError>(
          "The peer's model wasn't written",
          "A signal came",
          "Run the command again");
    }
    progress.update(share, name);
  };
}

PeerForm form_of_bits(double bits) {
  if (bits <= 5.2) {
    return {4, "q4_1"};
  }
  return bits <= 9 ? PeerForm{8, "q8_0"} : PeerForm{};
}

}  // namespace

PeerForm peer_form(const PlannedModel& model) {
  struct Sum {
    std::int64_t count = 0;
    std::uint64_t bytes = 0;
  };
  std::map<std::string, Sum> formats;
  const Sum* most = nullptr;
  for (const ModelTensor& tensor : model.tensors) {
    if (tensor.rows > 1) {
      Sum& sum = formats[tensor.format];
      sum.count += tensor.count();
      sum.bytes += tensor.bytes;
      most = most == nullptr || sum.count > most->count ? &sum : most;
    }
  }
  return most == nullptr ? PeerForm{}
                         : form_of_bits(
                               8.0 * static_cast<double>(most->bytes) /
                               static_cast<double>(most->count));
}

PeerModel::PeerModel(
    std::string_view peer,
    const PlannedModel& model,
    const std::optional<QuantizeChoice>& choice,
    const std::atomic<bool>& stop)
    : stop_(stop), source_(*model.path), path_(source_) {
  const bool folders = peer == "mlx-lm";
  PeerForm form = peer_form(model);
  const bool quantizes = form.bits == 16 && choice;
  if (quantizes) {
    form = {
        choice->bits,
        choice->bits == 4 ? "q4_0" : "q8_0",
        choice->group_size};
  }
  const bool reads = fs::is_directory(source_) == folders;
  if (reads && !quantizes) {
    return;
  }
  folder_ = make_folder();
  try {
    folders ? write_folder(form) : write_gguf(form);
  } catch (...) {
    std::error_code error;
    fs::remove_all(folder_, error);
    throw;
  }
  remark_ = fmt::format(
      "{} {}: it ran the same weights written as {}.",
      peer,
      reads     ? "doesn't quantize while it loads"
      : folders ? "reads folders"
                : "reads GGUF files",
      remark_);
}

PeerModel::~PeerModel() {
  if (!folder_.empty()) {
    std::error_code error;
    fs::remove_all(folder_, error);
  }
}

void PeerModel::write_folder(const PeerForm& form) {
  Progress progress("Writing a folder for the peer", notice_on_terminal());
  ToMlxOptions options;
  if (form.bits < 16) {
    options.quantize = parse_mlx_form("affine", form.bits, form.group_size);
  }
  options.progress = shown(progress, stop_);
  path_ = folder_ / "model";
  convert_to_mlx(source_, path_, options);
  remark_ = form.bits < 16 ? fmt::format(
                                 "{}-bit codes in groups of {}",
                                 form.bits,
                                 form.group_size)
                           : "16-bit floats";
}

void PeerModel::write_gguf(const PeerForm& form) {
  Progress progress("Writing a GGUF file for the peer", notice_on_terminal());
  ToGgufOptions options;
  options.encoding = parse_gguf_type(form.gguf_type, "--vs");
  options.progress = shown(progress, stop_);
  fs::path source = source_;
  if (!fs::is_directory(source)) {
    // GGUF is written from folders.
    source = folder_ / "floats";
    ToMlxOptions floats;
    floats.progress = options.progress;
    convert_to_mlx(source_, source, floats);
  }
  path_ = folder_ / "model.gguf";
  convert_to_gguf(source, path_, options);
  if (source != source_) {
    fs::remove_all(source);
  }
  remark_ = form.gguf_type;
}

}  // namespace roofline::cli
