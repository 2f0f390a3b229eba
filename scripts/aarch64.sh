#!/usr/bin/env bash
# Builds for 64-bit Arm with a cross compiler and runs the tests under
# qemu-user: the kernels on a processor with every instruction set and on one
# without i8mm, the steps of whole models, and one answer of the program.
# Figures of speed mean nothing there.
#
# Needs Debian (packages of both architectures from one mirror). What it brings
# goes under build/; only the compiler, qemu and Rust's target are installed.
#
# usage: aarch64.sh [setup|kernels|models|answer]...     none named: all
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/versions.env
. scripts/versions.env
# shellcheck source=scripts/env.sh
. scripts/env.sh

sysroot=$PWD/build/aarch64-sysroot
build=$PWD/build/aarch64
libraries="libc6-dev libstdc++6 libfmt-dev nlohmann-json3-dev libcli11-dev
 libcurl4-openssl-dev libsqlite3-dev libtomlplusplus-dev libyaml-cpp-dev
 libgtest-dev"

say() { printf 'aarch64: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install_tools() {
  command -v apt-get >/dev/null ||
    die "This needs Debian's packages (apt-get). On an Arm machine, run make test."
  if ! command -v aarch64-linux-gnu-g++ >/dev/null ||
    ! command -v qemu-aarch64 >/dev/null; then
    say "apt installs the cross compiler and qemu"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
      --no-install-recommends g++-aarch64-linux-gnu qemu-user \
      >/dev/null </dev/null || die "apt could not install them."
  fi
  # The toolchain that builds bridge/ is the one that needs the target.
  if [ ! -d "$(rustc --print sysroot)/lib/rustlib/aarch64-unknown-linux-gnu" ]; then
    say "rustup adds the target aarch64-unknown-linux-gnu"
    rustup target add aarch64-unknown-linux-gnu ||
      die "Rust has no library for aarch64-unknown-linux-gnu here."
  fi
}

# Arm's packages with all they depend on, unpacked and not installed: apt works
# on lists and a state of its own, the system's stay as they are.
install_libraries() {
  local apt=$sysroot.apt package
  rm -rf "$sysroot" "$apt"
  mkdir -p "$sysroot" "$apt/state/lists/partial" "$apt/cache/archives/partial"
  : >"$apt/status"
  local options=(-qq -o "Dir::State=$apt/state" -o "Dir::Cache=$apt/cache"
    -o "Dir::State::status=$apt/status" -o APT::Architecture=arm64
    -o APT::Architectures::=arm64 -o Debug::NoLocking=true)
  say "apt brings the libraries for Arm"
  apt-get "${options[@]}" update || say "apt-get update had errors; going on"
  # shellcheck disable=SC2086
  apt-get "${options[@]}" install -y --no-install-recommends --download-only \
    $libraries >/dev/null || die "apt has no packages for arm64."
  for package in "$apt"/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$sysroot"
  done
  # What links point to absolutely is meant below the sysroot.
  local link target
  find "$sysroot" -type l -lname '/*' | while read -r link; do
    target=$(readlink "$link")
    ln -sfn "$sysroot$target" "$link"
  done
  rm -rf "$apt"
}

install_mlx() {
  say "pip brings MLX for Arm"
  mkdir -p "$sysroot/mlx/wheels"
  .venv/bin/python -m pip download --quiet --disable-pip-version-check \
    --no-deps --dest "$sysroot/mlx/wheels" --only-binary=:all: \
    --platform manylinux_2_35_aarch64 --implementation cp --python-version 311 \
    "mlx==$MLX_VERSION" "mlx-cpu==$MLX_VERSION" ||
    die "pip could not bring MLX's wheels for Arm."
  local wheel
  for wheel in "$sysroot"/mlx/wheels/*.whl; do
    .venv/bin/python -m zipfile -e "$wheel" "$sysroot/mlx"
  done
  rm -rf "$sysroot/mlx/wheels"
}

setup() {
  install_tools
  local wanted="$MLX_VERSION $libraries"
  [ "$(cat "$sysroot/installed" 2>/dev/null)" = "$wanted" ] && return
  install_libraries
  install_mlx
  printf '%s' "$wanted" >"$sysroot/installed"
}

configure() {
  [ -f "$build/build.ninja" ] || cmake --preset aarch64 >&2
}

build_targets() {
  configure
  cmake --build "$build" --target "$@" >&2
}

# Runs a built program as an Arm processor of the given kind would.
emulate() {
  local cpu=$1
  shift
  qemu-aarch64 -cpu "$cpu" -L "$sysroot" \
    -E "LD_LIBRARY_PATH=$sysroot/usr/lib/aarch64-linux-gnu" "$@"
}

# The instruction sets that a processor's tests run for are in their names.
require_sets() {
  local cpu=$1 wanted=$2 found
  found=$(emulate "$cpu" "$build/kernels_tests" --gtest_list_tests \
    --gtest_filter='*IsaTable*' |
    sed -n 's,^ *EveryOpRunsTheForcedVariant/\([a-z0-9]*\).*,\1,p' | tr '\n' ' ')
  [ "$found" = "$wanted " ] ||
    die "On $cpu the tests run for \"$found\", not for \"$wanted\"."
  say "$cpu: $wanted"
}

# As a Cortex-A76, without i8mm, what names an instruction set is enough.
kernels() {
  build_targets base_tests kernels_tests
  require_sets max 'generic neon i8mm'
  require_sets cortex-a76 'generic neon'
  emulate max "$build/base_tests" --gtest_brief=1 \
    --gtest_filter='CpuFeatures.*:Half*'
  emulate max "$build/kernels_tests" --gtest_brief=1
  emulate cortex-a76 "$build/kernels_tests" --gtest_brief=1 \
    --gtest_filter='*neon*:*Qmm*:*Registry*:-*generic*'
}

# Steps of whole models with their goldens, exact and fast, on every set.
models() {
  build_targets model_tests
  emulate max "$build/model_tests" --gtest_brief=1 \
    --gtest_filter='*CpuDecoder*:*Layouts*:*GraphScans*'
}

# One answer of the program, which must be that of the generic kernels.
answer() {
  build_targets roofline
  local isa first=""
  emulate max "$build/roofline" version
  for isa in i8mm neon generic; do
    local text
    text=$(emulate max -E "ROOFLINE_ISA=$isa" "$build/roofline" generate \
      --max-tokens 8 --temp 0 --device cpu --no-cache -- 'Why is the sky blue?')
    say "$isa answers: $text"
    [ -z "$first" ] || [ "$text" = "$first" ] ||
      die "$isa answers something else than the set before it."
    first=$text
  done
}

steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(setup kernels models answer)
for step in "${steps[@]}"; do
  case "$step" in
    setup | kernels | models | answer)
      say "$step"
      "$step"
      ;;
    *) die "unknown step $step; usage: aarch64.sh [setup|kernels|models|answer]..." ;;
  esac
done
