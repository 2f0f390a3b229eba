#include "roofline/decode/truncation.h"

#include <algorithm>
#include <cmath>

#include "roofline/decode/vector_math.h"

namespace roofline {

float max_logit(const Candidates& list) {
  float max = -kInfinity;
  for (const Candidate& c : list) {
    max = std::max(max, c.logit);
  }
  return max;
}

namespace {

bool likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

void set_weights(Candidates& list) {
  const float max = max_logit(list);
  for (Candidate& c : list) {
    c.weight = exp_nonpositive(c.logit - max);
  }
}

double mass(const Candidates& list) {
  double sum = 0;
  for (const Candidate& c : list) {
    sum += c.weight;
  }
  return sum;
}

struct Ranked {
  float key;
  std::int32_t token;
  float weight;
};

bool ranks_before(const Ranked& a, const Ranked& b) {
  return a.key != b.key ? a.key < b.key : a.token < b.token;
}

// Keeps the shortest prefix, in order of rising key, whose weights reach
// `need`: a quickselect by weight, linear on average where a sort is not.
template <class Key>
void keep_prefix(Candidates& list, double need, Key key) {
  std::vector<Ranked> ranked;
  ranked.reserve(list.size());
  for (const Candidate& c : list) {
    ranked.push_back({key(c), c.token, c.weight});
  }
  auto low = ranked.begin();
  auto high = ranked.end();
  double before = 0;
  while (high - low > 1) {
    const auto middle = low + (high - low) / 2;
    std::nth_element(low, middle, high, ranks_before);
    double half = 0;
    for (auto it = low; it != middle; ++it) {
      half += it->weight;
    }
    if (before + half >= need) {
      high = middle;
    } else {
      before += half;
      low = middle;
    }
  }
  if (low == ranked.end()) {
    return;
  }
  const Ranked cut = *low;
  std::erase_if(list, [&](const Candidate& c) {
    return ranks_before(cut, {key(c), c.token, c.weight});
  });
}

}  // namespace

float least_depth(const SamplingOptions& options) {
  if (options.min_p > 0.0f && !(options.typical_p < 1.0f)) {
    // A little more than min_p lets through; it has the last word.
    return std::max(std::log(options.min_p) - 0.01f, kExpFloor);
  }
  // Everything that can be drawn once the temperature is applied.
  return kExpFloor * std::max(1.0f, options.temperature);
}

void select_top_k(std::span<const float> logits, int k, Candidates& out) {
  out.clear();
  const auto wanted = std::min<std::size_t>(k, logits.size());
  // Room for three times what is wanted: a selection is then paid for by at
  // least twice as many tokens that passed the threshold.
  const std::size_t room = std::max<std::size_t>(4 * wanted, 256);
  out.reserve(std::min(room, logits.size()));
  float threshold = -kInfinity;
  bool full = false;
  const auto shrink = [&] {
    std::nth_element(
        out.begin(),
        out.begin() + wanted - 1,
        out.end(),
        likelier);
    out.resize(wanted);
    threshold = out.back().logit;
    full = true;
  };
  for (std::size_t i = 0; i < logits.size(); ++i) {
    // A later token that equals the threshold loses the tie by its id.
    if (full && !(logits[i] > threshold)) {
      continue;
    }
    out.push_back({static_cast<std::int32_t>(i), logits[i], 0.0f});
    if (out.size() >= room) {
      shrink();
    }
  }
  if (out.size() > wanted) {
    shrink();
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return a.token < b.token;
  });
  set_weights(out);
}

void select_above(
    std::span<const float> logits,
    float threshold,
    Candidates& out) {
  out.clear();
  // Whole blocks are skipped on a test that vectorises; few hold a candidate.
  constexpr std::size_t kBlock = 32;
  for (std::size_t start = 0; start < logits.size(); start += kBlock) {
    const std::size_t end = std::min(start + kBlock, logits.size());
    int any = 0;
    for (std::size_t i = start; i < end; ++i) {
      any |= static_cast<int>(logits[i] >= threshold);
    }
    for (std::size_t i = start; any != 0 && i < end; ++i) {
      if (logits[i] >= threshold) {
        out.push_back({static_cast<std::int32_t>(i), logits[i], 0.0f});
      }
    }
  }
  set_weights(out);
}

void select_top_p(std::span<const float> logits, float top_p, Candidates& out) {
  const float max = max_of(logits);
  const double need = top_p * exp_sum(logits, max);
  // Most rows hold the nucleus within a few nats of the best token; each
  // enlargement doubles the depth, so at most five passes are made.
  for (float depth = 4.0f;; depth *= 2) {
    const bool whole = depth > -kExpFloor;
    select_above(logits, max + (whole ? kExpFloor : -depth), out);
    if (whole || mass(out) >= need) {
      break;
    }
  }
  keep_prefix(out, need, [](const Candidate& c) { return -c.logit; });
}

void keep_top_p(Candidates& list, float top_p) {
  const double need = top_p * mass(list);
  keep_prefix(list, need, [](const Candidate& c) { return -c.logit; });
}

void keep_min_p(Candidates& list, float min_p) {
  float best = 0;
  for (const Candidate& c : list) {
    best = std::max(best, c.weight);
  }
  std::erase_if(list, [&](const Candidate& c) {
    return c.weight < min_p * best;
  });
}

void keep_typical(Candidates& list, float typical_p) {
  std::erase_if(list, [](const Candidate& c) { return c.weight <= 0.0f; });
  const double total = mass(list);
  const float max = max_logit(list);
  // The surprise of a token is log total − (logit − max); entropy is its mean.
  double entropy = std::log(total);
  for (const Candidate& c : list) {
    entropy -= c.weight / total * (c.logit - max);
  }
  keep_prefix(list, typical_p * total, [&](const Candidate& c) {
    const double surprise = std::log(total) - (c.logit - max);
    return static_cast<float>(std::abs(surprise - entropy));
  });
  set_weights(list);
}

void drop_top_choices(Candidates& list, float threshold) {
  const double least = threshold * mass(list);
  const Candidate* kept = nullptr;
  int reached = 0;
  for (const Candidate& c : list) {
    if (c.weight < least) {
      continue;
    }
    ++reached;
    if (kept == nullptr || likelier(*kept, c)) {
      kept = &c;
    }
  }
  if (reached < 2) {
    return;
  }
  const std::int32_t keep = kept->token;
  std::erase_if(list, [&](const Candidate& c) {
    return c.weight >= least && c.token != keep;
  });
  set_weights(list);
}

bool truncates(
    std::size_t vocab,
    const SamplingOptions& options,
    double xtc_draw) {
  const bool top_k =
      options.top_k > 0 && static_cast<std::size_t>(options.top_k) < vocab;
  return top_k || options.typical_p < 1.0f || options.top_p < 1.0f ||
         options.min_p > 0.0f || xtc_draw < options.xtc_probability;
}

void truncate(
    std::span<const float> logits,
    const SamplingOptions& options,
    double xtc_draw,
    Candidates& out) {
  const bool top_k = options.top_k > 0 &&
                     static_cast<std::size_t>(options.top_k) < logits.size();
  const bool typical = options.typical_p < 1.0f;
  bool top_p = options.top_p < 1.0f;
  if (top_k) {
    select_top_k(logits, options.top_k, out);
  } else if (!typical && top_p) {
    select_top_p(logits, options.top_p, out);
    top_p = false;
  } else {
    select_above(logits, max_of(logits) + least_depth(options), out);
  }
  if (typical) {
    keep_typical(out, options.typical_p);
  }
  if (top_p) {
    keep_top_p(out, options.top_p);
  }
  if (options.min_p > 0.0f) {
    keep_min_p(out, options.min_p);
  }
  if (xtc_draw < options.xtc_probability) {
    drop_top_choices(out, options.xtc_threshold);
  }
}

}  // namespace roofline
