#include "roofline/plan/doctor.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace roofline {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kGiga = 1'000'000'000;

/// A Linux machine without a GPU where nothing is wrong.
DoctorInputs healthy() {
  DoctorInputs in;
  in.facts.system = "Debian GNU/Linux 12";
  in.facts.usable_cores = 8;
  in.facts.all_cores = 8;
  in.facts.memory_bytes = 32 * kGiga;
  in.facts.installed_bytes = 32 * kGiga;
  in.facts.available_bytes = 20 * kGiga;
  in.facts.swap_used_bytes = 0;
  in.facts.pressure_percent = 0;
  in.mlx_compiled = "0.32.4";
  in.mlx_loaded = "0.32.4";
  in.backend = "cpu";
  in.default_device = "cpu";
  in.mlx_package = "mlx-cpu";
  in.isa_best = "avx512";
  in.isa_active = "avx512";
  in.cpu_share = 0.99;
  in.cache = "/home/x/.cache/roofline";
  in.models = "/home/x/models";
  in.cache_free_bytes = 100 * kGiga;
  in.models_free_bytes = 100 * kGiga;
  in.bandwidth = 40e9;
  in.bundled_model = "/x/model.gguf";
  in.python = "/usr/bin/python3 3.11.2";
  return in;
}

DoctorInputs mac() {
  DoctorInputs in = healthy();
  in.facts.macos = true;
  in.facts.system = "macOS 15.1";
  in.facts.pressure_percent.reset();
  in.facts.pressure_level = 1;
  in.backend = "metal";
  in.default_device = "gpu";
  in.gpu = "Apple M2 Pro";
  in.gpu_bandwidth = 180e9;
  in.mlx_package = "mlx-metal";
  in.xcode = "/Library/Developer/CommandLineTools";
  return in;
}

Check check_of(const DoctorInputs& in, const std::string& name) {
  for (const Check& check : run_checks(in)) {
    if (check.name == name) {
      return check;
    }
  }
  ADD_FAILURE() << "no check " << name;
  return {};
}

/// state, and parts of the finding and of the fix.
void expect(
    const DoctorInputs& in,
    const std::string& name,
    CheckState state,
    const std::string& finding,
    const std::string& fix = "") {
  const Check check = check_of(in, name);
  EXPECT_EQ(check_state_name(check.state), check_state_name(state)) << name;
  EXPECT_NE(check.finding.find(finding), std::string::npos) << check.finding;
  EXPECT_NE(check.fix.find(fix), std::string::npos) << check.fix;
  EXPECT_EQ(check.fix.empty(), state == CheckState::ok) << check.fix;
}

constexpr auto kOk = CheckState::ok;
constexpr auto kWarning = CheckState::warning;
constexpr auto kProblem = CheckState::problem;

TEST(Doctor, AHealthyMachineIsWellInAllChecks) {
  for (const DoctorInputs& in : {healthy(), mac()}) {
    const auto checks = run_checks(in);
    EXPECT_EQ(checks.size(), 13U);
    for (const Check& check : checks) {
      EXPECT_EQ(check.state, kOk) << check.name << ": " << check.finding;
      EXPECT_FALSE(check.finding.empty());
      EXPECT_TRUE(check.fix.empty());
    }
    EXPECT_EQ(doctor_exit_code(checks, true), 0);
  }
}

TEST(Doctor, SaysWhyTheDeviceWasChosen) {
  expect(healthy(), "device", kOk, "mlx-cpu has neither Metal nor CUDA");
  expect(mac(), "device", kOk, "Metal, Apple M2 Pro");
  DoctorInputs in = mac();
  in.default_device = "cpu";
  expect(in, "device", kWarning, "though it found Metal", "--device gpu");
}

TEST(Doctor, AMacWithoutMetalIsAProblemWithItsCause) {
  DoctorInputs in = mac();
  in.backend = "cpu";
  in.default_device = "cpu";
  expect(in, "device", kProblem, "found no Metal", "virtual machines");
  in.facts.system = "macOS 13.6";
  expect(in, "device", kProblem, "needs macOS 14.0", "Update macOS");
  in.facts.translated = true;
  expect(in, "device", kProblem, "Rosetta", "arm64");
}

TEST(Doctor, ADriverThatIsTooOldSaysWhichIsNeeded) {
  DoctorInputs in = healthy();
  in.mlx_package = "mlx-cuda-13";
  in.nvidia_driver = "570.12";
  expect(in, "device", kProblem, "mlx-cuda-13 needs 580", "cuda12");
  in.nvidia_driver = "470.1";
  expect(in, "device", kProblem, "470.1 is too old", "580 or later");
  in.mlx_package = "mlx-cuda-12";
  expect(in, "device", kProblem, "needs 550.54.14", "550.54.14 or later");
  in.nvidia_driver = "550.54.13";
  expect(in, "device", kProblem, "too old", "550.54.14");
}

TEST(Doctor, ACudaThatIsNotUsedNamesTheWayToUseIt) {
  DoctorInputs in = healthy();
  in.nvidia_driver = "580.65.06";
  expect(in, "device", kWarning, "has no CUDA", "ROOFLINE_BACKEND=cuda13");
  in.nvidia_driver = "560.1";
  expect(in, "device", kWarning, "has no CUDA", "ROOFLINE_BACKEND=cuda12");
  in.mlx_package = "mlx-cuda-12";
  expect(in, "device", kProblem, "finds no GPU", "--gpus all");
  in.nvidia_driver = "";
  expect(in, "device", kWarning, "no NVIDIA driver", "Install the NVIDIA");
  in.backend = "cuda";
  in.default_device = "gpu";
  expect(in, "device", kOk, "The GPU (CUDA)");
}

TEST(Doctor, AnotherLibmlxThanBuiltWithIsAProblem) {
  DoctorInputs in = healthy();
  in.mlx_loaded = "0.31.0";
  in.same_mlx = false;
  expect(in, "mlx", kProblem, "0.31.0", "make build");
}

TEST(Doctor, ToolsOfXcodeAreAskedForOnMacsOnly) {
  DoctorInputs in = mac();
  in.xcode = "";
  expect(in, "system", kWarning, "no Xcode", "xcode-select --install");
  expect(healthy(), "system", kOk, "Debian");
}

TEST(Doctor, PythonsPackagesAreToBeInStep) {
  DoctorInputs in = healthy();
  in.mlx_python = "0.32.4";
  in.mlx_lm_python = "0.31.3";
  in.mlx_lm_needs = "0.31.2";
  expect(in, "python", kOk, "mlx 0.32.4, mlx-lm 0.31.3");
  in.mlx_python = "0.32.4.dev20260101";
  expect(in, "python", kOk, "dev20260101");
  in.mlx_python = "0.32.40";
  expect(
      in,
      "python",
      kWarning,
      "this program has mlx 0.32.4",
      "pip install mlx==0.32.4");
  in.mlx_python = "0.29.0";
  expect(in, "python", kWarning, "needs mlx 0.31.2", "--upgrade mlx mlx-lm");
  in = healthy();
  in.python = "/usr/bin/python3 3.9.2";
  expect(in, "python", kWarning, "needs Python 3.10", "later Python");
  in.python = "";
  expect(in, "python", kOk, "No python3");
}

TEST(Doctor, AForcedInstructionSetIsAWarningABadOneAProblem) {
  DoctorInputs in = healthy();
  in.isa_active = "avx2";
  expect(in, "instructions", kWarning, "avx512 is permitted", "Unset");
  in.isa_error = "ROOFLINE_ISA can't be avx9";
  expect(in, "instructions", kProblem, "avx9", "the best here is avx512");
}

TEST(Doctor, TilesThatTheSystemWithholdsAreAWarning) {
  DoctorInputs in = healthy();
  in.amx_refused = true;
  expect(in, "instructions", kWarning, "has AMX", "seccomp");
  in.amx_refused = false;
  expect(in, "instructions", kOk, "avx512 is permitted and used");
}

TEST(Doctor, ANeighbourThatTakesCoresIsAWarning) {
  DoctorInputs in = healthy();
  in.cpu_share = 0.5;
  in.facts.load_average = 12;
  expect(in, "cores", kWarning, "got 50 % of one, load 12.0", "--threads");
}

TEST(Doctor, ContainersLimitsAreTold) {
  DoctorInputs in = healthy();
  expect(in, "limits", kOk, "No container");
  in.facts.usable_cores = 2;
  expect(in, "limits", kOk, "2 of 8 cores are permitted, and all memory");
  in.facts.limit_bytes = 16 * kGiga;
  in.facts.limit_used_bytes = kGiga;
  expect(in, "limits", kOk, "16.0 of 32.0 GB are permitted; 15.0 GB");
  in.facts.limit_bytes = 3 * kGiga;
  expect(in, "limits", kWarning, "2.0 GB of that are left", "--memory");
  in.facts.limit_used_bytes = 4 * kGiga;
  expect(in, "limits", kProblem, "0.0 GB of that are left", "--memory");
}

TEST(Doctor, SwapPressureAndFullMemoryAreTold) {
  DoctorInputs in = healthy();
  in.facts.swap_used_bytes = 2 * kGiga;
  expect(in, "memory", kWarning, "2.0 GB swapped", "smaller model");
  in = healthy();
  in.facts.pressure_percent = 12;
  expect(in, "memory", kWarning, "waited for 12.0 %", "smaller model");
  in = healthy();
  in.facts.available_bytes = kGiga / 10;
  expect(in, "memory", kProblem, "0.1 GB available", "--fit");
  in = mac();
  in.facts.pressure_level = 2;
  expect(in, "memory", kWarning, "memory pressure", "smaller model");
  in.facts.pressure_level = 4;
  expect(in, "memory", kProblem, "critical", "smaller model");
  // A system that tells nothing has nothing wrong.
  in.facts = {};
  expect(in, "memory", kOk, "0.0 GB");
}

TEST(Doctor, ADiskThatIsNearlyFullIsToldInTwoSteps) {
  DoctorInputs in = healthy();
  in.models_free_bytes = kGiga;
  expect(in, "disk", kWarning, "1.0 GB for models", "ROOFLINE_MODELS");
  in.cache_free_bytes = kGiga / 10;
  expect(in, "disk", kProblem, "0.1 GB free for the cache", "ROOFLINE_CACHE");
  in.cache_free_bytes.reset();
  expect(in, "disk", kWarning, "doesn't tell", "ROOFLINE_CACHE");
}

TEST(Doctor, ACacheThatCannotBeWrittenIsAProblem) {
  DoctorInputs in = healthy();
  in.cache_writable = false;
  expect(in, "cache", kProblem, "can't be written", "ROOFLINE_CACHE");
}

TEST(Doctor, BandwidthIsToldAndTheImplausibleQuestioned) {
  DoctorInputs in = healthy();
  expect(in, "bandwidth", kOk, "40.0 GB/s");
  expect(in, "gpu bandwidth", kOk, "no GPU");
  in.bandwidth = 1e6;
  expect(in, "bandwidth", kWarning, "isn't plausible", "machine.json");
  in.bandwidth.reset();
  expect(in, "bandwidth", kOk, "Not measured");
}

TEST(Doctor, AGpusBandwidthStandsBesideThePublished) {
  DoctorInputs in = mac();
  expect(in, "gpu bandwidth", kOk, "90 % of the 200 GB/s");
  in.gpu_bandwidth = 60e9;
  expect(in, "gpu bandwidth", kWarning, "30 %", "low-power mode");
  in.gpu = "A GPU of tomorrow";
  expect(in, "gpu bandwidth", kOk, "60 GB/s");
  in.gpu_bandwidth.reset();
  expect(in, "gpu bandwidth", kWarning, "couldn't be measured", "End");
}

TEST(Doctor, AMissingBundledModelIsAWarning) {
  DoctorInputs in = healthy();
  in.bundled_model = "";
  expect(in, "model", kWarning, "isn't there", "make setup");
}

TEST(Doctor, TheExitCodeCountsProblemsAndStrictlyWarnings) {
  DoctorInputs in = healthy();
  in.bundled_model = "";
  EXPECT_EQ(doctor_exit_code(run_checks(in), false), 0);
  EXPECT_EQ(doctor_exit_code(run_checks(in), true), 1);
  in.cache_writable = false;
  EXPECT_EQ(doctor_exit_code(run_checks(in), false), 1);
}

TEST(VersionBefore, ComparesNumbersNotText) {
  EXPECT_TRUE(version_before("550.9", "550.54.14"));
  EXPECT_FALSE(version_before("580.65.06", "580"));
  EXPECT_FALSE(version_before("580", "580.0"));
  EXPECT_TRUE(version_before("3.9.2", "3.10"));
  EXPECT_FALSE(version_before("", ""));
}

TEST(MlxPackageNear, IsToldByTheFolderBesideTheLibrary) {
  const fs::path root = fs::path(testing::TempDir()) / "roofline_mlx_package";
  fs::remove_all(root);
  fs::create_directories(root / "mlx" / "lib");
  const fs::path library = root / "mlx" / "lib" / "libmlx.so";
  EXPECT_EQ(mlx_package_near(library), "");
  fs::create_directories(root / "mlx-0.32.4.dist-info");
  EXPECT_EQ(mlx_package_near(library), "");
  fs::create_directories(root / "mlx_cuda_13-0.32.4.dist-info");
  EXPECT_EQ(mlx_package_near(library), "mlx-cuda-13");
  EXPECT_EQ(mlx_package_near(""), "");
  fs::remove_all(root);
}

TEST(DoctorFacts, AreFoundByTrying) {
  const double share = measure_cpu_share();
  EXPECT_GT(share, 0);
  EXPECT_LE(share, 1);
  EXPECT_TRUE(can_write(testing::TempDir()));
  EXPECT_FALSE(can_write("/no/such/folder"));
  EXPECT_GT(free_bytes("/no/such/folder").value_or(0), 0U);
}

}  // namespace
}  // namespace roofline
