#include <fstream>

#include <gtest/gtest.h>

#include "roofline/base/errors.h"
#include "roofline/text/chat_template.h"

namespace roofline {
namespace {

using Json = nlohmann::ordered_json;

const Json kHello = Json::parse(R"([{"role": "user", "content": "Hi"}])");

Json read_cases() {
  std::ifstream file(ROOFLINE_TEST_DATA "/templates/cases.json");
  return Json::parse(file);
}

RenderOptions options_of(const Json& test) {
  RenderOptions options;
  options.tools = test.value("tools", Json());
  options.add_generation_prompt = test.value("gen", false);
  options.bos_text = test.value("bos", "");
  options.variables = test.at("variables");
  return options;
}

std::string render(std::string_view source) {
  return ChatTemplate(source).render(kHello, {});
}

/// The message of the Error of type E that `run` throws.
template <class E, class F>
std::string words_of(F run) {
  try {
    run();
  } catch (const E& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(ChatTemplate, RendersEveryCaseAsJinjaDid) {
  const Json cases = read_cases();
  ASSERT_GT(cases.size(), 150u);
  for (const Json& test : cases) {
    const std::string source = test.at("template");
    SCOPED_TRACE(source);
    if (test.contains("fails")) {
      EXPECT_THROW(
          ChatTemplate(source).render(test.at("messages"), options_of(test)),
          Error);
      continue;
    }
    EXPECT_EQ(
        ChatTemplate(source).render(test.at("messages"), options_of(test)),
        test.at("expected").get<std::string>());
  }
}

TEST(ChatTemplate, RaiseExceptionPassesTheTemplatesWordsOn) {
  const std::string words = words_of<UserError>(
      [] { render("{{ raise_exception('Roles must alternate') }}"); });
  EXPECT_NE(words.find("Roles must alternate"), std::string::npos) << words;
}

TEST(ChatTemplate, RaiseExceptionInsideAMacroKeepsItsWords) {
  const std::string words = words_of<UserError>([] {
    render(
        "{% macro check() %}{{ raise_exception('inner words') }}"
        "{% endmacro %}{% for m in messages %}{{ check() }}{% endfor %}");
  });
  EXPECT_NE(words.find("inner words"), std::string::npos) << words;
}

TEST(ChatTemplate, AFaultInTheSourceIsNamedWithItsLine) {
  const std::string words =
      words_of<CheckpointError>([] { ChatTemplate("a\nb\n{% if %}"); });
  EXPECT_NE(words.find("line 3"), std::string::npos) << words;
}

TEST(ChatTemplate, AMissingBosTokenIsUndefined) {
  EXPECT_EQ(render("{{ bos_token is defined }}[{{ bos_token }}]"), "False[]");
}

TEST(ChatTemplate, ToolsAndDocumentsAreNoneUnlessGiven) {
  EXPECT_EQ(render("{{ tools }} {{ documents is none }}"), "None True");
}

TEST(ChatTemplate, VariablesKeepTheOrderOfTheirKeys) {
  RenderOptions options;
  options.variables = Json::parse(R"({"x": {"z": 1, "a": 2.0}})");
  EXPECT_EQ(
      ChatTemplate("{{ x }} {{ x | tojson }}").render(kHello, options),
      "{'z': 1, 'a': 2.0} {\"z\": 1, \"a\": 2.0}");
}

TEST(ChatTemplate, StrftimeNowUsesTheLocalClock) {
  const std::string year = render("{{ strftime_now('%Y') }}");
  EXPECT_EQ(year.size(), 4u);
  EXPECT_GE(std::stoi(year), 2024);
}

TEST(ChatTemplate, AHostileTemplateEndsInAnError) {
  const char* hostile[] = {
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}"
      "{% endfor %}",
      "{% set n = namespace(s='xxxxxxxx') %}{% for a in range(999) %}"
      "{% set n.s = n.s + n.s %}{% endfor %}",
      "{% set n = namespace(s=[1]) %}{% for a in range(999) %}"
      "{% set n.s = n.s + n.s %}{% endfor %}",
      "{{ 'x'.center(99999999999) }}",
      "{{ range(1000000) }}",
  };
  for (const char* source : hostile) {
    SCOPED_TRACE(source);
    EXPECT_THROW(render(source), Error);
  }
}

TEST(ChatTemplate, DeepNestingInTheSourceIsAnErrorAndNoCrash) {
  std::string source = "{{ ";
  source += std::string(5000, '(') + "1" + std::string(5000, ')') + " }}";
  EXPECT_THROW(ChatTemplate{source}, CheckpointError);
}

TEST(ChatTemplate, SourceThatEndsAnywhereDoesNotCrash) {
  const std::string source =
      "{%- for m in messages if m['a'] -%}{{ 'é' + m.items|e }}{# c #}"
      "{% raw %}{{{% endraw %}{% generation %}{% endgeneration %}{% endfor %}";
  for (std::size_t size = 0; size < source.size(); ++size) {
    try {
      render(source.substr(0, size));
    } catch (const Error&) {
      // Most prefixes are faulty; none may end the process.
    }
  }
  EXPECT_EQ(render(source), "");
}

}  // namespace
}  // namespace roofline
