#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include <filesystem>

#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "roofline/text/bridge_call.h"

namespace roofline {
namespace {

namespace fs = std::filesystem;

const fs::path kBridge =
    fs::path(ROOFLINE_TEST_DATA).parent_path().parent_path() / "bridge";

std::string read(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// Every name in group 1 of `pattern`, with the number of its parameters.
std::set<std::string> functions_in(
    const std::string& text,
    const std::regex& pattern) {
  std::set<std::string> found;
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end;
       at != end;
       ++at) {
    std::string parameters = (*at)[2];
    parameters = std::regex_replace(parameters, std::regex(R"(,\s*$)"), "");
    const auto commas = std::count(parameters.begin(), parameters.end(), ',');
    found.insert((*at)[1].str() + "/" + std::to_string(commas + 1));
  }
  return found;
}

TEST(Bridge, TheHeaderDeclaresWhatTheSourcesExport) {
  std::string sources;
  for (const auto& entry : fs::recursive_directory_iterator(kBridge / "src")) {
    if (entry.path().extension() == ".rs") {
      sources += read(entry.path());
    }
  }
  const auto exported =
      functions_in(sources, std::regex(R"(extern "C" fn (\w+)\(([^)]*)\))"));
  const auto declared = functions_in(
      read(kBridge / "roofline_bridge.h"),
      std::regex(R"(\b(rb_\w+)\(([^)]*)\);)"));
  EXPECT_GE(exported.size(), 13u);
  EXPECT_EQ(exported, declared);
}

TEST(Bridge, APanicBecomesABugErrorWithItsWords) {
  BridgeBuffer error;
  const std::int32_t status = rb_panic_probe(error.out());
  EXPECT_EQ(status, RB_PANICKED);
  try {
    require_ok(status, error, {"The probe failed", ""});
    FAIL() << "no error was thrown";
  } catch (const BugError& bug) {
    EXPECT_NE(
        std::string(bug.what()).find("the probe panicked as asked"),
        std::string::npos);
  }
}

TEST(Bridge, APanicLeavesTheBridgeUsable) {
  for (int i = 0; i < 3; ++i) {
    BridgeBuffer error;
    EXPECT_EQ(rb_panic_probe(error.out()), RB_PANICKED);
  }
  rb_template* compiled = nullptr;
  BridgeBuffer error;
  EXPECT_EQ(rb_template_compile(view_of("x"), &compiled, error.out()), RB_OK);
  rb_template_free(compiled);
}

}  // namespace
}  // namespace roofline
