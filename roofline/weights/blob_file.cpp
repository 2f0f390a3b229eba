#include "roofline/weights/blob_file.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "roofline/base/errors.h"
#include "roofline/base/paths.h"
#include "roofline/base/sha256.h"
#include "roofline/weights/checked.h"

namespace roofline {

namespace fs = std::filesystem;

namespace {

// The last digit is the layout's version.
constexpr std::string_view kMagic = "RLBLOBS1";
constexpr std::size_t kFixedBytes = 8 + 8 + 8 + 4 + 4;
constexpr std::size_t kEntryBytes = 8 + 8 + 4;
constexpr std::size_t kDigestBytes = 64;
// A packed model is as large as the model: more than a few would fill a disk.
constexpr std::size_t kMostCachedFiles = 8;

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

std::uint64_t align_up(std::uint64_t size) {
  const auto padded = checked_add(size, kBlobAlignment - 1);
  if (!padded) {
    fail<UserError>(
        "Can't hold the repacked weights",
        "They are larger than any memory",
        "Choose a smaller model");
  }
  return *padded / kBlobAlignment * kBlobAlignment;
}

/// Reads the header; every step answers whether the bytes were there.
class HeaderReader {
 public:
  explicit HeaderReader(std::string_view bytes) : bytes_(bytes) {}

  template <class T>
  bool number(T& value) {
    if (bytes_.size() < sizeof(T)) {
      return false;
    }
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_.remove_prefix(sizeof(T));
    return true;
  }
  bool text(std::uint64_t size, std::string_view& out) {
    if (size > bytes_.size()) {
      return false;
    }
    out = bytes_.substr(0, static_cast<std::size_t>(size));
    bytes_.remove_prefix(out.size());
    return true;
  }
  std::size_t remaining() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
};

/// Whether "NAME.PID.N.tmp" was left by a process that is gone.
bool is_orphan(const fs::path& file) {
  const std::string pid = file.stem().stem().extension().string();
  if (file.extension() != ".tmp" || pid.size() < 2) {
    return false;
  }
  const long number = std::strtol(pid.c_str() + 1, nullptr, 10);
  return number > 0 && ::kill(static_cast<pid_t>(number), 0) != 0 &&
         errno == ESRCH;
}

/// Removes the oldest cached files beyond the limit, and what processes left
/// that were killed while they named a file.
void prune(const fs::path& folder, const fs::path& keep) {
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto time = fs::last_write_time(entry.path(), error);
    if (is_orphan(entry.path())) {
      fs::remove(entry.path(), error);
    } else if (entry.path().extension() == ".blobs" && entry.path() != keep) {
      files.emplace_back(time, entry.path());
    }
  }
  std::sort(files.rbegin(), files.rend());
  for (std::size_t i = kMostCachedFiles - 1; i < files.size(); ++i) {
    fs::remove(files[i].second, error);
  }
}

#ifdef __linux__
/// Whether the page cache holds a sample of the pages, spread evenly.
bool is_resident(std::span<const std::byte> bytes) {
  constexpr std::size_t kSamples = 64;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t pages = bytes.size() / page;
  for (std::size_t i = 0; i < kSamples && pages > 0; ++i) {
    const std::byte* at = bytes.data() + i * pages / kSamples * page;
    unsigned char resident = 0;
    if (::mincore(const_cast<std::byte*>(at), 1, &resident) != 0 ||
        (resident & 1) == 0) {
      return false;
    }
  }
  return true;
}
#endif

/// Large pages where the file system has them: fewer misses of the page table's
/// cache while the weights stream by, and the mapping is made at once. Advice
/// only.
void ask_for_large_pages([[maybe_unused]] std::span<const std::byte> bytes) {
#ifdef MADV_HUGEPAGE
  auto* data = const_cast<std::byte*>(bytes.data());
  ::madvise(data, bytes.size(), MADV_HUGEPAGE);
#endif
}

/// Maps all pages but those of some blobs at once when they are in memory,
/// which costs less than taking the faults one by one; asks the disk for all
/// when they aren't.
void prefetch(
    [[maybe_unused]] std::span<const std::byte> bytes,
    [[maybe_unused]] std::vector<std::span<const std::byte>> left_out) {
#ifdef __linux__
  auto* data = const_cast<std::byte*>(bytes.data());
  if (is_resident(bytes)) {
    // Linux 5.14's MADV_POPULATE_READ; older kernels refuse it, harmlessly.
    constexpr int kPopulateRead = 22;
    std::sort(left_out.begin(), left_out.end(), [](auto a, auto b) {
      return a.data() < b.data();
    });
    std::size_t at = 0;
    const auto map_until = [&](std::size_t end) {
      if (end > at) {
        ::madvise(data + at, end - at, kPopulateRead);
      }
    };
    for (const auto& blob : left_out) {
      const auto begin = static_cast<std::size_t>(blob.data() - bytes.data());
      map_until(begin);
      at = (begin + blob.size() + kBlobAlignment - 1) / kBlobAlignment *
           kBlobAlignment;
    }
    map_until(bytes.size());
    return;
  }
  // Of a file that memory can't hold, the end would push out the start.
  const auto pages = static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES));
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  if (bytes.size() / page < pages / 2) {
    ::madvise(data, bytes.size(), MADV_WILLNEED);
  }
#endif
}

}  // namespace

BlobFileWriter::BlobFileWriter(
    const fs::path& path,
    std::string_view key,
    std::span<const BlobSize> blobs)
    : path_(path) {
  lay_out(key, blobs);
  if (!map_file()) {
    file_ = AtomicFile();
    map_memory();
  }
}

BlobFileWriter::BlobFileWriter(std::span<const BlobSize> blobs) {
  lay_out("", blobs);
  note_ = "The cache is switched off";
  map_memory();
}

BlobFileWriter::~BlobFileWriter() {
  if (data_ != nullptr) {
    ::munmap(data_, size_);
  }
}

void BlobFileWriter::lay_out(
    std::string_view key,
    std::span<const BlobSize> blobs) {
  std::uint64_t header_bytes = kFixedBytes + key.size() + kDigestBytes;
  for (const BlobSize& blob : blobs) {
    header_bytes += kEntryBytes + blob.name.size();
  }
  std::string entries;
  std::uint64_t at = align_up(header_bytes);
  for (const BlobSize& blob : blobs) {
    if (!places_.emplace(blob.name, std::pair(at, blob.bytes)).second) {
      fail<BugError>(
          "BlobFileWriter: two blobs have the name " + blob.name,
          "",
          "");
    }
    append(entries, at);
    append(entries, blob.bytes);
    append(entries, static_cast<std::uint32_t>(blob.name.size()));
    entries += blob.name;
    const auto end = checked_add(at, blob.bytes);
    at = align_up(end.value_or(UINT64_MAX));
  }
  size_ = static_cast<std::size_t>(at);
  header_ = kMagic;
  append(header_, at);
  append(header_, header_bytes);
  append(header_, static_cast<std::uint32_t>(blobs.size()));
  append(header_, static_cast<std::uint32_t>(key.size()));
  header_ += key;
  header_ += entries;
  header_ += sha256_hex(header_);
}

bool BlobFileWriter::map_file() {
  file_ = AtomicFile(path_);
  if (!file_.is_open()) {
    note_ = "The repacked weights can't be cached: " + file_.error();
    return false;
  }
  if (const int error = reserve_disk(file_.fd(), size_)) {
    note_ = fmt::format(
        "The repacked weights ({} MB) can't be cached in {}: {}",
        size_ / 1'000'000,
        path_.parent_path().string(),
        std::strerror(error));
    return false;
  }
  void* data =
      ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file_.fd(), 0);
  if (data == MAP_FAILED) {
    note_ = fmt::format(
        "The repacked weights can't be cached: {}",
        std::strerror(errno));
    return false;
  }
  data_ = static_cast<std::byte*>(data);
  ask_for_large_pages({data_, size_});
  return true;
}

void BlobFileWriter::map_memory() {
  void* data = ::mmap(
      nullptr,
      size_,
      PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS,
      -1,
      0);
  if (data == MAP_FAILED) {
    fail<UserError>(
        fmt::format("Can't hold {} MB of weights", size_ / 1'000'000),
        std::strerror(errno),
        "Free some memory or choose a smaller model");
  }
  data_ = static_cast<std::byte*>(data);
  ask_for_large_pages({data_, size_});
}

std::span<std::byte> BlobFileWriter::blob(std::string_view name) {
  const auto found = places_.find(name);
  if (found == places_.end()) {
    fail<BugError>(fmt::format("BlobFileWriter: no blob {}", name), "", "");
  }
  const auto [offset, bytes] = found->second;
  return {data_ + offset, static_cast<std::size_t>(bytes)};
}

bool BlobFileWriter::commit() {
  if (!file_.is_open()) {
    return false;
  }
  // The header comes last: until now the file could not be mistaken for one.
  std::memcpy(data_, header_.data(), header_.size());
  if (::msync(data_, size_, MS_SYNC) != 0 || !file_.publish()) {
    note_ = fmt::format(
        "The repacked weights weren't cached: {}",
        file_.error().empty() ? std::strerror(errno) : file_.error());
    return false;
  }
  // From now on these bytes are the cache: a stray write must not reach them.
  ::mprotect(data_, size_, PROT_READ);
  prune(path_.parent_path(), path_);
  return true;
}

std::optional<BlobFile> BlobFile::open(
    const fs::path& path,
    std::string_view key,
    std::span<const std::string_view> late) {
  BlobFile out;
  try {
    out.file_ = MappedFile(path);
  } catch (const Error&) {
    return std::nullopt;
  }
  out.bytes_ = out.file_.bytes();
  if (!out.read(key)) {
    return std::nullopt;
  }
  ask_for_large_pages(out.bytes_);
  std::vector<std::span<const std::byte>> left_out;
  for (const std::string_view name : late) {
    if (const auto blob = out.find(name)) {
      left_out.push_back(*blob);
    }
  }
  prefetch(out.bytes_, std::move(left_out));
  // What is used stays: prune() goes by the time of the last write.
  std::error_code error;
  fs::last_write_time(path, fs::file_time_type::clock::now(), error);
  return out;
}

std::optional<BlobFile> BlobFile::parse(
    std::span<const std::byte> bytes,
    std::string_view key) {
  BlobFile out;
  out.bytes_ = bytes;
  if (!out.read(key)) {
    return std::nullopt;
  }
  return out;
}

bool BlobFile::read(std::string_view key) {
  const std::string_view all(
      reinterpret_cast<const char*>(bytes_.data()),
      bytes_.size());
  HeaderReader header(all);
  std::string_view magic, stored_key;
  std::uint64_t file_bytes = 0, header_bytes = 0;
  std::uint32_t count = 0, key_bytes = 0;
  if (!header.text(kMagic.size(), magic) || magic != kMagic ||
      !header.number(file_bytes) || file_bytes != bytes_.size() ||
      !header.number(header_bytes) || header_bytes > bytes_.size() ||
      header_bytes < kFixedBytes + kDigestBytes) {
    return false;
  }
  const std::size_t digest_at =
      static_cast<std::size_t>(header_bytes) - kDigestBytes;
  const std::string_view signed_part = all.substr(0, digest_at);
  header = HeaderReader(signed_part.substr(kMagic.size() + 16));
  if (sha256_hex(signed_part) != all.substr(digest_at, kDigestBytes) ||
      !header.number(count) || !header.number(key_bytes) ||
      !header.text(key_bytes, stored_key) || stored_key != key ||
      count > header.remaining() / kEntryBytes) {
    return false;
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    std::uint64_t offset = 0, bytes = 0;
    std::uint32_t name_bytes = 0;
    std::string_view name;
    if (!header.number(offset) || !header.number(bytes) ||
        !header.number(name_bytes) || !header.text(name_bytes, name) ||
        offset % kBlobAlignment != 0 || offset < header_bytes ||
        offset > bytes_.size() || bytes > bytes_.size() - offset) {
      return false;
    }
    blobs_.emplace(
        name,
        bytes_.subspan(
            static_cast<std::size_t>(offset),
            static_cast<std::size_t>(bytes)));
  }
  return true;
}

std::optional<std::span<const std::byte>> BlobFile::find(
    std::string_view name) const {
  const auto found = blobs_.find(name);
  if (found == blobs_.end()) {
    return std::nullopt;
  }
  return found->second;
}

fs::path packed_cache_path(std::string_view key) {
  return cache_dir() / "packed" / (sha256_hex(key).substr(0, 32) + ".blobs");
}

}  // namespace roofline
