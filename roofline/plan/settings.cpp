#include "roofline/plan/settings.h"

#include <array>
#include <fstream>
#include <limits>
#include <sstream>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mlx/memory.h>

#include <toml++/toml.h>

#include "roofline/base/atomic_file.h"
#include "roofline/base/cpu_features.h"
#include "roofline/base/errors.h"
#include "roofline/base/nearest.h"
#include "roofline/base/paths.h"
#include "roofline/base/sha256.h"
#include "roofline/spec/tensor_parts.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;

constexpr double kNoBound = 1e18;

/// A key of the file whose value is one of `words`, or any text without them.
struct TextKey {
  const char* name;
  std::optional<std::string> RunSettings::*field;
  std::vector<std::string> words;
};

/// A key whose value is a number in [least, most].
template <class T>
struct NumberKey {
  const char* name;
  std::optional<T> RunSettings::*field;
  double least = 0;
  double most = kNoBound;
};

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const Isa isa : kAllIsas) {
    names.emplace_back(isa_name(isa));
  }
  return names;
}

const std::vector<TextKey>& text_keys() {
  static const std::vector<TextKey> keys = {
      {"model", &RunSettings::model, {}},
      {"quant", &RunSettings::quant, {"none", "int4", "int8"}},
      {"quant_8bit", &RunSettings::quant_8bit, {}},
      {"draft_model", &RunSettings::draft_model, {}},
      {"isa", &RunSettings::isa, isa_names()}};
  return keys;
}

const std::vector<NumberKey<int>>& int_keys() {
  static const std::vector<NumberKey<int>> keys = {
      {"group_size", &RunSettings::group_size, 32, 128},
      {"kv_bits", &RunSettings::kv_bits, 4, 16},
      {"k_bits", &RunSettings::k_bits, 4, 16},
      {"v_bits", &RunSettings::v_bits, 4, 16},
      {"kv_group_size", &RunSettings::kv_group_size, 32, 64},
      {"kv_keep_full", &RunSettings::kv_keep_full, 0, 1 << 20},
      {"prefill_step", &RunSettings::prefill_step, 1, 1 << 20},
      {"prompt_lookup", &RunSettings::prompt_lookup, 0, 32},
      {"num_draft_tokens", &RunSettings::num_draft_tokens, 1, 32},
      {"batch", &RunSettings::batch, 1, 1024},
      {"threads", &RunSettings::threads, 1, 1024},
      {"max_tokens", &RunSettings::max_tokens, 1, 1 << 30},
      {"max_kv", &RunSettings::max_kv, 16, 1 << 30},
      {"top_k", &RunSettings::top_k, 0, 1 << 30}};
  return keys;
}

const std::vector<NumberKey<std::int64_t>>& size_keys() {
  static const std::vector<NumberKey<std::int64_t>> keys = {
      {"cache_limit_bytes", &RunSettings::cache_limit_bytes},
      {"wired_limit_bytes", &RunSettings::wired_limit_bytes}};
  return keys;
}

const std::vector<NumberKey<double>>& real_keys() {
  static const std::vector<NumberKey<double>> keys = {
      {"temperature", &RunSettings::temperature},
      {"top_p", &RunSettings::top_p, 0, 1},
      {"min_p", &RunSettings::min_p, 0, 1},
      {"repetition_penalty", &RunSettings::repetition_penalty, 0.01}};
  return keys;
}

[[noreturn]] void fail_value(
    std::string_view source,
    std::string_view key,
    const std::string& takes) {
  fail<UserError>(
      fmt::format("{}: {} has a bad value", source, key),
      "",
      fmt::format("It takes {}", takes));
}

std::string range_text(double least, double most, bool whole) {
  std::string text = whole ? "a whole number" : "a number";
  text += fmt::format(" of at least {:g}", least);
  if (most < kNoBound) {
    text += fmt::format(" and at most {:g}", most);
  }
  return text;
}

void take(
    const toml::node& node,
    const TextKey& key,
    RunSettings& out,
    std::string_view source) {
  const auto value = node.value<std::string>();
  bool good = value.has_value() && key.words.empty();
  for (const std::string& word : key.words) {
    good = good || value == word;
  }
  if (!good) {
    fail_value(
        source,
        key.name,
        key.words.empty() ? "a text"
                          : fmt::format("{}", fmt::join(key.words, ", ")));
  }
  out.*key.field = *value;
}

template <class T>
void take(
    const toml::node& node,
    const NumberKey<T>& key,
    RunSettings& out,
    std::string_view source) {
  constexpr bool kWhole = std::numeric_limits<T>::is_integer;
  const bool number = kWhole ? node.is_integer() : node.is_number();
  const double value = node.value<double>().value_or(0);
  if (!number || !(value >= key.least && value <= key.most)) {
    fail_value(source, key.name, range_text(key.least, key.most, kWhole));
  }
  out.*key.field = static_cast<T>(value);
}

/// True when one of `keys` is called `name`.
template <class Keys>
bool take_one(
    const Keys& keys,
    std::string_view name,
    const toml::node& node,
    RunSettings& out,
    std::string_view source) {
  for (const auto& key : keys) {
    if (name == key.name) {
      take(node, key, out, source);
      return true;
    }
  }
  return false;
}

template <class Keys>
void add_names(const Keys& keys, std::vector<std::string>& names) {
  for (const auto& key : keys) {
    names.emplace_back(key.name);
  }
}

[[noreturn]] void fail_key(std::string_view source, std::string_view name) {
  std::vector<std::string> names;
  add_names(text_keys(), names);
  add_names(int_keys(), names);
  add_names(size_keys(), names);
  add_names(real_keys(), names);
  const std::string near = did_you_mean(name, names);
  fail<UserError>(
      fmt::format("{}: there is no setting {}", source, name),
      near,
      near.empty() ? fmt::format("There are {}", fmt::join(names, ", ")) : "");
}

void check(const RunSettings& settings, std::string_view source) {
  try {
    settings.kv().resolve();
  } catch (const UserError& error) {
    fail<UserError>(
        fmt::format("{}: the cache can't be kept so", source),
        error.what(),
        "Correct kv_bits, k_bits, v_bits, kv_group_size or kv_keep_full");
  }
  if (settings.quant_8bit) {
    parse_matrix_parts(
        *settings.quant_8bit,
        fmt::format("{}: quant_8bit", source));
    if (settings.quant.value_or("none") != "int4") {
      fail<UserError>(
          fmt::format("{}: quant_8bit needs quant = \"int4\"", source),
          "It names the parts that have 8 bits where the rest has 4",
          "Add quant = \"int4\", or leave quant_8bit out");
    }
  }
  if (!settings.group_size) {
    return;
  }
  const int group = *settings.group_size;
  if (group != 32 && group != 64 && group != 128) {
    fail_value(source, "group_size", "32, 64 or 128");
  }
  if (settings.quant.value_or("none") == "none") {
    fail<UserError>(
        fmt::format("{}: group_size needs quant", source),
        "Without it the weights stay as they are stored",
        "Add quant = \"int4\" or \"int8\", or leave group_size out");
  }
}

template <class Keys>
void insert_all(
    const Keys& keys,
    const RunSettings& settings,
    toml::table& table) {
  for (const auto& key : keys) {
    if (const auto& value = settings.*key.field) {
      table.insert(key.name, *value);
    }
  }
}

}  // namespace

bool KvChoice::any() const {
  return bits || key_bits || value_bits || group_size || keep_full;
}

KvFormat KvChoice::resolve() const {
  KvFormat format;
  const int both = bits.value_or(format.key_bits);
  format.key_bits = key_bits.value_or(both);
  format.value_bits = value_bits.value_or(both);
  format.group_size = group_size.value_or(format.group_size);
  format.keep_full = keep_full.value_or(format.keep_full);
  check_kv_format(format);
  if (!format.in_codes() && (group_size || keep_full)) {
    fail<UserError>(
        group_size ? "--kv-group-size needs --kv-bits"
                   : "--kv-keep-full needs --kv-bits",
        "Without codes every token is kept in full",
        "Add --kv-bits 8 or 4 (or --k-bits, --v-bits), or leave it out");
  }
  return format;
}

KvChoice RunSettings::kv() const {
  return {kv_bits, k_bits, v_bits, kv_group_size, kv_keep_full};
}

std::string RunSettings::text() const {
  std::vector<std::string> parts;
  if (quant) {
    std::string text =
        group_size ? fmt::format("{} (group {}", *quant, *group_size) : *quant;
    if (quant_8bit) {
      text +=
          fmt::format("{}8 bits: {}", group_size ? "; " : " (", *quant_8bit);
    }
    if (group_size || quant_8bit) {
      text += fmt::format(")");
    }
    parts.push_back(std::move(text));
  }
  if (kv().any()) {
    parts.push_back("KV cache " + kv().resolve().text());
  }
  if (threads) {
    parts.push_back(
        fmt::format("{} thread{}", *threads, *threads == 1 ? "" : "s"));
  }
  if (isa) {
    parts.push_back(*isa);
  }
  if (prefill_step) {
    parts.push_back(fmt::format("prefill step {}", *prefill_step));
  }
  if (prompt_lookup) {
    parts.push_back(fmt::format("prompt lookup {}", *prompt_lookup));
  }
  if (draft_model) {
    parts.push_back(fmt::format(
        "draft model {}",
        fs::path(*draft_model).filename().string()));
  }
  if (num_draft_tokens) {
    parts.push_back(fmt::format("at most {} drafted", *num_draft_tokens));
  }
  if (batch) {
    parts.push_back(fmt::format("batch {}", *batch));
  }
  const auto add = [&](const char* name, const auto& value) {
    if (value) {
      parts.push_back(fmt::format("{} {:g}", name, double(*value)));
    }
  };
  add("temperature", temperature);
  add("top-p", top_p);
  add("min-p", min_p);
  add("top-k", top_k);
  add("repetition penalty", repetition_penalty);
  if (wired_limit_bytes) {
    parts.push_back(
        fmt::format("wired limit {} MB", *wired_limit_bytes / 1000000));
  }
  if (cache_limit_bytes) {
    parts.push_back(
        fmt::format("MLX cache {} MB", *cache_limit_bytes / 1000000));
  }
  return parts.empty() ? "defaults" : fmt::format("{}", fmt::join(parts, ", "));
}

RunSettings parse_settings(std::string_view toml, std::string_view source) {
  toml::table table;
  try {
    table = toml::parse(toml);
  } catch (const toml::parse_error& error) {
    fail<UserError>(
        fmt::format(
            "{}: line {} isn't TOML",
            source,
            error.source().begin.line),
        std::string(error.description()),
        "Correct the line, or write the file anew with roofline optimize");
  }
  RunSettings out;
  for (const auto& [key, node] : table) {
    const std::string_view name = key.str();
    if (!take_one(text_keys(), name, node, out, source) &&
        !take_one(int_keys(), name, node, out, source) &&
        !take_one(size_keys(), name, node, out, source) &&
        !take_one(real_keys(), name, node, out, source)) {
      fail_key(source, name);
    }
  }
  check(out, source);
  return out;
}

std::string settings_toml(
    const RunSettings& settings,
    std::string_view comment) {
  toml::table table;
  insert_all(text_keys(), settings, table);
  insert_all(int_keys(), settings, table);
  insert_all(size_keys(), settings, table);
  insert_all(real_keys(), settings, table);
  std::ostringstream out;
  std::istringstream lines{std::string(comment)};
  for (std::string line; std::getline(lines, line);) {
    out << "# " << line << '\n';
  }
  out << table << '\n';
  return out.str();
}

RunSettings read_settings(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file || fs::is_directory(path)) {
    fail<UserError>(
        fmt::format("The settings {} can't be read", path.string()),
        "",
        "Check the path; roofline optimize --out FILE writes such a file");
  }
  return parse_settings(text.str(), path.string());
}

void write_settings(
    const fs::path& path,
    const RunSettings& settings,
    std::string_view comment) {
  const std::string text = settings_toml(settings, comment);
  write_file_atomically(path, std::as_bytes(std::span(text)));
}

fs::path default_settings_path(const fs::path& model) {
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(model, error);
  const std::string name = (error ? model : whole).string();
  return cache_dir() / "settings" / (sha256_hex(name).substr(0, 32) + ".toml");
}

void apply_memory_limits(const RunSettings& settings) {
  if (settings.cache_limit_bytes) {
    mlx::core::set_cache_limit(
        static_cast<std::size_t>(*settings.cache_limit_bytes));
  }
  if (settings.wired_limit_bytes) {
    mlx::core::set_wired_limit(
        static_cast<std::size_t>(*settings.wired_limit_bytes));
  }
}

}  // namespace roofline
