#include "roofline/train/dataset.h"

#include <algorithm>
#include <fstream>

#include <fmt/format.h>

#include "roofline/base/errors.h"
#include "roofline/weights/printable.h"

namespace roofline {

namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

/// Cuts to max_tokens inputs; returns how many tokens went.
std::int64_t truncate(Sample& sample, int max_tokens) {
  const auto most = static_cast<std::size_t>(max_tokens) + 1;
  if (sample.ids.size() <= most) {
    return 0;
  }
  const auto cut = static_cast<std::int64_t>(sample.ids.size() - most);
  sample.ids.resize(most);
  sample.learned.resize(most);
  return cut;
}

/// Pieces of at most max_tokens inputs; each begins with the last token of the
/// one before, so that every token is predicted once.
std::vector<Sample> split(const Sample& sample, int max_tokens) {
  std::vector<Sample> pieces;
  const auto step = static_cast<std::size_t>(max_tokens);
  for (std::size_t begin = 0; begin + 1 < sample.ids.size(); begin += step) {
    const auto end = std::min(sample.ids.size(), begin + step + 1);
    const auto at = [](const auto& values, std::size_t index) {
      return values.begin() + static_cast<std::ptrdiff_t>(index);
    };
    pieces.push_back(
        {{at(sample.ids, begin), at(sample.ids, end)},
         {at(sample.learned, begin), at(sample.learned, end)}});
    pieces.back().learned[0] = 0;
  }
  return pieces;
}

std::int64_t learned_of(const Sample& sample) {
  return std::count(sample.learned.begin(), sample.learned.end(), 1);
}

/// What became of samples on the way.
struct Losses {
  int truncated = 0;
  std::int64_t cut_tokens = 0;
  int left_out = 0;
};

/// A line's examples in their final length.
std::vector<Example> pieces_of(
    Example example,
    const DatasetOptions& options,
    Losses& losses) {
  std::vector<Example> pieces;
  if (options.split_long && !example.is_pair()) {
    for (auto& piece : split(example.sample, options.max_tokens)) {
      pieces.push_back({std::move(piece), {}});
    }
  } else {
    const auto cut = truncate(example.sample, options.max_tokens) +
                     truncate(example.rejected, options.max_tokens);
    losses.truncated += cut > 0 ? 1 : 0;
    losses.cut_tokens += cut;
    pieces.push_back(std::move(example));
  }
  const auto nothing = [](const Example& piece) {
    return learned_of(piece.sample) == 0 ||
           (piece.is_pair() && learned_of(piece.rejected) == 0);
  };
  losses.left_out +=
      static_cast<int>(std::count_if(pieces.begin(), pieces.end(), nothing));
  std::erase_if(pieces, nothing);
  return pieces;
}

}  // namespace

/// Examples that are read again from their lines.
class ExampleFile {
 public:
  ExampleFile(
      const fs::path& path,
      const SampleEncoder& encoder,
      const DatasetOptions& options)
      : path_(path), encoder_(encoder), options_(options) {}

  void add(std::streamoff line, int piece, int inputs) {
    places_.push_back({line, piece, inputs});
  }
  std::size_t size() const { return places_.size(); }
  int inputs(std::size_t index) const { return places_[index].inputs; }

  /// Throws UserError when the file has changed.
  Example read(std::size_t index) const {
    const Place& place = places_[index];
    std::ifstream in(path_);
    std::string text;
    in.seekg(place.line);
    if (std::getline(in, text)) {
      try {
        Losses unused;
        auto pieces =
            pieces_of(encoder_.encode(Json::parse(text)), options_, unused);
        const auto at = static_cast<std::size_t>(place.piece);
        if (at < pieces.size() && pieces[at].inputs() == place.inputs) {
          return std::move(pieces[at]);
        }
      } catch (const Json::exception&) {
      }
    }
    fail<UserError>(
        fmt::format("{} has changed", path_.string()),
        "A sample isn't where it was when training began",
        "Leave the data alone while they are learnt from");
  }

 private:
  struct Place {
    std::streamoff line;
    int piece;
    int inputs;
  };
  fs::path path_;
  const SampleEncoder& encoder_;
  DatasetOptions options_;
  std::vector<Place> places_;
};

std::size_t Dataset::size() const {
  return file ? file->size() : examples.size();
}

Example Dataset::at(std::size_t index) const {
  return file ? file->read(index) : examples[index];
}

std::vector<int> Dataset::inputs() const {
  std::vector<int> all(size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = file ? file->inputs(i) : examples[i].inputs();
  }
  return all;
}

std::uint64_t mix_example(std::uint64_t hash, const Example& example) {
  const auto mix = [&](std::uint64_t value) {
    hash = (hash ^ value) * 0x100000001b3u;
  };
  for (const auto* sample : {&example.sample, &example.rejected}) {
    for (std::size_t i = 0; i < sample->ids.size(); ++i) {
      mix(static_cast<std::uint64_t>(sample->ids[i]) * 2 + sample->learned[i]);
    }
    mix(0x1ffffffff);
  }
  return hash;
}

namespace {

/// Takes in the examples of one line after the other.
class Gathering {
 public:
  Gathering(
      const fs::path& path,
      const SampleEncoder& encoder,
      const DatasetOptions& options)
      : encoder_(encoder),
        options_(options),
        file_(std::make_shared<ExampleFile>(path, encoder, options)) {
    set_.fingerprint = kNoExamples;
  }

  void add(const std::string& text, std::streamoff line) {
    const Json parsed = Json::parse(text);
    auto pieces = pieces_of(encoder_.encode(parsed), options_, losses_);
    count_tools(parsed);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      auto& piece = pieces[i];
      set_.tokens += piece.inputs();
      set_.learned_tokens +=
          learned_of(piece.sample) + learned_of(piece.rejected);
      set_.fingerprint = mix_example(set_.fingerprint, piece);
      file_->add(line, static_cast<int>(i), piece.inputs());
      if (set_.tokens <= options_.most_kept_tokens) {
        set_.examples.push_back(std::move(piece));
      }
    }
  }

  Dataset finish() {
    set_.truncated = losses_.truncated;
    set_.cut_tokens = losses_.cut_tokens;
    set_.left_out = losses_.left_out;
    if (set_.tokens > options_.most_kept_tokens) {
      set_.examples = {};
      set_.file = file_;
    }
    return std::move(set_);
  }

 private:
  void count_tools(const Json& line) {
    const auto tools = line.find("tools");
    set_.with_tools += tools != line.end() && !tools->empty() ? 1 : 0;
    bool calls = false;
    for (const auto& message : line.value("messages", Json::array())) {
      calls = calls || message.contains("tool_calls");
    }
    set_.with_tool_calls += calls ? 1 : 0;
  }

  const SampleEncoder& encoder_;
  const DatasetOptions& options_;
  std::shared_ptr<ExampleFile> file_;
  Losses losses_;
  Dataset set_;
};

/// "column 13: …": the library's own words count lines of what it was given,
/// which is one.
std::string reason_of(const Json::exception& error) {
  const std::string all = error.what();
  const auto column = all.find("column ");
  return column == std::string::npos ? all : all.substr(column);
}

}  // namespace

Dataset read_dataset(
    const fs::path& file,
    const SampleEncoder& encoder,
    const DatasetOptions& options) {
  std::ifstream in(file);
  if (!in) {
    fail<UserError>(
        fmt::format("{} can't be read", file.string()),
        "",
        "Check the path and its permissions");
  }
  Gathering gathering(file, encoder, options);
  std::string text;
  std::streamoff line = 0;
  for (int number = 1; std::getline(in, text); ++number) {
    const auto begin = line;
    line += static_cast<std::streamoff>(text.size()) + 1;
    if (text.find_first_not_of(" \t\r") == std::string::npos) {
      continue;
    }
    try {
      gathering.add(text, begin);
    } catch (const Json::exception& error) {
      fail<UserError>(
          fmt::format("{}:{} isn't JSON", file.string(), number),
          printable(reason_of(error)),
          "Correct the line");
    } catch (const UserError& error) {
      throw UserError(
          fmt::format("{}:{}: {}", file.string(), number, error.what()));
    }
  }
  Dataset set = gathering.finish();
  if (set.size() == 0) {
    fail<UserError>(
        fmt::format("{} has nothing to learn from", file.string()),
        set.left_out > 0
            ? fmt::format(
                  "No sample has an answer, a completion or a text within its "
                  "first {} tokens",
                  options.max_tokens)
            : "It has no samples",
        "Give more data, or a larger --max-tokens");
  }
  return set;
}

DataFiles find_data(const fs::path& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) {
    return {path, {}, {}};
  }
  const auto named = [&](const char* name) {
    const fs::path file = path / name;
    return fs::is_regular_file(file, error) ? file : fs::path();
  };
  DataFiles files{
      named("train.jsonl"),
      named("valid.jsonl"),
      named("test.jsonl")};
  if (files.train.empty()) {
    fail<UserError>(
        fmt::format("{} has no train.jsonl", path.string()),
        fs::is_directory(path, error) ? "" : "There is no such folder or file",
        "Give a folder with train.jsonl, or a JSONL file");
  }
  return files;
}

}  // namespace roofline
