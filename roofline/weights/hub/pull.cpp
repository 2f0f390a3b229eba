#include "roofline/weights/hub/pull.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include <fmt/format.h>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"
#include "roofline/weights/hub/hub_blob.h"
#include "roofline/weights/hub/hub_listing.h"
#include "roofline/weights/printable.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

void check_name(std::string_view name) {
  const auto slashes = std::count(name.begin(), name.end(), '/');
  const bool sound = !name.empty() && slashes <= 1 && name.front() != '/' &&
                     name.back() != '/' &&
                     name.find("..") == std::string_view::npos &&
                     name.find("--") == std::string_view::npos &&
                     std::all_of(name.begin(), name.end(), [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '-' || c == '_' ||
                              c == '.' || c == '/';
                     });
  if (!sound) {
    fail<UserError>(
        fmt::format("\"{}\" is no name of a model on a hub", printable(name)),
        "",
        "Write it as org/name");
  }
}

void check_revision(std::string_view revision) {
  if (revision.empty() || revision.front() == '/' ||
      revision.find("..") != std::string_view::npos ||
      revision.find('\0') != std::string_view::npos) {
    fail<UserError>(
        fmt::format("--revision: \"{}\" is none", printable(revision)),
        "",
        "Name a branch, a tag or a commit");
  }
}

fs::path folder_of(const HubSettings& hub, std::string_view name) {
  std::string folder = fmt::format("models--{}", name);
  if (const std::size_t slash = folder.find('/'); slash != folder.npos) {
    folder.replace(slash, 1, "--");
  }
  return hub.cache / folder;
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    fail<UserError>(
        "Can't make " + folder.string(),
        error.message(),
        "Check the cache's folder, or set HF_HUB_CACHE to another");
  }
}

/// Links snapshots/COMMIT/FILE to the blob, by a relative path as the other
/// tools do.
void link_file(
    const fs::path& model,
    const fs::path& link,
    const std::string& etag) {
  make_folder(link.parent_path());
  const fs::path blob = model / "blobs" / etag;
  const fs::path target = fs::relative(blob, link.parent_path());
  const fs::path temporary = link.string() + fmt::format(".{}.tmp", ::getpid());
  std::error_code error;
  fs::remove(temporary, error);
  fs::create_symlink(target, temporary, error);
  if (error) {  // a file system without links
    fs::copy_file(blob, temporary, error);
  }
  if (!error) {
    fs::rename(temporary, link, error);
  }
  if (error) {
    fail<UserError>(
        "Can't write " + link.string(),
        error.message(),
        "Check the cache's folder");
  }
}

class Pull {
 public:
  Pull(
      const HubSettings& hub,
      std::string_view name,
      const PullOptions& options)
      : hub_(hub),
        name_(name),
        options_(options),
        model_(folder_of(hub, name)) {
    hub_.while_waiting = [this] { tell(0, current_); };
  }
  Pull(const Pull&) = delete;
  Pull& operator=(const Pull&) = delete;

  PulledModel run() {
    const HubListing listing = list_hub_model(hub_, name_, options_.revision);
    const auto files = choose_hub_files(
        name_,
        listing.files,
        options_.include,
        options_.gguf_quant);
    out_.commit = listing.commit;
    out_.folder = model_ / "snapshots" / listing.commit;
    out_.files = files.size();
    make_folder(model_ / "blobs");
    plan(files);
    for (const auto& [file, about] : wanted_) {
      current_ = file;
      out_.fetched_bytes += fetch_hub_blob(
          hub_,
          about,
          model_ / "blobs",
          [&, name = file](std::uint64_t bytes) { tell(bytes, name); });
      link_file(model_, out_.folder / file, about.etag);
    }
    write_ref();
    return out_;
  }

 private:
  /// Which files are missing, and how large all are.
  void plan(const std::vector<std::string>& files) {
    for (const std::string& file : files) {
      std::error_code error;
      const auto here = fs::file_size(out_.folder / file, error);
      if (!error) {
        out_.bytes += here;  // a commit's files never change
        continue;
      }
      const std::string url = hub_file_url(hub_, name_, out_.commit, file);
      wanted_.emplace_back(
          file,
          ask_hub_file(hub_, fmt::format("{}/{}", name_, file), url));
      out_.bytes += wanted_.back().second.bytes;
      missing_bytes_ += wanted_.back().second.bytes;
    }
    std::error_code error;
    const fs::space_info space = fs::space(model_, error);
    if (!error && space.available < missing_bytes_) {
      fail<UserError>(
          fmt::format("There is no room for {}", name_),
          fmt::format(
              "{} MB are to come, and {} has {} MB left",
              missing_bytes_ / 1'000'000,
              hub_.cache.string(),
              space.available / 1'000'000),
          "Free some space, or set HF_HUB_CACHE to a folder on another disk");
    }
  }

  void tell(std::uint64_t bytes, const std::string& file) {
    arrived_bytes_ += bytes;
    if (options_.progress) {
      options_.progress(
          missing_bytes_ == 0 ? 0
                              : std::min(
                                    1.0,
                                    static_cast<double>(arrived_bytes_) /
                                        static_cast<double>(missing_bytes_)),
          file);
    }
  }

  /// Last, so that the name means a whole snapshot.
  void write_ref() const {
    if (options_.revision == out_.commit) {
      return;
    }
    const fs::path ref = model_ / "refs" / options_.revision;
    make_folder(ref.parent_path());
    write_file_atomically(ref, std::as_bytes(std::span(out_.commit)));
  }

  HubSettings hub_;
  std::string name_;
  const PullOptions& options_;
  fs::path model_;
  PulledModel out_;
  std::vector<std::pair<std::string, HubFile>> wanted_;
  std::string current_;  ///< the file that comes
  std::uint64_t missing_bytes_ = 0;
  std::uint64_t arrived_bytes_ = 0;
};

/// What an earlier download left of the files that are asked for. Throws
/// UserError where there is nothing.
PulledModel in_cache(
    const HubSettings& hub,
    std::string_view name,
    const PullOptions& options) {
  const std::string& revision = options.revision;
  const fs::path model = folder_of(hub, name);
  PulledModel out;
  std::getline(std::ifstream(model / "refs" / revision), out.commit);
  out.commit = out.commit.empty() ? revision : out.commit;
  out.folder = model / "snapshots" / out.commit;
  std::vector<std::string> files;
  std::error_code error;
  for (fs::recursive_directory_iterator file(out.folder, error), end;
       !error && file != end;
       file.increment(error)) {
    // A link whose file is gone is as good as none.
    std::error_code gone;
    if (fs::is_regular_file(file->path(), gone)) {
      files.push_back(file->path().lexically_relative(out.folder).string());
    }
  }
  if (files.empty()) {
    fail<UserError>(
        fmt::format("Can't pull {}", name),
        fmt::format(
            "HF_HUB_OFFLINE is set, and {} has no {} of it",
            hub.cache.string(),
            revision),
        "Unset it to use the network");
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file :
       choose_hub_files(name, files, options.include, options.gguf_quant)) {
    std::error_code gone;
    const auto bytes = fs::file_size(out.folder / file, gone);
    ++out.files;
    out.bytes += gone ? 0 : bytes;
  }
  return out;
}

}  // namespace

PulledModel pull_model(
    const HubSettings& hub,
    std::string_view name,
    const PullOptions& options) {
  check_name(name);
  check_revision(options.revision);
  if (hub.offline) {
    return in_cache(hub, name, options);
  }
  return Pull(hub, name, options).run();
}

}  // namespace roofline
