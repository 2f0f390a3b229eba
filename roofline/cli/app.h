// The options of one command, bound to its values. CLI11's App takes for a
// value what is a slip more often than it is meant (--temp 0x10, --seed -5 as a
// huge number, --quiet=5, -n 1,,2); this one refuses it, for every option that
// is declared.
#pragma once

#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "roofline/base/option_values.h"

namespace roofline::cli {

class App : public CLI::App {
 public:
  using CLI::App::App;

  /// An option of one value, or of several where T is a vector.
  template <class T>
  CLI::Option* add_option(
      std::string names,
      T& value,
      std::string description = "") {
    CLI::Option* option =
        CLI::App::add_option(std::move(names), value, std::move(description));
    if constexpr (std::is_arithmetic_v<Item<T>>) {
      check_texts(*option, [option](std::string& text) {
        require_number<Item<T>>(*option, text);
      });
    }
    return option;
  }

  /// An option of several values with commas between, none of them empty.
  template <class T>
  CLI::Option* add_list(
      std::string names,
      std::vector<T>& values,
      std::string description) {
    using Texts = std::vector<std::string>;
    CLI::Option* option = add_option_function<Texts>(
        std::move(names),
        [&values](const Texts& texts) {
          values.clear();
          for (const std::string& text : texts) {
            for (const std::string& entry : split_list(text, "")) {
              values.push_back(read<T>(entry));
            }
          }
        },
        std::move(description));
    check_texts(*option, [option](std::string& text) {
      for (std::string& entry : split_list(text, option->get_name())) {
        if constexpr (std::is_arithmetic_v<T>) {
          require_number<T>(*option, entry);
        }
      }
    });
    return option;
  }

  /// An option without a value: given, or not.
  CLI::Option* add_flag(
      std::string names,
      bool& value,
      std::string description = "");

  /// -h, --help.
  void add_help();

 private:
  enum class NumberKind { whole, natural, fraction };

  template <class T>
  struct ItemOf {
    using type = T;
  };
  template <class T>
  struct ItemOf<std::optional<T>> {
    using type = T;
  };
  template <class T>
  struct ItemOf<std::vector<T>> {
    using type = T;
  };
  template <class T>
  using Item = typename ItemOf<T>::type;

  /// Calls `check` for each text that is given and not empty.
  template <class Check>
  static void check_texts(CLI::Option& option, Check check) {
    option.transform(CLI::Validator(
        [check](std::string& text) {
          if (!text.empty()) {
            check(text);
          }
          return std::string();
        },
        ""));
  }

  /// Throws UserError. CLI11 reads the text again, and 010 as eight.
  template <class T>
  static void require_number(const CLI::Option& option, std::string& text) {
    const std::optional<T> number = parse_number<T>(text);
    if (!number) {
      refuse_number(
          option,
          text,
          std::is_floating_point_v<T> ? NumberKind::fraction
          : std::is_unsigned_v<T>     ? NumberKind::natural
                                      : NumberKind::whole);
    }
    if constexpr (std::is_integral_v<T>) {
      text = std::to_string(*number);
    }
  }

  template <class T>
  static T read(const std::string& text) {
    if constexpr (std::is_arithmetic_v<T>) {
      return parse_number<T>(text).value();
    } else {
      return text;
    }
  }

  [[noreturn]] static void refuse_number(
      const CLI::Option& option,
      const std::string& text,
      NumberKind kind);

  bool help_ = false;
};

}  // namespace roofline::cli
