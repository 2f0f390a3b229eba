#include <fmt/format.h>
#include <fmt/ranges.h>

#include "roofline/base/cpu_features.h"
#include "roofline/base/thread_pool.h"
#include "roofline/cli/app.h"
#include "roofline/cli/command.h"
#include "roofline/cli/mlx_version.h"
#include "roofline/cli/output.h"

#ifndef ROOFLINE_VERSION
#define ROOFLINE_VERSION "unknown"
#endif

namespace roofline::cli {

namespace {

std::vector<std::string> available_sets() {
  std::vector<std::string> names;
  for (const Isa isa : runnable_isas()) {
    names.emplace_back(isa_name(isa));
  }
  return names;
}

class Version : public Command {
 public:
  void declare(App& app) override {
    app.add_flag("--json", json_, "Print JSON.")->group("Output");
    app.footer(
        "Examples\n"
        "    roofline version\n"
        "    ROOFLINE_ISA=avx2 roofline version --json");
  }

  int run() override {
    const std::string compiled = compiled_mlx_version();
    const std::string loaded = loaded_mlx_version();
    // Asking a library of another version anything else is not safe.
    require_same_mlx(compiled, loaded);
    if (json_) {
      write_json({
          {"roofline", ROOFLINE_VERSION},
          {"mlx", {{"compiled", compiled}, {"loaded", loaded}}},
          {"backend", mlx_backend()},
          {"cpu", cpu_name()},
          {"instruction_sets",
           {{"available", available_sets()},
            {"in_use", isa_name(active_isa())}}},
          {"threads", ThreadPool::default_threads()},
      });
      return kSuccess;
    }
    write_output(fmt::format(
        "roofline          {}\n"
        "MLX               {} (built with {})\n"
        "backend           {}\n"
        "processor         {}\n"
        "instruction sets  {}; in use: {}\n"
        "threads           {}\n",
        ROOFLINE_VERSION,
        loaded,
        compiled,
        mlx_backend(),
        cpu_name(),
        fmt::join(available_sets(), ", "),
        isa_name(active_isa()),
        ThreadPool::default_threads()));
    return kSuccess;
  }

 private:
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_version() {
  return std::make_unique<Version>();
}

}  // namespace roofline::cli
