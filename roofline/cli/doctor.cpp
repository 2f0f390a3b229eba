#include "roofline/plan/doctor.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <sstream>

#include <fmt/format.h>
#include <mlx/device.h>

#include "roofline/base/cpu_features.h"
#include "roofline/base/errors.h"
#include "roofline/base/paths.h"
#include "roofline/base/thread_pool.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/mlx_version.h"
#include "roofline/cli/output.h"
#include "roofline/plan/machine.h"
#include "roofline/report/table.h"
#include "roofline/weights/checkpoint.h"

namespace roofline::cli {

namespace {

/// What a fixed shell command prints; empty when it fails.
std::string output_of(const char* command) {
  FILE* pipe = popen(command, "r");
  if (pipe == nullptr) {
    return "";
  }
  std::string text;
  std::array<char, 512> buffer;
  while (fgets(buffer.data(), buffer.size(), pipe) != nullptr) {
    text += buffer.data();
  }
  return pclose(pipe) == 0 ? text : "";
}

std::string line_of(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// Findings are sentences, which read badly in long lines.
constexpr int kWidest = 80;

/// Ends itself by an alarm when it takes longer than 5 s.
constexpr const char* kAskPython =
    "python3 -c 'import signal, sys, platform; signal.alarm(5)\n"
    "from importlib import metadata\n"
    "def v(n):\n"
    "    try: return metadata.version(n)\n"
    "    except Exception: return \"\"\n"
    "print(sys.executable, platform.python_version())\n"
    "print(v(\"mlx\"))\n"
    "print(v(\"mlx-lm\"))\n"
    "import re\n"
    "try: needs = metadata.requires(\"mlx-lm\") or []\n"
    "except Exception: needs = []\n"
    "found = [m[1] for n in needs for m in [re.match(\n"
    "    r\"mlx\\s*\\(?\\s*>=\\s*([0-9.]+)\", n)] if m]\n"
    "print(found[0] if found else \"\")' 2>/dev/null";

void ask_python(DoctorInputs& in) {
  std::istringstream lines(output_of(kAskPython));
  std::getline(lines, in.python);
  std::getline(lines, in.mlx_python);
  std::getline(lines, in.mlx_lm_python);
  std::getline(lines, in.mlx_lm_needs);
  if (const auto venv = environment("VIRTUAL_ENV")) {
    in.python_environment = "venv " + *venv;
  } else if (const auto conda = environment("CONDA_PREFIX")) {
    in.python_environment = "conda " + *conda;
  }
}

std::string bundled_model() {
  try {
    return Checkpoint::open(resolve_model(""))->path().string();
  } catch (const std::exception&) {
    return "";
  }
}

void measure_gpu(DoctorInputs& in) {
  try {
    const MachineProfile profile = gpu_profile();
    in.gpu = profile.cpu;
    in.gpu_bandwidth = profile.read_bandwidth;
  } catch (const std::exception&) {
    // Its memory is full, perhaps: the check says that there is no figure.
  }
}

void ask_mlx(DoctorInputs& in) {
  in.mlx_compiled = compiled_mlx_version();
  in.mlx_loaded = loaded_mlx_version();
  try {
    require_same_mlx(in.mlx_compiled, in.mlx_loaded);
    in.backend = mlx_backend();
    const bool gpu = mlx::core::default_device() == mlx::core::Device::gpu;
    in.default_device = gpu ? "gpu" : "cpu";
    in.mlx_package = mlx_package_near(loaded_mlx_path());
    if (gpu) {
      measure_gpu(in);
    }
  } catch (const UnsupportedError&) {
    // Asking a library of another version anything else is not safe.
    in.same_mlx = false;
    in.backend = "cpu";
  }
}

DoctorInputs gather_facts() {
  DoctorInputs in;
  in.cpu_share = measure_cpu_share();
  in.facts = machine_facts();
  ask_mlx(in);
  // A driver in trouble can hang for minutes.
  std::istringstream(output_of(
      "timeout 5 nvidia-smi --query-gpu=driver_version --format=csv,noheader "
      "2>/dev/null")) >>
      in.nvidia_driver;
  in.isa_best = isa_name(best_isa());
  in.amx_refused = amx_refused();
  try {
    in.isa_active = isa_name(active_isa());
  } catch (const UserError&) {
    in.isa_error = fmt::format(
        "ROOFLINE_ISA is {}, which can't be used here",
        environment("ROOFLINE_ISA").value_or(""));
    unsetenv("ROOFLINE_ISA");  // the other checks run with the best
  }
  in.cache = cache_dir();
  in.models = models_dir();
  in.cache_writable = can_write(in.cache);
  in.cache_free_bytes = free_bytes(in.cache);
  in.models_free_bytes = free_bytes(in.models);
  in.bandwidth = machine_profile(ThreadPool::default_threads()).read_bandwidth;
  in.bundled_model = bundled_model();
  ask_python(in);
  if (in.facts.macos) {
    in.xcode = line_of(output_of("xcode-select -p 2>/dev/null"));
  }
  return in;
}

class Doctor : public Command {
 public:
  void declare(App& app) override {
    app.add_flag("--strict", strict_, "Exit with 1 for warnings too.")
        ->group("Output");
    app.add_flag("--json", json_, "Print one JSON object.")->group("Output");
    app.footer(
        "Exit code: 0 when all is well or there are only warnings, 1 for a "
        "problem.\n"
        "\n"
        "Examples\n"
        "    roofline doctor\n"
        "    roofline doctor --strict --json");
  }

  int run() override {
    const std::vector<Check> checks = run_checks(gather_facts());
    if (json_) {
      print_json(checks);
    } else {
      Table table{{{"check"}, {"state"}, {"finding"}}, {}};
      for (const Check& check : checks) {
        table.rows.push_back(
            {check.name,
             check_state_name(check.state),
             check.fix.empty() ? check.finding
                               : check.finding + ". " + check.fix + "."});
      }
      write_text(table_text(table, std::min(kWidest, output_columns())));
    }
    return doctor_exit_code(checks, strict_);
  }

 private:
  void print_json(const std::vector<Check>& checks) const {
    auto list = nlohmann::ordered_json::array();
    for (const Check& check : checks) {
      list.push_back(
          {{"name", check.name},
           {"state", check_state_name(check.state)},
           {"finding", check.finding},
           {"fix", check.fix}});
    }
    write_json({{"checks", std::move(list)}});
  }

  bool strict_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_doctor() {
  return std::make_unique<Doctor>();
}

}  // namespace roofline::cli
