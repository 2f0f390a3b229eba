// Reads the JSON lines of multiple-choice tasks, under the names that the
// common data sets give their fields.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "roofline/base/errors.h"
#include "roofline/evaluate/choices.h"

namespace roofline {

using nlohmann::json;

namespace {

constexpr std::array<std::string_view, 4> kQuestionKeys = {
    "question",
    "query",
    "ctx",
    "context"};
constexpr std::array<std::string_view, 3> kChoicesKeys = {
    "choices",
    "options",
    "endings"};
constexpr std::array<std::string_view, 4> kAnswerKeys = {
    "answer",
    "answerKey",
    "gold",
    "label"};
/// Of these, the ones whose digits count choices.
constexpr std::array<std::string_view, 2> kIndexKeys = {"gold", "label"};

class Line {
 public:
  Line(const std::string& label, int number) : label_(label), number_(number) {}

  ChoiceQuestion read(std::string_view text) const {
    const json value =
        json::parse(text, nullptr, /* allow_exceptions = */ false);
    if (!value.is_object()) {
      fail_with("The line is no JSON object");
    }
    ChoiceQuestion out;
    const json* question = first_of(value, kQuestionKeys);
    if (question == nullptr || !question->is_string()) {
      fail_with("\"question\" is missing, or no text");
    }
    out.question = question->get<std::string>();
    const json* choices = first_of(value, kChoicesKeys);
    const json* labels = nullptr;
    if (choices != nullptr && choices->is_object()) {
      labels = first_of(*choices, std::array{std::string_view("label")});
      choices = first_of(*choices, std::array{std::string_view("text")});
    }
    if (choices == nullptr || !choices->is_array() || choices->size() < 2) {
      fail_with("\"choices\" is missing, or no list of two or more");
    }
    for (const json& choice : *choices) {
      if (!choice.is_string() || choice.get_ref<const std::string&>().empty()) {
        fail_with("A choice is no text, or an empty one");
      }
      out.choices.push_back(choice.get<std::string>());
    }
    const json* answer = first_of(value, kAnswerKeys);
    if (answer == nullptr) {
      fail_with("\"answer\" is missing");
    }
    const bool indexed = answer == first_of(value, kIndexKeys);
    out.answer = answer_of(*answer, out.choices, labels, indexed);
    return out;
  }

  [[noreturn]] void fail_with(const std::string& why) const {
    fail<UserError>(
        fmt::format("{}:{}: no multiple-choice question", label_, number_),
        why,
        "Write {\"question\": \"…\", \"choices\": [\"…\", \"…\"], "
        "\"answer\": 0} on one line");
  }

 private:
  template <std::size_t N>
  static const json* first_of(
      const json& object,
      const std::array<std::string_view, N>& keys) {
    for (const std::string_view key : keys) {
      const auto found = object.find(key);
      if (found != object.end()) {
        return &*found;
      }
    }
    return nullptr;
  }

  /// An index, a choice's label or text, digits, or a letter. indexed: digits
  /// are an index even where a choice reads so.
  std::size_t answer_of(
      const json& value,
      const std::vector<std::string>& choices,
      const json* labels,
      bool indexed) const {
    if (value.is_number_integer()) {
      return checked_index(value.get<std::int64_t>(), choices.size());
    }
    if (!value.is_string()) {
      fail_with("\"answer\" is no index and no text");
    }
    const auto text = value.get<std::string>();
    // Labels first: some are digits, and so may the choices be.
    if (labels != nullptr && labels->is_array()) {
      const auto label = std::find(labels->begin(), labels->end(), json(text));
      if (label != labels->end()) {
        return checked_index(label - labels->begin(), choices.size());
      }
    }
    std::int64_t index = 0;
    const auto* end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, index);
    const bool digits = error == std::errc() && at == end;
    const auto found = std::find(choices.begin(), choices.end(), text);
    if (found != choices.end() && !(digits && indexed)) {
      return static_cast<std::size_t>(found - choices.begin());
    }
    if (digits) {
      return checked_index(index, choices.size());
    }
    if (text.size() == 1 && text[0] >= 'A' &&
        static_cast<std::size_t>(text[0] - 'A') < choices.size()) {
      return static_cast<std::size_t>(text[0] - 'A');
    }
    fail_with("The answer \"" + text + "\" is none of the choices");
  }

  std::size_t checked_index(std::int64_t index, std::size_t choices) const {
    if (index < 0 || index >= static_cast<std::int64_t>(choices)) {
      fail_with(fmt::format(
          "The answer {} is no index of {} choices",
          index,
          choices));
    }
    return static_cast<std::size_t>(index);
  }

  const std::string& label_;
  int number_;
};

}  // namespace

std::vector<ChoiceQuestion> parse_choice_questions(
    std::string_view jsonl,
    const std::string& label) {
  // What some editors put before UTF-8.
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (jsonl.starts_with(kByteOrderMark)) {
    jsonl.remove_prefix(kByteOrderMark.size());
  }
  std::vector<ChoiceQuestion> questions;
  int number = 0;
  while (!jsonl.empty()) {
    ++number;
    const auto end = std::min(jsonl.find('\n'), jsonl.size());
    const auto text = jsonl.substr(0, end);
    jsonl.remove_prefix(std::min(jsonl.size(), end + 1));
    if (text.find_first_not_of(" \t\r") != text.npos) {
      questions.push_back(Line(label, number).read(text));
    }
  }
  if (questions.empty()) {
    Line(label, 1).fail_with("The file has no questions");
  }
  return questions;
}

}  // namespace roofline
