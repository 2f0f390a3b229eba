#include "roofline/plan/history.h"

#include <algorithm>

#include <memory>
#include <system_error>

#include <sqlite3.h>

#include "roofline/base/paths.h"
#include "roofline/base/statistics.h"

namespace roofline {

namespace {

namespace fs = std::filesystem;

constexpr int kSchema = 2;
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
    "measured_prefill REAL, prefill_roof REAL, predicted_prefill REAL);"
    "PRAGMA user_version=2;";
/// The first one knew no prediction of prefill, and always assumed the same for
/// the program.
constexpr const char* kFromFirst =
    "ALTER TABLE runs ADD COLUMN prefill_roof REAL DEFAULT 0;"
    "ALTER TABLE runs ADD COLUMN predicted_prefill REAL DEFAULT 0;"
    "UPDATE runs SET assumed_runtime_bytes=36000000;"
    "PRAGMA user_version=2;";
constexpr const char* kInsert =
    "INSERT INTO runs VALUES("
    "NULL,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
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
    code = execute(db, schema == 0 ? kCreate : kFromFirst);
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

/// Shares of the roof: of one model, and of all.
class Shares {
 public:
  void add(double measured, double roof, bool own) {
    if (measured > 0 && roof > 0) {
      all_.push_back(measured / roof);
      if (own) {
        own_.push_back(measured / roof);
      }
    }
  }
  std::optional<double> median() const {
    const auto& shares = own_.size() >= kFewestRuns ? own_ : all_;
    return shares.size() < kFewestRuns
               ? std::nullopt
               : std::optional(std::clamp(median_of(shares), 0.01, 1.0));
  }

 private:
  std::vector<double> own_, all_;
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
    if (run.generated_tokens >= kFewestDecoded) {
      decode.add(run.measured_decode, run.decode_roof, own);
    }
    if (run.prompt_tokens - run.cached_tokens >= kFewestPrompted) {
      prefill.add(run.measured_prefill, run.prefill_roof, own);
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
