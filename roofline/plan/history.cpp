#include "roofline/plan/history.h"

#include <algorithm>
#include <array>

#include <memory>
#include <system_error>

#include <sqlite3.h>

#include "roofline/base/paths.h"
#include "roofline/base/statistics.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;

constexpr int kSchema = 3;
// A neighbour holds the lock for a millisecond; a run doesn't wait for more.
constexpr int kBusyMilliseconds = 250;

constexpr const char* kCreate =
    "CREATE TABLE IF NOT EXISTS runs("
    "id INTEGER PRIMARY KEY, unix_seconds INTEGER, version TEXT, host TEXT, "
    "processor TEXT, device TEXT, isa TEXT, threads INTEGER, model TEXT, "
    "model_key TEXT, quant TEXT, prompt_tokens INTEGER, cached_tokens INTEGER, "
    "generated_tokens INTEGER, predicted_peak_bytes INTEGER, "
    "assumed_runtime_bytes INTEGER, measured_peak_bytes INTEGER, "
    "decode_roof REAL, predicted_decode REAL, measured_decode REAL, "
    "measured_prefill REAL, prefill_roof REAL, predicted_prefill REAL, "
    "waited_share REAL);"
    "PRAGMA user_version=3;";
/// The first one knew no prediction of prefill, and always assumed the same for
/// the program.
constexpr const char* kFromFirst =
    "ALTER TABLE runs ADD COLUMN prefill_roof REAL DEFAULT 0;"
    "ALTER TABLE runs ADD COLUMN predicted_prefill REAL DEFAULT 0;"
    "UPDATE runs SET assumed_runtime_bytes=36000000;";
/// The second one didn't know who else used the cores.
constexpr const char* kFromSecond =
    "ALTER TABLE runs ADD COLUMN waited_share REAL DEFAULT 0;"
    "PRAGMA user_version=3;";
constexpr const char* kInsert =
    "INSERT INTO runs VALUES("
    "NULL,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
constexpr const char* kBound =
    "DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - 10000";
constexpr const char* kSelect = "SELECT * FROM runs ORDER BY id DESC LIMIT ?";

struct Closer {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
  void operator()(sqlite3_stmt* statement) const {
    sqlite3_finalize(statement);
  }
};
using Database = std::unique_ptr<sqlite3, Closer>;
using Statement = std::unique_ptr<sqlite3_stmt, Closer>;

Database open(int flags) {
  std::error_code error;
  const fs::path path = history_path();
  if (fs::exists(path, error) && !fs::is_regular_file(path, error)) {
    return nullptr;
  }
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
  Database db(raw);
  if (code != SQLITE_OK) {
    return nullptr;
  }
  sqlite3_busy_timeout(raw, kBusyMilliseconds);
  return db;
}

Statement prepare(sqlite3* db, const char* sql) {
  sqlite3_stmt* raw = nullptr;
  sqlite3_prepare_v2(db, sql, -1, &raw, nullptr);
  return Statement(raw);
}

int execute(sqlite3* db, const char* sql) {
  return sqlite3_exec(db, sql, nullptr, nullptr, nullptr);
}

/// -1 when it can't be read.
int schema_of(sqlite3* db) {
  const Statement statement = prepare(db, "PRAGMA user_version");
  return statement && sqlite3_step(statement.get()) == SQLITE_ROW
             ? sqlite3_column_int(statement.get(), 0)
             : -1;
}

/// Calls visit(column, member) for every column but the id.
template <class Record, class Visit>
void for_each_column(Record& r, const Visit& visit) {
  int i = 1;
  visit(i++, r.unix_seconds);
  visit(i++, r.version);
  visit(i++, r.host);
  visit(i++, r.processor);
  visit(i++, r.device);
  visit(i++, r.isa);
  visit(i++, r.threads);
  visit(i++, r.model);
  visit(i++, r.model_key);
  visit(i++, r.quant);
  visit(i++, r.prompt_tokens);
  visit(i++, r.cached_tokens);
  visit(i++, r.generated_tokens);
  visit(i++, r.predicted_peak_bytes);
  visit(i++, r.assumed_runtime_bytes);
  visit(i++, r.measured_peak_bytes);
  visit(i++, r.decode_roof);
  visit(i++, r.predicted_decode);
  visit(i++, r.measured_decode);
  visit(i++, r.measured_prefill);
  visit(i++, r.prefill_roof);
  visit(i++, r.predicted_prefill);
  visit(i++, r.waited_share);
}

struct Binder {
  sqlite3_stmt* to;
  void operator()(int i, const std::string& text) const {
    const auto size = static_cast<int>(text.size());
    sqlite3_bind_text(to, i, text.c_str(), size, nullptr);
  }
  void operator()(int i, double value) const {
    sqlite3_bind_double(to, i, value);
  }
  void operator()(int i, std::int64_t value) const {
    sqlite3_bind_int64(to, i, value);
  }
  void operator()(int i, int value) const { sqlite3_bind_int(to, i, value); }
};

struct Reader {
  sqlite3_stmt* from;
  void operator()(int i, std::string& text) const {
    const auto* bytes = sqlite3_column_text(from, i);
    text = bytes ? reinterpret_cast<const char*>(bytes) : "";
  }
  void operator()(int i, double& value) const {
    value = sqlite3_column_double(from, i);
  }
  void operator()(int i, std::int64_t& value) const {
    value = sqlite3_column_int64(from, i);
  }
  void operator()(int i, int& value) const {
    value = sqlite3_column_int(from, i);
  }
};

int insert(sqlite3* db, const RunRecord& record) {
  const Statement statement = prepare(db, kInsert);
  if (!statement) {
    return sqlite3_errcode(db);
  }
  for_each_column(record, Binder{statement.get()});
  const int code = sqlite3_step(statement.get());
  return code == SQLITE_DONE ? SQLITE_OK : code;
}

/// Makes the table, or adds what it lacks.
int bring_up(sqlite3* db, int schema) {
  if (schema == 0) {
    return execute(db, kCreate);
  }
  const int code = schema == 1 ? execute(db, kFromFirst) : SQLITE_OK;
  return code == SQLITE_OK ? execute(db, kFromSecond) : code;
}

int add(sqlite3* db, const RunRecord& record) {
  // A run's end doesn't wait for the disk; what a power cut breaks is begun
  // anew.
  execute(db, "PRAGMA synchronous=OFF");
  int code = execute(db, "BEGIN IMMEDIATE");
  if (code != SQLITE_OK) {
    return code;
  }
  const int schema = schema_of(db);
  if (schema < 0 || schema > kSchema) {
    return SQLITE_MISUSE;
  }
  if (schema < kSchema) {
    code = bring_up(db, schema);
  }
  if (code == SQLITE_OK) {
    code = insert(db, record);
  }
  if (code == SQLITE_OK) {
    code = execute(db, kBound);
  }
  return code == SQLITE_OK ? execute(db, "COMMIT") : code;
}

int keep(const RunRecord& record) {
  const Database db = open(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  return db ? add(db.get(), record) : SQLITE_CANTOPEN;
}

constexpr std::size_t kFewestRuns = 5;
constexpr double kMostRuntime = 512e6;
/// Shorter ones are mostly overhead.
constexpr std::int64_t kFewestDecoded = 16;
constexpr std::int64_t kFewestPrompted = 64;
/// A run that waited longer for a core tells of its neighbours.
constexpr double kMostWaited = 0.1;

/// Shares of the roof: of one model, and of all; undisturbed, and all.
class Shares {
 public:
  void add(double measured, double roof, bool own, bool disturbed) {
    if (measured <= 0 || roof <= 0) {
      return;
    }
    for (const bool with_others : {false, true}) {
      for (const bool disturbed_too : {false, true}) {
        if ((own || with_others) && (!disturbed || disturbed_too)) {
          of(with_others, disturbed_too).push_back(measured / roof);
        }
      }
    }
  }
  /// Of the narrowest that are enough: undisturbed before this model's own,
  /// since neighbours change a speed by more than models do.
  std::optional<double> median() const {
    for (const auto& shares : shares_) {
      if (shares.size() >= kFewestRuns) {
        return std::clamp(median_of(shares), 0.01, 1.0);
      }
    }
    return std::nullopt;
  }

 private:
  std::vector<double>& of(bool with_others, bool disturbed_too) {
    return shares_[(disturbed_too ? 2 : 0) + (with_others ? 1 : 0)];
  }

  std::array<std::vector<double>, 4> shares_;
};

}  // namespace

void Calibration::apply(MachineRates& rates) const {
  rates.decode_efficiency = decode_efficiency.value_or(rates.decode_efficiency);
  rates.prefill_efficiency =
      prefill_efficiency.value_or(rates.prefill_efficiency);
}

fs::path history_path() {
  return cache_dir() / "history.db";
}

bool keep_run(const RunRecord& record) noexcept {
  try {
    if (environment("ROOFLINE_HISTORY") == "off") {
      return false;
    }
    int code = keep(record);
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) {
      fs::path aside = history_path();
      aside += ".broken";
      std::error_code error;
      fs::rename(history_path(), aside, error);
      code = error ? code : keep(record);
    }
    return code == SQLITE_OK;
  } catch (...) {
    return false;
  }
}

std::vector<RunRecord> kept_runs(int limit) {
  std::vector<RunRecord> runs;
  const Database db = open(SQLITE_OPEN_READONLY);
  if (!db || schema_of(db.get()) != kSchema) {
    return runs;
  }
  const Statement statement = prepare(db.get(), kSelect);
  if (!statement) {
    return runs;
  }
  sqlite3_bind_int(statement.get(), 1, limit);
  while (sqlite3_step(statement.get()) == SQLITE_ROW) {
    for_each_column(runs.emplace_back(), Reader{statement.get()});
  }
  return runs;
}

std::optional<Calibration> calibrate(
    std::span<const RunRecord> runs,
    const std::string& host,
    const std::string& version,
    const std::string& model) {
  std::vector<double> programs;
  Shares decode;
  Shares prefill;
  for (const RunRecord& run : runs) {
    const bool counts = run.host == host && run.version == version &&
                        run.device.rfind("CPU", 0) == 0 &&
                        run.predicted_peak_bytes > 0 &&
                        run.measured_peak_bytes > 0;
    if (!counts) {
      continue;
    }
    programs.push_back(
        static_cast<double>(run.assumed_runtime_bytes) +
        static_cast<double>(run.measured_peak_bytes) -
        static_cast<double>(run.predicted_peak_bytes));
    const bool own = run.model == model;
    const bool disturbed = run.waited_share > kMostWaited;
    if (run.generated_tokens >= kFewestDecoded) {
      decode.add(run.measured_decode, run.decode_roof, own, disturbed);
    }
    if (run.prompt_tokens - run.cached_tokens >= kFewestPrompted) {
      prefill.add(run.measured_prefill, run.prefill_roof, own, disturbed);
    }
  }
  if (programs.size() < kFewestRuns) {
    return std::nullopt;
  }
  Calibration out;
  out.runs = static_cast<int>(programs.size());
  out.constants = default_memory_constants();
  out.constants.runtime_bytes = static_cast<std::uint64_t>(
      std::clamp(median_of(programs), 0.0, kMostRuntime));
  out.decode_efficiency = decode.median();
  out.prefill_efficiency = prefill.median();
  return out;
}

}  // namespace roofline
