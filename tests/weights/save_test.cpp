#include "roofline/weights/save.h"

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <numeric>

#include "roofline/base/errors.h"
#include "roofline/weights/json_file.h"
#include "roofline/weights/safetensors.h"
#include "roofline/weights/save_arrays.h"
#include "roofline/weights/shards.h"
#include "weights/temp_folder.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;
namespace mx = mlx::core;
using namespace roofline::testing;

/// Files of this process can't grow past so many bytes, as on a full disk.
class ScopedFileLimit {
 public:
  explicit ScopedFileLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    handler_ = ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit = old_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~ScopedFileLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    ::signal(SIGXFSZ, handler_);
  }
  ScopedFileLimit(const ScopedFileLimit&) = delete;
  ScopedFileLimit& operator=(const ScopedFileLimit&) = delete;

 private:
  rlimit old_{};
  void (*handler_)(int) = nullptr;
};

std::string counted(std::size_t bytes) {
  std::string out(bytes, '\0');
  std::iota(out.begin(), out.end(), '\1');
  return out;
}

void write_small(CheckpointWriter& writer) {
  writer.plan({{"a", "U8", {4}}});
  writer.put("a", as_bytes("abcd"));
  writer.write_text("config.json", "{}");
}

TEST(Save, TensorsComeBackByteForByte) {
  const TempFolder temp;
  CheckpointWriter writer(temp.path() / "out");
  writer.plan({{"b", "BF16", {3, 5}}, {"a", "U32", {2}}, {"none", "F32", {0}}});
  writer.put("a", as_bytes(counted(8)));
  const std::string b = counted(30);
  writer.put("b", as_bytes(b).subspan(10), 10);
  writer.put("b", as_bytes(b).first(10));
  writer.publish();
  const SafetensorsFile file(temp.path() / "out" / "model.safetensors");
  ASSERT_EQ(file.entries().size(), 3u);
  EXPECT_EQ(file.find("b")->dtype, "BF16");
  EXPECT_EQ(file.find("b")->shape, (std::vector<std::int64_t>{3, 5}));
  EXPECT_EQ(std::memcmp(file.find("b")->bytes.data(), b.data(), b.size()), 0);
  EXPECT_EQ(file.find("a")->bytes.size(), 8u);
  EXPECT_EQ(file.find("none")->bytes.size(), 0u);
}

TEST(Save, ShardsAreFilledInOrderAndListedInTheIndex) {
  const TempFolder temp;
  CheckpointWriter writer(temp.path() / "out", {.shard_bytes = 10});
  writer.plan(
      {{"a", "U8", {6}},
       {"b", "U8", {4}},
       {"c", "U8", {1}},
       {"large", "U8", {50}},
       {"d", "U8", {9}}});
  EXPECT_EQ(writer.shards(), 4u);
  for (const auto& [name, size] :
       std::initializer_list<std::pair<const char*, std::size_t>>{
           {"d", 9},
           {"large", 50},
           {"c", 1},
           {"b", 4},
           {"a", 6}}) {
    writer.put(name, as_bytes(counted(size)));
  }
  writer.publish();
  const fs::path out = temp.path() / "out";
  const auto index = read_json_file(out / "model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], 70);
  EXPECT_EQ(index["weight_map"]["b"], "model-00001-of-00004.safetensors");
  EXPECT_EQ(index["weight_map"]["c"], "model-00002-of-00004.safetensors");
  EXPECT_EQ(index["weight_map"]["large"], "model-00003-of-00004.safetensors");
  EXPECT_EQ(Shards(out).entries().size(), 5u);
}

TEST(Save, AFolderThatIsThereIsReplacedOnlyWhenAskedFor) {
  const TempFolder temp;
  temp.write("out/config.json", "old");
  const fs::path out = temp.path() / "out";
  expect_error<UserError>(
      [&] { CheckpointWriter writer(out); },
      {out.string(), "exists already", "--force"});
  EXPECT_EQ(read_file(out / "config.json"), "old");
  CheckpointWriter writer(out, {.force = true});
  write_small(writer);
  EXPECT_EQ(read_file(out / "config.json"), "old");
  writer.publish();
  EXPECT_EQ(read_file(out / "config.json"), "{}");
}

TEST(Save, WhatIsNoModelIsNeverReplaced) {
  const TempFolder temp;
  temp.write("photos/cat.png", "meow");
  expect_error<UserError>(
      [&] { CheckpointWriter writer(temp.path() / "photos", {.force = true}); },
      {"isn't replaced", "no config.json"});
  EXPECT_EQ(read_file(temp.path() / "photos" / "cat.png"), "meow");
  fs::create_directory(temp.path() / "empty");
  CheckpointWriter writer(temp.path() / "empty");
  write_small(writer);
  writer.publish();
  EXPECT_TRUE(fs::exists(temp.path() / "empty" / "model.safetensors"));
}

TEST(Save, AFullDiskIsToldAndLosesNothing) {
  const TempFolder temp;
  temp.write("out/config.json", "old");
  {
    const ScopedFileLimit limit(1000);
    expect_error<UserError>(
        [&] {
          CheckpointWriter writer(temp.path() / "out", {.force = true});
          writer.plan({{"a", "F32", {1000}}});
        },
        {"Can't write", "disk is full", "Nothing that was there before"});
  }
  EXPECT_EQ(read_file(temp.path() / "out" / "config.json"), "old");
  EXPECT_EQ(
      std::distance(
          fs::directory_iterator(temp.path()),
          fs::directory_iterator()),
      1);
}

TEST(Save, AMissingTensorIsAFaultAndNothingAppears) {
  const TempFolder temp;
  {
    CheckpointWriter writer(temp.path() / "out");
    writer.plan({{"a", "U8", {4}}, {"b", "U8", {4}}});
    writer.put("a", as_bytes("abcd"));
    writer.put("b", as_bytes("ab"));
    expect_error<BugError>([&] { writer.publish(); }, {"b isn't complete"});
    expect_error<BugError>(
        [&] { writer.put("a", as_bytes("abcd")); },
        {"a has 4 bytes"});
    expect_error<BugError>(
        [&] { writer.put("c", as_bytes("abcd")); },
        {"c isn't planned"});
  }
  EXPECT_FALSE(fs::exists(temp.path() / "out"));
}

TEST(Save, ArraysAreWrittenInRowOrderWithTheirDtypes) {
  const TempFolder temp;
  const mx::array a = mx::reshape(mx::arange(6, mx::float32), {2, 3});
  const fs::path path = temp.path() / "adapters.safetensors";
  save_arrays(
      path,
      {{"turned", mx::transpose(a)},
       {"half", mx::astype(a, mx::bfloat16)},
       {"codes", mx::astype(a, mx::uint32)}});
  const SafetensorsFile file(path);
  const SafetensorsEntry* turned = file.find("turned");
  EXPECT_EQ(turned->shape, (std::vector<std::int64_t>{3, 2}));
  std::vector<float> values(6);
  std::memcpy(values.data(), turned->bytes.data(), 24);
  EXPECT_EQ(values, (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(file.find("half")->dtype, "BF16");
  EXPECT_EQ(file.find("codes")->dtype, "U32");
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_NE(status.st_mode & 0400, 0u);
}

}  // namespace
}  // namespace roofline
