#include "roofline/model/logits.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>
#include <nlohmann/json.hpp>

#include "roofline/base/atomic_file.h"
#include "roofline/base/errors.h"
#include "roofline/model/session.h"

namespace roofline {

namespace {

/// A chunk's logits take at most this many values (64 MiB), but a chunk is at
/// least kLeastChunk tokens, below which the weights' traffic dominates.
constexpr std::int64_t kChunkValues = std::int64_t{1} << 24;
constexpr std::int64_t kLeastChunk = 16;
constexpr std::int64_t kMostChunk = 512;

[[noreturn]] void bad_ids(
    const std::filesystem::path& path,
    const std::string& why) {
  fail<UserError>(
      fmt::format("{} doesn't hold token ids", path.string()),
      why,
      "Give a list of lists of ids of one length, such as [[1, 2], [3, 4]].");
}

nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    fail<UserError>(
        fmt::format("Can't read {}", path.string()),
        std::strerror(errno),
        "Give a JSON file with a list of lists of ids.");
  }
  try {
    return nlohmann::json::parse(file);
  } catch (const nlohmann::json::exception& error) {
    bad_ids(path, fmt::format("It isn't JSON: {}", error.what()));
  }
}

TokenIds to_ids(const nlohmann::json& list, const std::filesystem::path& path) {
  TokenIds ids;
  for (const auto& id : list) {
    const bool fits =
        id.is_number_integer() &&
        (!id.is_number_unsigned() ||
         id.get<std::uint64_t>() <= std::numeric_limits<std::int32_t>::max()) &&
        id.get<std::int64_t>() >= 0 &&
        id.get<std::int64_t>() <= std::numeric_limits<std::int32_t>::max();
    if (!fits) {
      bad_ids(
          path,
          fmt::format(
              "An entry is {}, not a token id",
              id.is_number() ? id.dump() : id.type_name()));
    }
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

void check_vocabulary(
    const std::vector<TokenIds>& batch,
    const ModelSpec& spec) {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    for (const auto id : batch[i]) {
      if (id < 0 || id >= spec.vocab) {
        fail<UserError>(
            fmt::format("List {} holds the token id {}", i + 1, id),
            fmt::format("The vocabulary has {} tokens", spec.vocab),
            fmt::format("Give ids from 0 to {}.", spec.vocab - 1));
      }
    }
  }
}

/// Writes bytes to an AtomicFile, whatever a single write() takes.
class Writer {
 public:
  explicit Writer(const std::filesystem::path& path) : path_(path) {
    const auto type = std::filesystem::status(path).type();
    if (type != std::filesystem::file_type::regular &&
        type != std::filesystem::file_type::not_found) {
      refuse("There is something that isn't a regular file");
    }
    file_ = AtomicFile(path);
    if (!file_.is_open()) {
      refuse(file_.error());
    }
  }
  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto written = ::write(file_.fd(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) {
        continue;
      }
      if (written <= 0) {
        refuse(std::strerror(errno));
      }
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }
  void publish() {
    if (!file_.publish()) {
      refuse(file_.error());
    }
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    fail<UserError>(
        fmt::format("Can't write {}", path_.string()),
        why,
        "Give a path in a folder that can be written and has room.");
  }

  std::filesystem::path path_;
  AtomicFile file_;
};

/// The length of the header, then the header, padded to 8 bytes.
std::string safetensors_header(
    std::size_t batch,
    std::size_t tokens,
    int vocab) {
  const auto bytes = batch * tokens * static_cast<std::size_t>(vocab) * 4;
  nlohmann::json header;
  header["logits"] = {
      {"dtype", "F32"},
      {"shape", {batch, tokens, static_cast<std::size_t>(vocab)}},
      {"data_offsets", {std::size_t{0}, bytes}}};
  auto text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  auto length = static_cast<std::uint64_t>(text.size());
  std::string prefix(8, '\0');
  for (auto& each : prefix) {
    each = static_cast<char>(length & 0xff);
    length >>= 8;
  }
  return prefix + text;
}

}  // namespace

std::vector<TokenIds> read_token_ids(const std::filesystem::path& path) {
  const auto json = read_json(path);
  if (!json.is_array() || json.empty()) {
    bad_ids(path, "It isn't a list of lists");
  }
  std::vector<TokenIds> batch;
  for (const auto& list : json) {
    if (!list.is_array() || list.empty()) {
      bad_ids(
          path,
          fmt::format("Entry {} isn't a list of ids", batch.size() + 1));
    }
    batch.push_back(to_ids(list, path));
    if (batch.back().size() != batch[0].size()) {
      bad_ids(
          path,
          fmt::format(
              "List {} has {} ids and the first one {}",
              batch.size(),
              batch.back().size(),
              batch[0].size()));
    }
  }
  return batch;
}

void for_each_logits(
    Decoder& decoder,
    std::span<const std::int32_t> ids,
    int chunk,
    const std::function<void(std::int64_t first, std::span<const float> rows)>&
        take) {
  KvOptions options;
  options.max_chunk = chunk;
  const auto cache = decoder.make_cache(options);
  const auto total = ids.size();
  for (std::size_t first = 0; first < total;) {
    const auto count = std::min<std::size_t>(chunk, total - first);
    const Slice slice{cache.get(), ids.subspan(first, count), LogitRows::all};
    const auto logits = mx::contiguous(
        decoder.forward({&slice, 1}, static_cast<std::int64_t>(total)));
    mx::eval(logits);
    take(
        static_cast<std::int64_t>(first),
        std::span<const float>(logits.data<float>(), logits.size()));
    first += count;
  }
}

mx::array run_logits(
    Decoder& decoder,
    std::span<const std::int32_t> ids,
    int chunk) {
  const auto vocab = decoder.spec().vocab;
  std::vector<float> all(ids.size() * vocab);
  for_each_logits(
      decoder,
      ids,
      chunk,
      [&](std::int64_t first, std::span<const float> rows) {
        std::copy(rows.begin(), rows.end(), all.begin() + first * vocab);
      });
  return mx::array(all.data(), {static_cast<int>(ids.size()), vocab});
}

void write_logits(
    Decoder& decoder,
    const std::vector<TokenIds>& batch,
    const std::filesystem::path& path) {
  static_assert(std::endian::native == std::endian::little);
  const auto& spec = decoder.spec();
  check_vocabulary(batch, spec);
  Writer writer(path);
  const auto tokens = batch.empty() ? 0 : batch[0].size();
  const auto header = safetensors_header(batch.size(), tokens, spec.vocab);
  writer.write(std::as_bytes(std::span(header)));
  const auto chunk =
      std::clamp(kChunkValues / spec.vocab, kLeastChunk, kMostChunk);
  for (const auto& ids : batch) {
    for_each_logits(
        decoder,
        ids,
        static_cast<int>(chunk),
        [&](std::int64_t, std::span<const float> rows) {
          writer.write(std::as_bytes(rows));
        });
  }
  writer.publish();
}

}  // namespace roofline
