// The flags of `bench`, and the configurations that they name.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "roofline/cli/bench_setup.h"

namespace roofline::cli {

class App;

struct BenchFlags {
  std::vector<std::string> words;  ///< compare A B
  BenchOptions cases;
  std::optional<int> rounds, prefill_step;
  std::vector<int> batches;
  BenchSetup base;  ///< what is the same in all configurations
  std::string model, settings;
  std::vector<std::string> quants, devices = {"auto"};
  std::vector<int> kv_bits, threads;
  std::vector<std::string> peers, peer_programs;
  std::vector<std::string> reports;  ///< files
  std::string format = "table";
  bool compare_cpu = false;
  bool worker = false;
  bool json = false;
  double tolerance = 2;  ///< percent

  void declare(App& app);
  /// Fills in what no flag said, from the file of `settings` and defaults;
  /// returns remarks on what isn't measured. Throws UserError.
  std::vector<std::string> resolve();
  /// Throws UserError at a name that there isn't.
  void check_names() const;
  /// Every combination; guessing beside the same without it. Throws UserError
  /// for what doesn't go together.
  std::vector<BenchSetup> setups() const;
  /// The program that was given for a peer; empty: in PATH.
  std::string program_of(const std::string& peer) const;

 private:
  std::vector<std::string> take_settings();
  void declare_cases(App& app);
  void declare_setups(App& app);
  void declare_hidden(App& app);
  void declare_guessing(App& app);
  void declare_kv(App& app);
  void declare_output(App& app);
  void add_setups(const BenchSetup& setup, std::vector<BenchSetup>& out) const;
  std::vector<KvFlags> kv_formats() const;
  std::vector<std::string> compared_devices() const;
};

}  // namespace roofline::cli
