#include "roofline/kernels/attention/plan.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "roofline/base/errors.h"

#include "roofline/base/round_up.h"

namespace roofline {

namespace {

/// Rows of a tile of queries in bfloat16 or integers, whose products are
/// quicker against the conversion, where there are so many keys that few of
/// them are masked.
constexpr int kRoundedRows = 192;
constexpr int kManyKeys = 1024;
/// On AMX's tiles, whose products are ten times as quick against the
/// conversion: as many as leave each thread its pieces, from these to
/// kMostTiledRows.
constexpr int kLeastTiledRows = 96;
/// A split below this many keys costs more to combine than it saves.
constexpr int kSplitKeys = 64;
/// Pieces a thread should find, so that a slow thread holds up no one long.
constexpr int kPiecesPerThread = 4;

/// Part of a segment inside positions [low, high), as a run.
KeyRun overlap(const KvSegment& segment, std::int64_t low, std::int64_t high) {
  const std::int64_t begin = std::max(low, segment.first_position);
  const std::int64_t end =
      std::min(high, segment.first_position + segment.count);
  if (begin >= end) {
    return {};
  }
  return {
      begin,
      segment.first_slot + static_cast<int>(begin - segment.first_position),
      static_cast<int>(end - begin)};
}

/// How a row's keys are cut.
struct Cut {
  int splits = 1;
  int each = 0;  ///< keys of a split but the last: whole tiles of keys

  bool operator==(const Cut&) const = default;
};

Cut cut_of(int keys, int most_splits) {
  const int wanted = std::max(1, std::min(most_splits, keys / kSplitKeys));
  const int each = ceil_div(ceil_div(keys, wanted), kKeyTile) * kKeyTile;
  return {std::max(1, ceil_div(keys, each)), each};
}

/// Splits that give so many threads their pieces, and each as many of them:
/// three heads in three splits would be 5 and 4.
int most_splits(int threads, int pieces) {
  const int wanted = threads * kPiecesPerThread;
  if (threads == 1 || pieces == 0 || pieces >= wanted) {
    return 1;
  }
  int splits = ceil_div(wanted, pieces);
  while (splits * pieces % threads != 0) {
    ++splits;
  }
  return splits;
}

/// Keys that the queries in [begin, end) see, together.
int seen_keys(const AttentionArgs& args, int begin, int end) {
  const std::int64_t high = args.first_position + end;
  std::int64_t low = 0;
  if (args.window_tokens) {
    low = args.first_position + begin - *args.window_tokens + 1;
  }
  int keys = 0;
  for (const KvSegment& segment : args.kv.segments) {
    keys += overlap(segment, low, high).count;
  }
  return keys;
}

/// The end of the tokens from `begin` on whose keys are cut as the first one's
/// alone are, so that each of them sums up in the same order as alone.
int end_of_alike(
    const AttentionArgs& args,
    int begin,
    int end,
    int most_splits) {
  const auto alone = [&](int token) {
    return cut_of(seen_keys(args, token, token + 1), most_splits);
  };
  const Cut first = alone(begin);
  int token = begin + 1;
  while (token < end && alone(token) == first) {
    ++token;
  }
  return token;
}

}  // namespace

std::size_t attention_scratch_floats(int rows, const KvView& kv) {
  const auto dims = [](int n, const KvCodes& codes) {
    return static_cast<std::size_t>(padded_dims(n, codes));
  };
  const auto groups = [](const KvCodes& codes) {
    return static_cast<std::size_t>(codes.bits > 0 ? codes.groups() : 0);
  };
  constexpr std::size_t tile = kKeyTile;
  const auto r = static_cast<std::size_t>(rows);
  const std::size_t both = dims(kv.head_dim, kv.key_codes) +
                           dims(kv.dims_of_value(), kv.value_codes);
  const std::size_t scales =
      2 * tile * (groups(kv.key_codes) + groups(kv.value_codes));
  const std::size_t floats = r * both + r * tile + both * tile + 2 * r + scales;
  // Whole cache lines, so that workers don't share one.
  return (floats + 15) / 16 * 16;
}

std::size_t bf16_scratch_floats(int rows, const KvView& kv) {
  constexpr std::size_t kLanes = 16;  // of a row's total
  constexpr std::size_t keys = kBfloat16Keys;
  const auto r = static_cast<std::size_t>(rows);
  const auto dims = static_cast<std::size_t>(kv.head_dim);
  const std::size_t copy = kv.any_codes() ? keys * dims / 2 : 0;
  const std::size_t floats = r * (dims + dims / 2 + kLanes + 1) + keys * dims +
                             kBfloat16Group * keys + copy;
  return (floats + 15) / 16 * 16;
}

std::size_t tiled_scratch_floats(int rows, const KvView& kv) {
  constexpr std::size_t kPair = 32;  // rows come in such groups
  constexpr std::size_t kLine = 16;  // to begin on a cache line
  const auto dims = static_cast<std::size_t>(kv.head_dim);
  const std::size_t all = (static_cast<std::size_t>(rows) + kPair - 1) / kPair;
  const std::size_t row = dims + dims / 2 + 2;
  const std::size_t copy = kv.any_codes() ? kTiledKeys * dims / 2 : 0;
  return kPair * (all * row + kTiledKeys) + kTiledKeys * dims + copy + kLine;
}

int AttentionPlan::tile_rows(const Tile& tile) const {
  const AttentionArgs& args = args_[static_cast<std::size_t>(tile.args)];
  return (tile.token_end - tile.token_begin) * (args.heads / args.kv.kv_heads);
}

bool AttentionPlan::choose(int threads, AttentionProducts products) {
  const bool rounds = products == AttentionProducts::bfloat16;
  const AttentionKernels* kernels = &attention_kernels();
  const ManyRows many = rounds ? bf16_rows() : nullptr;
  const bool whole = rounds && kernels->whole_rows != nullptr;
  const bool row_by_row = products == AttentionProducts::row_by_row;
  auto chosen =
      std::tie(kernels_, bf16_rows_, whole_rows_, row_by_row_, threads_);
  const auto wanted = std::tuple(kernels, many, whole, row_by_row, threads);
  const bool changed = chosen != wanted;
  chosen = wanted;
  return changed;
}

void AttentionPlan::prepare(
    std::span<const AttentionArgs> args,
    int threads,
    AttentionProducts products) {
  const bool changed = choose(threads, products);
  args_ = args;
  if (changed || !known_.alike(args)) {
    known_.forget();
    cut();
    known_.keep(args);
  }
  for (int i = 0; i < groups_; ++i) {
    done_[static_cast<std::size_t>(i)].store(0, std::memory_order_relaxed);
  }
}

void AttentionPlan::cut() {
  tiles_.clear();
  pieces_.clear();
  runs_.clear();
  ends_.clear();
  partial_floats_ = 0;
  groups_ = 0;
  scratch_each_ = 0;
  int alone_pieces = 0;  // as if each call had one tile
  for (const AttentionArgs& each : args_) {
    alone_pieces += each.kv.kv_heads;
  }
  most_splits_ = most_splits(threads_, alone_pieces);
  int base_pieces = 0;
  for (std::size_t i = 0; i < args_.size(); ++i) {
    const std::size_t before = tiles_.size();
    add_tiles(static_cast<int>(i));
    base_pieces +=
        static_cast<int>(tiles_.size() - before) * args_[i].kv.kv_heads;
  }
  if (!row_by_row_) {
    most_splits_ = most_splits(threads_, base_pieces);
  }
  for (std::size_t i = 0; i < tiles_.size(); ++i) {
    cut_keys(tiles_[i]);
    add_pieces(static_cast<int>(i));
  }
  // Late queries see most keys: the long pieces go first.
  std::stable_sort(
      pieces_.begin(),
      pieces_.end(),
      [&](const Piece& a, const Piece& b) {
        const Tile& x = tiles_[static_cast<std::size_t>(a.tile)];
        const Tile& y = tiles_[static_cast<std::size_t>(b.tile)];
        return x.keys / x.splits > y.keys / y.splits;
      });
  scratch_.resize(std::max(
      scratch_.size(),
      scratch_each_ * static_cast<std::size_t>(threads_)));
  partials_.resize(std::max(partials_.size(), partial_floats_));
  if (groups_ > done_capacity_) {
    done_capacity_ = groups_;
    done_ =
        std::make_unique<std::atomic<int>[]>(static_cast<std::size_t>(groups_));
  }
}

bool AttentionPlan::is_tiled(const AttentionArgs& args) const {
  return bf16_rows_ != nullptr && active_isa() == Isa::amx &&
         fits_bf16_rows(args);
}

int AttentionPlan::tiled_rows(const AttentionArgs& args) const {
  const std::int64_t all = std::int64_t{args.tokens} * args.heads;
  const std::int64_t even = all / (std::int64_t{kPiecesPerThread} * threads_);
  return static_cast<int>(
      std::clamp<std::int64_t>(even, kLeastTiledRows, kMostTiledRows));
}

AttentionPlan::Kernel AttentionPlan::kernel_of(
    const AttentionArgs& args,
    int rows) const {
  // Over codes few rows round what they meet to 16 bits: not beside float32.
  const KvView& kv = args.kv;
  const bool exact = kv.any_codes() && kv.type == KvType::f32;
  if (rows <= kernels_->most_few_rows && !exact) {
    return Kernel::few_rows;
  }
  if (bf16_rows_ != nullptr && fits_bf16_rows(args)) {
    return Kernel::bfloat16;
  }
  const bool whole = whole_rows_ && kv.type == KvType::f16;
  return whole ? Kernel::whole_rows : Kernel::many_rows;
}

std::size_t AttentionPlan::scratch_of(const Tile& tile) const {
  const AttentionArgs& args = args_[static_cast<std::size_t>(tile.args)];
  const int rows = tile_rows(tile);
  if (kernel_of(args, rows) != Kernel::bfloat16) {
    return attention_scratch_floats(rows, args.kv);
  }
  return is_tiled(args) ? tiled_scratch_floats(rows, args.kv)
                        : bf16_scratch_floats(rows, args.kv);
}

void AttentionPlan::add_tiles(int index) {
  const AttentionArgs& args = args_[static_cast<std::size_t>(index)];
  if (args.kv.kv_heads < 1 || args.heads % args.kv.kv_heads != 0) {
    fail<BugError>(
        "attend: heads is not a multiple of kv_heads",
        "each key-value head serves the same number of query heads",
        "Check the ModelSpec");
  }
  const int group = args.heads / args.kv.kv_heads;
  const bool tiled = is_tiled(args);
  const Kernel kernel = kernel_of(args, kTargetRows);
  const bool many =
      (kernel == Kernel::bfloat16 || kernel == Kernel::whole_rows) &&
      args.first_position + args.tokens > kManyKeys;
  const int rows = tiled ? tiled_rows(args) : many ? kRoundedRows : kTargetRows;
  const int step = std::max(1, rows / group);
  for (int begin = 0; begin < args.tokens; begin = tiles_.back().token_end) {
    Tile tile;
    tile.args = index;
    tile.token_begin = begin;
    tile.token_end = std::min(args.tokens, begin + step);
    if (row_by_row_) {
      tile.token_end = end_of_alike(args, begin, tile.token_end, most_splits_);
    }
    tile.keys = seen_keys(args, begin, tile.token_end);
    tiles_.push_back(tile);
    scratch_each_ = std::max(scratch_each_, scratch_of(tile));
  }
}

/// Writes the runs of each split of a tile, of about equal length.
void AttentionPlan::cut_keys(Tile& tile) {
  const AttentionArgs& args = args_[static_cast<std::size_t>(tile.args)];
  const std::int64_t high = args.first_position + tile.token_end;
  std::int64_t low = 0;
  if (args.window_tokens) {
    low = args.first_position + tile.token_begin - *args.window_tokens + 1;
  }
  const auto [splits, each] = cut_of(tile.keys, most_splits_);
  tile.splits = splits;
  tile.first_run = static_cast<int>(ends_.size());
  int room = each;
  for (const KvSegment& segment : args.kv.segments) {
    KeyRun run = overlap(segment, low, high);
    while (run.count > 0) {
      if (room == 0) {
        ends_.push_back(static_cast<int>(runs_.size()));
        room = each;
      }
      int count = std::min(run.count, room);
      const int full = args.kv.full_slots - run.slot;
      if (full > 0 && args.kv.any_codes()) {
        count = std::min(count, full);
      }
      runs_.push_back({run.position, run.slot, count});
      run.position += count;
      run.slot += count;
      run.count -= count;
      room -= count;
    }
  }
  ends_.push_back(static_cast<int>(runs_.size()));
}

void AttentionPlan::add_pieces(int tile_index) {
  const Tile& tile = tiles_[static_cast<std::size_t>(tile_index)];
  const AttentionArgs& args = args_[static_cast<std::size_t>(tile.args)];
  const std::size_t floats =
      static_cast<std::size_t>(tile_rows(tile)) *
      static_cast<std::size_t>(args.kv.dims_of_value() + 2);
  for (int head = 0; head < args.kv.kv_heads; ++head) {
    for (int split = 0; split < tile.splits; ++split) {
      pieces_.push_back({tile_index, head, split, groups_, partial_floats_});
      if (tile.splits > 1) {
        partial_floats_ += floats;
      }
    }
    if (tile.splits > 1) {
      ++groups_;
    }
  }
}

int AttentionPlan::run(int index, int worker) {
  const Piece& piece = pieces_[static_cast<std::size_t>(index)];
  const Tile& tile = tiles_[static_cast<std::size_t>(piece.tile)];
  const std::size_t split =
      static_cast<std::size_t>(tile.first_run + piece.split);
  const int begin = split == 0 ? 0 : ends_[split - 1];
  AttentionTask task;
  task.args = &args_[static_cast<std::size_t>(tile.args)];
  task.kv_head = piece.kv_head;
  task.token_begin = tile.token_begin;
  task.token_end = tile.token_end;
  task.runs = runs_.data() + begin;
  task.run_count = ends_[split] - begin;
  task.scratch =
      scratch_.data() + scratch_each_ * static_cast<std::size_t>(worker);
  task.partial = tile.splits > 1 ? partials_.data() + piece.partial : nullptr;
  const int rows = row_by_row_ ? task.group() : task.rows();
  switch (kernel_of(*task.args, rows)) {
    case Kernel::few_rows:
      kernels_->few_rows(task);
      break;
    case Kernel::bfloat16:
      bf16_rows_(task);
      break;
    case Kernel::whole_rows:
      kernels_->whole_rows(task);
      break;
    case Kernel::many_rows:
      kernels_->many_rows(task);
      break;
  }
  if (tile.splits > 1) {
    std::atomic<int>& done = done_[static_cast<std::size_t>(piece.group)];
    if (done.fetch_add(1, std::memory_order_acq_rel) + 1 < tile.splits) {
      return -1;
    }
    combine(piece);
  }
  return piece.kv_head;
}

/// Weighs each split's sums by exp(its largest score - the largest of all).
void AttentionPlan::combine(const Piece& piece) {
  const Tile& tile = tiles_[static_cast<std::size_t>(piece.tile)];
  const AttentionArgs& args = args_[static_cast<std::size_t>(tile.args)];
  const int dims = args.kv.dims_of_value();
  const int rows = tile_rows(tile);
  const int group = args.heads / args.kv.kv_heads;
  const std::size_t row_floats = static_cast<std::size_t>(dims + 2);
  const std::size_t block = static_cast<std::size_t>(rows) * row_floats;
  const float* first = partials_.data() + piece.partial -
                       static_cast<std::size_t>(piece.split) * block;
  for (int r = 0; r < rows; ++r) {
    const float* row = first + static_cast<std::size_t>(r) * row_floats;
    float largest = row[dims];
    for (int s = 1; s < tile.splits; ++s) {
      largest = std::max(
          largest,
          row[static_cast<std::size_t>(s) * block + row_floats - 2]);
    }
    const std::int64_t token = tile.token_begin + r / group;
    const std::int64_t head = piece.kv_head * group + r % group;
    float* out = args.out + token * args.out_stride + head * dims;
    std::fill(out, out + dims, 0.0f);
    float total = 0.0f;
    for (int s = 0; s < tile.splits; ++s) {
      const float* part = row + static_cast<std::size_t>(s) * block;
      const float weight = std::exp(part[dims] - largest);
      total += weight * part[dims + 1];
      for (int d = 0; d < dims; ++d) {
        out[d] += weight * part[d];
      }
    }
    if (args.sinks) {
      total += std::exp(args.sinks[head] - largest);
    }
    for (int d = 0; d < dims; ++d) {
      out[d] /= total;
    }
  }
}

}  // namespace roofline
