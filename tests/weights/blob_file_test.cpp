#include "roofline/weights/blob_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

#include "roofline/base/errors.h"
#include "roofline/base/sha256.h"
#include "weights/temp_folder.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;
using namespace roofline::testing;

const std::vector<BlobSize> kBlobs = {{"a", 10000}, {"b", 3}, {"empty", 0}};

void fill(BlobFileWriter& writer) {
  std::memset(writer.blob("a").data(), 'a', 10000);
  std::memset(writer.blob("b").data(), 'b', 3);
}

/// A committed file's bytes.
std::string sample(const fs::path& path) {
  BlobFileWriter writer(path, "key", kBlobs);
  fill(writer);
  EXPECT_TRUE(writer.commit()) << writer.note();
  return read_file(path);
}

TEST(BlobFile, WhatWasWrittenIsReadBack) {
  TempFolder folder;
  const fs::path path = folder.path() / "x.blobs";
  sample(path);
  const auto file = BlobFile::open(path, "key");
  ASSERT_TRUE(file);
  const auto a = file->find("a");
  ASSERT_TRUE(a);
  EXPECT_EQ(a->size(), 10000u);
  EXPECT_TRUE(std::all_of(a->begin(), a->end(), [](std::byte b) {
    return b == std::byte{'a'};
  }));
  EXPECT_EQ(file->find("b")->size(), 3u);
  EXPECT_EQ(file->find("b")->back(), std::byte{'b'});
  EXPECT_EQ(file->find("empty")->size(), 0u);
  EXPECT_FALSE(file->find("c"));
}

TEST(BlobFile, BlobsThatAreMappedLateAreReadAlike) {
  TempFolder folder;
  const fs::path path = folder.path() / "x.blobs";
  sample(path);
  const std::vector<std::vector<std::string_view>> late = {
      {"a"},
      {"b"},
      {"b", "a"},
      {"empty", "c"}};
  for (const auto& names : late) {
    const auto file = BlobFile::open(path, "key", names);
    ASSERT_TRUE(file);
    const auto a = file->find("a");
    EXPECT_TRUE(std::all_of(a->begin(), a->end(), [](std::byte b) {
      return b == std::byte{'a'};
    }));
    EXPECT_EQ(file->find("b")->back(), std::byte{'b'});
  }
}

TEST(BlobFile, BlobsBeginAtPages) {
  TempFolder folder;
  const fs::path path = folder.path() / "x.blobs";
  sample(path);
  const auto file = BlobFile::open(path, "key");
  ASSERT_TRUE(file);
  for (const char* name : {"a", "b"}) {
    const auto address =
        reinterpret_cast<std::uintptr_t>(file->find(name)->data());
    EXPECT_EQ(address % kBlobAlignment, 0u) << name;
  }
}

TEST(BlobFile, NothingIsThereBeforeCommit) {
  TempFolder folder;
  const fs::path path = folder.path() / "x.blobs";
  {
    BlobFileWriter writer(path, "key", kBlobs);
    fill(writer);
    EXPECT_FALSE(fs::exists(path));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(BlobFile, TheWritersBytesStayAfterCommit) {
  TempFolder folder;
  BlobFileWriter writer(folder.path() / "x.blobs", "key", kBlobs);
  fill(writer);
  const auto a = writer.blob("a");
  ASSERT_TRUE(writer.commit());
  EXPECT_EQ(a[9999], std::byte{'a'});
}

TEST(BlobFile, AnotherKeyDoesNotFit) {
  TempFolder folder;
  const fs::path path = folder.path() / "x.blobs";
  sample(path);
  EXPECT_TRUE(BlobFile::open(path, "key"));
  EXPECT_FALSE(BlobFile::open(path, "kez"));
  EXPECT_FALSE(BlobFile::open(path, ""));
  EXPECT_FALSE(BlobFile::open(folder.path() / "y.blobs", "key"));
  EXPECT_FALSE(BlobFile::open(folder.path(), "key"));
}

TEST(BlobFile, ABrokenHeaderIsIgnored) {
  TempFolder folder;
  const std::string good = sample(folder.path() / "x.blobs");
  ASSERT_TRUE(BlobFile::parse(as_bytes(good), "key"));
  std::uint64_t header = 0;
  std::memcpy(&header, good.data() + 16, sizeof(header));
  ASSERT_LT(header, 400u);
  for (std::size_t i = 0; i < header; ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x41);
    EXPECT_FALSE(BlobFile::parse(as_bytes(bad), "key")) << i;
  }
  for (std::size_t size :
       {std::size_t{0},
        std::size_t{7},
        std::size_t{40},
        std::size_t{100},
        good.size() - 1}) {
    const std::string part = good.substr(0, size);
    EXPECT_FALSE(BlobFile::parse(as_bytes(part), "key")) << size;
  }
}

TEST(BlobFile, ASignedHeaderWithPlacesOutsideIsIgnored) {
  TempFolder folder;
  const std::string good = sample(folder.path() / "x.blobs");
  // Fixed part 32 bytes, key 3 bytes, then the first blob's offset and size.
  for (std::size_t at : {std::size_t{35}, std::size_t{43}}) {
    for (std::uint64_t value :
         {UINT64_MAX,
          std::uint64_t{1} << 40,
          UINT64_MAX - 4095,
          std::uint64_t{1} << 63}) {
      std::string bad = good;
      std::memcpy(bad.data() + at, &value, sizeof(value));
      std::uint64_t header = 0;
      std::memcpy(&header, bad.data() + 16, sizeof(header));
      bad.replace(header - 64, 64, sha256_hex(bad.substr(0, header - 64)));
      EXPECT_FALSE(BlobFile::parse(as_bytes(bad), "key")) << at << " " << value;
    }
  }
}

TEST(BlobFile, ABrokenFileIsReplaced) {
  TempFolder folder;
  const fs::path path = folder.write("x.blobs", "garbage");
  EXPECT_FALSE(BlobFile::open(path, "key"));
  sample(path);
  EXPECT_TRUE(BlobFile::open(path, "key"));
}

TEST(BlobFile, WithoutAFolderTheBlobsLiveInMemory) {
  TempFolder folder;
  const fs::path file = folder.write("file", "x");
  BlobFileWriter writer(file / "x.blobs", "key", kBlobs);
  EXPECT_NE(writer.note().find("can't be cached"), std::string::npos)
      << writer.note();
  fill(writer);
  EXPECT_EQ(writer.blob("a")[5000], std::byte{'a'});
  EXPECT_FALSE(writer.commit());
}

TEST(BlobFile, ADiskThatIsTooSmallIsNoCrash) {
  TempFolder folder;
  // More than any disk has, less than the address space.
  const std::vector<BlobSize> huge = {{"a", std::uint64_t{1} << 45}};
  try {
    BlobFileWriter writer(folder.path() / "x.blobs", "key", huge);
    EXPECT_FALSE(writer.note().empty());
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("MB"), std::string::npos);
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(BlobFile, InMemoryOnlyNeedsNoPath) {
  BlobFileWriter writer(kBlobs);
  fill(writer);
  EXPECT_EQ(writer.blob("b")[0], std::byte{'b'});
  EXPECT_FALSE(writer.commit());
}

TEST(BlobFile, NamesAreChecked) {
  const std::vector<BlobSize> twice = {{"a", 1}, {"a", 2}};
  EXPECT_THROW(BlobFileWriter writer(twice), BugError);
  BlobFileWriter writer(kBlobs);
  EXPECT_THROW(writer.blob("c"), BugError);
}

TEST(BlobFile, OnlyTheNewestFilesStay) {
  TempFolder folder;
  for (int i = 0; i < 12; ++i) {
    const fs::path old = folder.write("old" + std::to_string(i) + ".blobs", "");
    fs::last_write_time(
        old,
        fs::file_time_type::clock::now() - std::chrono::hours(100 - i));
  }
  folder.write("other.txt", "");
  folder.write("x.blobs.999999999.0.tmp", "");  // no process has this number
  sample(folder.path() / "x.blobs");
  EXPECT_TRUE(fs::exists(folder.path() / "x.blobs"));
  EXPECT_TRUE(fs::exists(folder.path() / "other.txt"));
  EXPECT_TRUE(fs::exists(folder.path() / "old11.blobs"));
  EXPECT_FALSE(fs::exists(folder.path() / "old0.blobs"));
  const auto count = std::distance(
      fs::directory_iterator(folder.path()),
      fs::directory_iterator());
  EXPECT_EQ(count, 9);  // eight caches and the text
}

TEST(BlobFile, AKilledWriterLeavesNothing) {
  TempFolder folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    BlobFileWriter writer(folder.path() / "x.blobs", "key", kBlobs);
    fill(writer);
    if (::write(ready[1], "x", 1) == 1) {
      ::pause();
    }
    ::_exit(1);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(BlobFile, WritersAtTheSameTimeDoNotDisturbEachOther) {
  TempFolder folder;
  const fs::path path = folder.path() / "x.blobs";
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 5; ++round) {
        BlobFileWriter writer(path, "key", kBlobs);
        fill(writer);
        EXPECT_TRUE(writer.commit()) << writer.note();
        const auto file = BlobFile::open(path, "key");
        ASSERT_TRUE(file);
        EXPECT_EQ(file->find("a")->back(), std::byte{'a'});
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const auto count = std::distance(
      fs::directory_iterator(folder.path()),
      fs::directory_iterator());
  EXPECT_EQ(count, 1);
}

TEST(BlobFile, TheCacheFolderIsPrivate) {
  TempFolder folder;
  const ScopedVariable cache(
      "ROOFLINE_CACHE",
      (folder.path() / "c" / "d").string());
  sample(packed_cache_path("key"));
  EXPECT_TRUE(BlobFile::open(packed_cache_path("key"), "key"));
  struct stat info {};
  ASSERT_EQ(::stat((folder.path() / "c" / "d").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  ASSERT_EQ(::stat(packed_cache_path("key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(BlobFile, DifferentKeysHaveDifferentPaths) {
  EXPECT_NE(packed_cache_path("a"), packed_cache_path("b"));
}

}  // namespace
}  // namespace roofline
