// What earlier runs on this machine took beside what was predicted: a small
// database in the cache folder, one row a run, the newest 10,000. Holds sizes
// and speeds, never a text. ROOFLINE_HISTORY=off keeps nothing. Nothing here
// throws for a database that can't be read or written: a run goes on without.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "roofline/plan/memory.h"
#include "roofline/plan/speed.h"

namespace roofline {

/// One run. A figure that isn't known is 0.
struct RunRecord {
  std::int64_t unix_seconds = 0;
  std::string version;
  std::string host;
  std::string processor;
  std::string device;  ///< "CPU, avx512, 2 threads"
  std::string isa;
  int threads = 0;
  std::string model;      ///< the file's or folder's name
  std::string model_key;  ///< Checkpoint::fingerprint()
  std::string quant;      ///< "as stored", "int4 (group 64)"
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;  ///< of the prompt
  std::int64_t generated_tokens = 0;
  std::int64_t predicted_peak_bytes = 0;
  /// Of the prediction: MemoryConstants::runtime_bytes.
  std::int64_t assumed_runtime_bytes = 0;
  std::int64_t measured_peak_bytes = 0;
  double decode_roof = 0;  ///< tokens a second, as are the rest
  double predicted_decode = 0;
  double measured_decode = 0;
  double measured_prefill = 0;
  double prefill_roof = 0;
  double predicted_prefill = 0;
  /// waited_share() at its end: how busy neighbours kept the cores.
  double waited_share = 0;
};

/// cache_dir()/history.db
std::filesystem::path history_path();

/// Adds a row. False: nothing was kept. A broken database is renamed to
/// history.db.broken and a new one begun; one of a newer version stays as it
/// is.
bool keep_run(const RunRecord& record) noexcept;

/// Newest first, at most `limit`; empty without a readable database.
std::vector<RunRecord> kept_runs(int limit);

/// What kept runs say of a machine.
struct Calibration {
  int runs = 0;
  MemoryConstants constants;
  /// Shares of the roof that were reached; absent with too few runs that tell
  /// them.
  std::optional<double> decode_efficiency;
  std::optional<double> prefill_efficiency;

  /// Takes over the shares that are known.
  void apply(MachineRates& rates) const;
};

/// The program's memory: what was assumed for it, plus the median of measured
/// less predicted peaks. Shares of the roof: medians of answers of at least 16
/// tokens and of prompts of at least 64, those of `model` (RunRecord::model)
/// alone where enough of them are kept. Counts runs of this host and version on
/// the CPU; absent with fewer than five of them. The program never takes less
/// than nothing nor more than 512 MB. Speeds of runs that waited for a core for
/// more than a tenth of their time count only where too few others are kept.
std::optional<Calibration> calibrate(
    std::span<const RunRecord> runs,
    const std::string& host,
    const std::string& version,
    const std::string& model = {});

}  // namespace roofline
