#include "roofline/weights/hub/hub_blob.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/base/sha1.h"
#include "roofline/base/sha256.h"
#include "roofline/weights/hub/http.h"
#include "roofline/weights/hub/hub_listing.h"
#include "roofline/weights/printable.h"
#include "roofline/weights/safetensors_writer.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

/// Tries after a wrong checksum: a second wrong one is no accident.
constexpr int kChecksumTries = 2;

std::string without_quotes(std::string etag) {
  if (etag.starts_with("W/")) {
    etag.erase(0, 2);
  }
  std::erase(etag, '"');
  return etag;
}

bool is_hex(std::string_view text, std::size_t size) {
  return text.size() == size &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isxdigit(c) != 0;
         });
}

std::uint64_t number_in(const std::string& text) {
  return std::strtoull(text.c_str(), nullptr, 10);
}

/// The digest that an etag is; nothing to check for other etags.
class Digest {
 public:
  Digest(const std::string& etag, std::uint64_t bytes) : etag_(etag) {
    if (is_hex(etag, 64)) {
      sha256_.emplace();
    } else if (is_hex(etag, 40)) {
      sha1_.emplace();
      sha1_->update(fmt::format("blob {}", bytes));
      sha1_->update(std::string_view("\0", 1));
    }
  }
  void update(std::string_view bytes) {
    if (sha256_) {
      sha256_->update(bytes);
    } else if (sha1_) {
      sha1_->update(bytes);
    }
  }
  bool right() {
    return sha256_ ? sha256_->hex() == etag_ : !sha1_ || sha1_->hex() == etag_;
  }

 private:
  std::string etag_;
  std::optional<Sha256> sha256_;
  std::optional<Sha1> sha1_;
};

/// Keeps other processes from the same blob, by the file that the Hugging Face
/// tools lock too. A file system without locks has none for them either.
class BlobLock {
 public:
  BlobLock(
      const HubSettings& hub,
      const fs::path& blobs,
      const std::string& etag) {
    const fs::path folder =
        hub.cache / ".locks" / blobs.parent_path().filename();
    std::error_code error;
    fs::create_directories(folder, error);
    const fs::path path = folder / (etag + ".lock");
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) {
      fail<UserError>(
          "Can't write " + path.string(),
          std::strerror(errno),
          "Check the cache's folder, or set HF_HUB_CACHE to another");
    }
    while (::flock(fd_, LOCK_EX | LOCK_NB) != 0 &&
           (errno == EWOULDBLOCK || errno == EINTR)) {
      if (hub.while_waiting) {
        hub.while_waiting();
      }
      std::this_thread::sleep_for(kGlance);
    }
  }
  ~BlobLock() { ::close(fd_); }
  BlobLock(const BlobLock&) = delete;
  BlobLock& operator=(const BlobLock&) = delete;

 private:
  static constexpr std::chrono::milliseconds kGlance{50};
  int fd_ = -1;
};

/// The file that grows.
class IncompleteFile {
 public:
  IncompleteFile(const fs::path& path, const HubFile& file)
      : path_(path),
        file_(file),
        fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)),
        digest_(file.etag, file.bytes) {
    if (fd_ < 0) {
      fail<UserError>(
          "Can't write " + path.string(),
          std::strerror(errno),
          "Check the cache's folder, or set HF_HUB_CACHE to another");
    }
    read_what_is_there();
  }
  ~IncompleteFile() { ::close(fd_); }
  IncompleteFile(const IncompleteFile&) = delete;
  IncompleteFile& operator=(const IncompleteFile&) = delete;

  std::uint64_t bytes() const { return bytes_; }

  void append(std::string_view piece) {
    write_at(
        fd_,
        bytes_,
        std::as_bytes(std::span(piece.data(), piece.size())),
        fmt::format("{} into the cache", file_.name));
    digest_.update(piece);
    bytes_ += piece.size();
  }

  void restart() {
    if (::ftruncate(fd_, 0) != 0) {
      fail<UserError>(
          "Can't write " + path_.string(),
          std::strerror(errno),
          "Check the cache's folder");
    }
    bytes_ = 0;
    digest_ = Digest(file_.etag, file_.bytes);
  }

  bool right() { return digest_.right(); }

  void publish(const fs::path& target) {
    sync_or_fail(fd_, target.string());
    if (::rename(path_.c_str(), target.c_str()) != 0) {
      fail<UserError>(
          "Can't write " + target.string(),
          std::strerror(errno),
          "Check the cache's folder");
    }
  }

 private:
  void read_what_is_there() {
    std::vector<char> buffer(std::size_t{1} << 20);
    ssize_t count = 0;
    while ((count = ::pread(
                fd_,
                buffer.data(),
                buffer.size(),
                static_cast<off_t>(bytes_))) > 0) {
      digest_.update({buffer.data(), static_cast<std::size_t>(count)});
      bytes_ += static_cast<std::uint64_t>(count);
    }
    if (bytes_ > file_.bytes) {
      restart();
    }
  }

  fs::path path_;
  const HubFile& file_;
  int fd_ = -1;
  Digest digest_;
  std::uint64_t bytes_ = 0;
};

/// One connection's worth of the file.
HttpResponse fetch_once(
    const HubSettings& hub,
    const HubFile& file,
    IncompleteFile& out,
    const std::function<void(std::uint64_t)>& arrived) {
  const std::uint64_t from = out.bytes();
  return http_get(
      {file.url, hub.token, from, false, hub.while_waiting},
      [&, from](const HttpResponse& response) -> HttpSink {
        if (response.status != 200 && response.status != 206) {
          return [](std::string_view) { return true; };  // an error's text
        }
        const std::string range = fmt::format("bytes {}-", from);
        const bool goes_on =
            response.status == 206 &&
            response.header("content-range").starts_with(range);
        if (from > 0 && !goes_on) {
          out.restart();  // the hub sends all of it again
        }
        return [&](std::string_view piece) {
          if (out.bytes() + piece.size() > file.bytes) {
            return false;
          }
          out.append(piece);
          arrived(piece.size());
          return true;
        };
      });
}

/// Tries until all bytes are there.
void fetch_all(
    const HubSettings& hub,
    const HubFile& file,
    IncompleteFile& out,
    const std::function<void(std::uint64_t)>& arrived) {
  int retry = 0;
  while (out.bytes() < file.bytes) {
    const std::uint64_t before = out.bytes();
    const HttpResponse response = fetch_once(hub, file, out, arrived);
    if (out.bytes() == file.bytes) {
      return;
    }
    const bool cut = response.status == 200 || response.status == 206;
    if (response.status == 416) {
      out.restart();
    } else if (!cut && !is_worth_a_retry(response)) {
      fail_response(hub, response, file.name);
    }
    // A connection that gave something counts as a fresh start.
    retry = out.bytes() > before ? 1 : retry + 1;
    if (!wait_before_retry(hub, retry)) {
      HttpResponse broken = response;
      if (broken.error.empty() && cut) {
        broken.error = fmt::format(
            "it ended after {} of {} bytes",
            out.bytes(),
            file.bytes);
      }
      fail_response(hub, broken, file.name);
    }
  }
}

}  // namespace

HubFile ask_hub_file(
    const HubSettings& hub,
    const std::string& name,
    const std::string& url) {
  const HttpRequest request{url, hub.token, 0, true, hub.while_waiting};
  const auto ask = [&] {
    return http_get(request, [](const HttpResponse&) {
      return [](std::string_view) { return true; };
    });
  };
  HttpResponse response = ask();
  for (int retry = 1;
       is_worth_a_retry(response) && wait_before_retry(hub, retry);
       ++retry) {
    response = ask();
  }
  if (!response.complete() || response.status >= 400) {
    fail_response(hub, response, name);
  }
  HubFile out{name, url, "", 0};
  const std::string linked = response.header("x-linked-etag");
  out.etag = without_quotes(linked.empty() ? response.header("etag") : linked);
  const std::string size = response.header("x-linked-size");
  out.bytes =
      number_in(size.empty() ? response.header("content-length") : size);
  const bool sound =
      !out.etag.empty() &&
      std::all_of(out.etag.begin(), out.etag.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '_';
      });
  if (!sound) {
    fail<CheckpointError>(
        fmt::format("Can't get {}", name),
        fmt::format(
            "{} names its content \"{}\"",
            hub.endpoint,
            printable(out.etag)),
        "Check HF_ENDPOINT, or try again later");
  }
  return out;
}

std::uint64_t fetch_hub_blob(
    const HubSettings& hub,
    const HubFile& file,
    const fs::path& blobs,
    const std::function<void(std::uint64_t)>& arrived) {
  const fs::path blob = blobs / file.etag;
  const BlobLock lock(hub, blobs, file.etag);
  std::error_code error;
  if (fs::exists(blob, error)) {
    arrived(file.bytes);
    return 0;
  }
  for (int i = 0; i < kChecksumTries; ++i) {
    IncompleteFile out(blobs / (file.etag + ".incomplete"), file);
    const std::uint64_t before = out.bytes();
    arrived(before);
    fetch_all(hub, file, out, arrived);
    if (out.right()) {
      out.publish(blob);
      return file.bytes - before;
    }
    out.restart();
  }
  fail<CheckpointError>(
      fmt::format("{} arrived wrong", file.name),
      fmt::format(
          "Its checksum isn't the {} that {} lists, twice",
          file.etag.substr(0, 12),
          hub.endpoint),
      "Try again later; if it stays so, the hub or a cache on the way is "
      "broken");
}

}  // namespace roofline
