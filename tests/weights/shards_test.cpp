#include "roofline/weights/shards.h"

#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "weights/file_builders.h"
#include "weights/temp_folder.h"

namespace roofline {
namespace {

using namespace roofline::testing;
using nlohmann::json;

constexpr const char* kIndex = "model.safetensors.index.json";

void write_two(const TempFolder& folder) {
  folder.write(
      "model-00001-of-00002.safetensors",
      SafetensorsBuilder().fill("a", {2}, 1.0f).build());
  folder.write(
      "model-00002-of-00002.safetensors",
      SafetensorsBuilder().fill("b", {2}, 2.0f).fill("c", {1}, 3.0f).build());
}

std::string index_of(const json& map) {
  return json{{"weight_map", map}}.dump();
}

void expect_refused(
    const TempFolder& folder,
    std::initializer_list<std::string_view> parts) {
  expect_error<CheckpointError>([&] { Shards(folder.path()); }, parts);
}

TEST(Shards, AnIndexLeadsToTheFiles) {
  TempFolder folder;
  write_two(folder);
  folder.write(
      kIndex,
      index_of(
          {{"a", "model-00001-of-00002.safetensors"},
           {"b", "model-00002-of-00002.safetensors"}}));
  const Shards shards(folder.path());
  EXPECT_EQ(shards.files().size(), 2u);
  EXPECT_EQ(shards.entries().size(), 3u);  // c is there though not listed
  EXPECT_NE(shards.find("b"), nullptr);
  EXPECT_EQ(shards.find("d"), nullptr);
}

TEST(Shards, WithoutAnIndexAllModelFilesCount) {
  TempFolder folder;
  write_two(folder);
  folder.write("adapter.safetensors", "not read");
  const Shards shards(folder.path());
  EXPECT_EQ(shards.files().size(), 2u);
  EXPECT_NE(shards.find("c"), nullptr);
}

TEST(Shards, AMissingShardIsNamed) {
  TempFolder folder;
  write_two(folder);
  folder.write(
      kIndex,
      index_of(
          {{"a", "model-00001-of-00002.safetensors"},
           {"z", "gone.safetensors"}}));
  expect_refused(folder, {"gone.safetensors", "lists it", "Download"});
}

TEST(Shards, ATensorThatIsNotInItsShardIsNamed) {
  TempFolder folder;
  write_two(folder);
  folder.write(kIndex, index_of({{"b", "model-00001-of-00002.safetensors"}}));
  expect_refused(folder, {"00001", "tensor b", "don't belong together"});
}

TEST(Shards, AnIndexMustNotReachOutOfItsFolder) {
  TempFolder folder;
  folder.write("x.safetensors", SafetensorsBuilder().fill("a", {1}, 1).build());
  for (const char* name :
       {"../x.safetensors",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a\\b",
        "sub/../../x.safetensors",
        "sub/",
        "./x.safetensors"}) {
    folder.write(kIndex, index_of({{"a", name}}));
    expect_refused(folder, {kIndex, "no file of this folder"});
  }
  folder.write(kIndex, index_of({{"a", 3}}));
  expect_refused(folder, {kIndex});
}

TEST(Shards, AnIndexCanLeadToAFolderBelow) {
  TempFolder folder;
  folder.write(
      "weights/x.safetensors",
      SafetensorsBuilder().fill("a", {1}, 1).build());
  folder.write(kIndex, index_of({{"a", "weights/x.safetensors"}}));
  EXPECT_NE(Shards(folder.path()).find("a"), nullptr);
  folder.write(kIndex, index_of({{"a", "weights/y.safetensors"}}));
  expect_refused(folder, {"weights/y.safetensors", "lists it"});
}

TEST(Shards, AnIndexOfTheWrongFormIsRefused) {
  TempFolder folder;
  for (const char* text : {"[]", "{}", R"({"weight_map":[]})", "nope"}) {
    folder.write(kIndex, text);
    expect_refused(folder, {kIndex});
  }
}

TEST(Shards, ANameInTwoShardsIsRefused) {
  TempFolder folder;
  write_two(folder);
  folder.write(
      "model-extra.safetensors",
      SafetensorsBuilder().fill("a", {1}, 1).build());
  expect_refused(folder, {"tensor a in two shards", "index"});
}

}  // namespace
}  // namespace roofline
