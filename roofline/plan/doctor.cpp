#include "roofline/plan/doctor.h"

#include <algorithm>

#include <fmt/format.h>

#include "roofline/plan/doctor_check.h"

namespace roofline {

namespace {

constexpr double kGb = 1e9;

Check check_isa(const DoctorInputs& in) {
  if (!in.isa_error.empty()) {
    return {
        "instructions",
        CheckState::problem,
        in.isa_error,
        fmt::format("Unset ROOFLINE_ISA; the best here is {}", in.isa_best)};
  }
  if (in.isa_active != in.isa_best) {
    return warning(
        "instructions",
        fmt::format(
            "{} is used, though {} is permitted",
            in.isa_active,
            in.isa_best),
        "Unset ROOFLINE_ISA");
  }
  if (in.amx_refused) {
    return warning(
        "instructions",
        in.isa_active +
            " is used; the processor has AMX, but the system "
            "doesn't permit its tiles",
        "Linux 5.16 or later permits them; a container's seccomp profile must "
        "allow arch_prctl");
  }
  return good("instructions", in.isa_active + " is permitted and used");
}

Check check_cores(const DoctorInputs& in) {
  const MachineFacts& facts = in.facts;
  std::string found = fmt::format(
      "{} of {} cores usable; a busy thread got {:.0f} % of one",
      facts.usable_cores,
      facts.all_cores,
      100 * in.cpu_share);
  if (facts.load_average) {
    found += fmt::format(", load {:.1f}", *facts.load_average);
  }
  // Less than a tenth is what any system takes for itself.
  constexpr double kUndisturbed = 0.9;
  return in.cpu_share < kUndisturbed
             ? warning(
                   "cores",
                   found + ": others take cores away",
                   "End what else runs, or use fewer --threads")
             : good("cores", found);
}

Check check_limits(const DoctorInputs& in) {
  const MachineFacts& facts = in.facts;
  const bool fewer_cores = facts.usable_cores < facts.all_cores;
  if (!facts.limit_bytes && !fewer_cores) {
    return good("limits", "No container takes memory or cores away");
  }
  std::string found =
      fewer_cores
          ? fmt::format("{} of {} cores", facts.usable_cores, facts.all_cores)
          : "All cores";
  if (!facts.limit_bytes) {
    return good("limits", found + " are permitted, and all memory");
  }
  const std::uint64_t used = facts.limit_used_bytes.value_or(0);
  const std::uint64_t left =
      *facts.limit_bytes > used ? *facts.limit_bytes - used : 0;
  found += fmt::format(
      " and {:.1f} of {:.1f} GB are permitted; {:.1f} GB of that are left",
      *facts.limit_bytes / kGb,
      facts.installed_bytes / kGb,
      left / kGb);
  // The bundled model answers with some 0.3 GB; one of 7B in 4 bits needs 4.
  const std::string fix =
      "Give the container more memory (docker run --memory, or the pod's "
      "limit)";
  if (left < kGb / 2) {
    return problem("limits", found, fix);
  }
  return left < 4 * kGb ? warning("limits", found, fix) : good("limits", found);
}

Check check_memory(const DoctorInputs& in) {
  const MachineFacts& facts = in.facts;
  std::string found = fmt::format("{:.1f} GB", facts.memory_bytes / kGb);
  if (facts.available_bytes) {
    found += fmt::format(", {:.1f} GB available", *facts.available_bytes / kGb);
  }
  if (facts.swap_used_bytes) {
    found += fmt::format(", {:.1f} GB swapped", *facts.swap_used_bytes / kGb);
  }
  if (facts.pressure_percent) {
    found +=
        fmt::format(", waited for {:.1f} % of 10 s", *facts.pressure_percent);
  }
  const int level = facts.pressure_level.value_or(1);
  if (level > 1) {
    found += level >= 4 ? ", memory pressure critical" : ", memory pressure";
  }
  const std::string fix =
      "End what else needs memory, or take a smaller model (`roofline memory "
      "--fit`)";
  const bool none_left = facts.available_bytes.value_or(UINT64_MAX) < kGb / 2;
  if (none_left || level >= 4) {
    return problem("memory", found, fix);
  }
  const bool swaps = facts.swap_used_bytes.value_or(0) > kGb / 10;
  const bool waits = facts.pressure_percent.value_or(0) > 5 || level > 1;
  return swaps || waits ? warning("memory", found, fix) : good("memory", found);
}

Check check_disk(const DoctorInputs& in) {
  if (!in.cache_free_bytes || !in.models_free_bytes) {
    return warning(
        "disk",
        "The system doesn't tell what is free",
        "Check the folders of ROOFLINE_CACHE and ROOFLINE_MODELS");
  }
  std::string found = fmt::format(
      "{:.1f} GB free for the cache, {:.1f} GB for models",
      *in.cache_free_bytes / kGb,
      *in.models_free_bytes / kGb);
  const auto least = std::min(*in.cache_free_bytes, *in.models_free_bytes);
  const char* fix =
      "Free some, or point ROOFLINE_CACHE and ROOFLINE_MODELS elsewhere";
  // Not even the bundled model's packed weights could be kept.
  if (least < kGb / 5) {
    return problem("disk", found, fix);
  }
  if (least < 2 * kGb) {
    return warning("disk", found, fix);
  }
  return good("disk", found);
}

Check check_cache(const DoctorInputs& in) {
  if (!in.cache_writable) {
    return problem(
        "cache",
        in.cache.string() + " can't be written",
        "Change its owner, or point ROOFLINE_CACHE at another folder");
  }
  return good("cache", in.cache.string() + " can be written");
}

Check check_bundled(const DoctorInputs& in) {
  return in.bundled_model.empty()
             ? warning(
                   "model",
                   "The bundled model isn't there",
                   "Run `make setup`, or name a model in each command")
             : good("model", in.bundled_model);
}

}  // namespace

std::vector<Check> run_checks(const DoctorInputs& in) {
  using Function = Check (*)(const DoctorInputs&);
  const Function table[] = {
      check_device,
      check_mlx,
      check_system,
      check_python,
      check_isa,
      check_cores,
      check_limits,
      check_memory,
      check_disk,
      check_cache,
      check_bandwidth,
      check_gpu_bandwidth,
      check_bundled};
  std::vector<Check> checks;
  for (const Function check : table) {
    checks.push_back(check(in));
  }
  return checks;
}

std::string check_state_name(CheckState state) {
  switch (state) {
    case CheckState::ok:
      return "ok";
    case CheckState::warning:
      return "warning";
    case CheckState::problem:
      return "problem";
  }
  return "unknown";
}

int doctor_exit_code(const std::vector<Check>& checks, bool strict) {
  const CheckState limit = strict ? CheckState::warning : CheckState::problem;
  return std::any_of(checks.begin(), checks.end(), [&](const Check& check) {
    return check.state >= limit;
  });
}

}  // namespace roofline
