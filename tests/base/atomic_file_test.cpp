#include "roofline/base/atomic_file.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "roofline/base/errors.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;

class AtomicFileTest : public ::testing::Test {
 protected:
  AtomicFileTest() {
    std::string name = (fs::temp_directory_path() / "atomic-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~AtomicFileTest() override {
    std::error_code error;
    fs::remove_all(folder_, error);
  }
  static std::span<const std::byte> bytes(const std::string& text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
  }
  static std::string read(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(
        fs::directory_iterator(folder_),
        fs::directory_iterator()));
  }
  fs::path folder_;
};

TEST_F(AtomicFileTest, AFileAppearsOnlyWhenPublished) {
  AtomicFile file(folder_ / "a");
  ASSERT_TRUE(file.is_open()) << file.error();
  ASSERT_EQ(::write(file.fd(), "hello", 5), 5);
  EXPECT_FALSE(fs::exists(folder_ / "a"));
  ASSERT_TRUE(file.publish()) << file.error();
  EXPECT_EQ(read(folder_ / "a"), "hello");
  EXPECT_EQ(files(), 1u);
}

TEST_F(AtomicFileTest, AnUnpublishedFileLeavesNothing) {
  {
    AtomicFile file(folder_ / "a");
    ASSERT_EQ(::write(file.fd(), "hello", 5), 5);
  }
  EXPECT_EQ(files(), 0u);
}

TEST_F(AtomicFileTest, AnOlderFileIsReplaced) {
  write_file_atomically(folder_ / "a", bytes("one"));
  write_file_atomically(folder_ / "a", bytes("three"));
  EXPECT_EQ(read(folder_ / "a"), "three");
  EXPECT_EQ(files(), 1u);
}

TEST_F(AtomicFileTest, WithoutLinksACopyIsPublished) {
  {
    AtomicFile file(folder_ / "a", AtomicFile::Naming::by_copy);
    ASSERT_TRUE(file.is_open()) << file.error();
    EXPECT_EQ(files(), 0u);
    const std::string text(3000000, 'x');
    ASSERT_EQ(::write(file.fd(), text.data(), text.size()), 3000000);
    ASSERT_TRUE(file.publish()) << file.error();
    EXPECT_EQ(read(folder_ / "a"), text);
  }
  AtomicFile second(folder_ / "a", AtomicFile::Naming::by_copy);
  ASSERT_EQ(::write(second.fd(), "new", 3), 3);
  ASSERT_TRUE(second.publish()) << second.error();
  EXPECT_EQ(read(folder_ / "a"), "new");
  EXPECT_EQ(files(), 1u);
}

TEST_F(AtomicFileTest, AFileThatCannotBeNamedLeavesNothing) {
  fs::create_directories(folder_ / "a" / "in the way");
  for (auto naming :
       {AtomicFile::Naming::by_link, AtomicFile::Naming::by_copy}) {
    AtomicFile file(folder_ / "a", naming);
    EXPECT_FALSE(file.publish());
    EXPECT_NE(file.error().find((folder_ / "a").string()), std::string::npos);
  }
  EXPECT_EQ(files(), 1u);
}

TEST_F(AtomicFileTest, AnEmptyFileIsAFileToo) {
  write_file_atomically(folder_ / "a", {});
  EXPECT_TRUE(fs::exists(folder_ / "a"));
}

TEST_F(AtomicFileTest, MissingFoldersAreMade) {
  write_file_atomically(folder_ / "x" / "y" / "a", bytes("one"));
  EXPECT_EQ(read(folder_ / "x" / "y" / "a"), "one");
}

TEST_F(AtomicFileTest, WhereNoFolderCanBeTheErrorSaysSo) {
  write_file_atomically(folder_ / "a", bytes("one"));
  AtomicFile file(folder_ / "a" / "b");
  EXPECT_FALSE(file.is_open());
  EXPECT_FALSE(file.error().empty());
  EXPECT_FALSE(file.publish());
  EXPECT_THROW(
      write_file_atomically(folder_ / "a" / "b", bytes("x")),
      UserError);
}

TEST_F(AtomicFileTest, AMovedFileIsPublishedOnce) {
  AtomicFile first(folder_ / "a");
  AtomicFile second = std::move(first);
  EXPECT_FALSE(first.is_open());  // NOLINT: what a move leaves is defined
  EXPECT_TRUE(second.publish());
  EXPECT_FALSE(second.publish());
}

TEST_F(AtomicFileTest, ReservedDiskIsPartOfTheFile) {
  AtomicFile file(folder_ / "a");
  ASSERT_EQ(reserve_disk(file.fd(), 100000), 0);
  ASSERT_TRUE(file.publish());
  EXPECT_EQ(fs::file_size(folder_ / "a"), 100000u);
}

}  // namespace
}  // namespace roofline
