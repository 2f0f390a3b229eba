#!/usr/bin/env bash
# Builds the libFuzzer targets with clang and runs each for some seconds, from
# the committed corpus. What crashes one is left in build/fuzz/crashes. The tests
# of the layers named are run in the same build, under its sanitizers.
# usage: fuzz.sh [SECONDS [LAYER...]]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/env.sh
. scripts/env.sh
seconds=${1:-10}
layers=("${@:2}")
clang=$(command -v clang++-14 || command -v clang++) || {
  echo 'fuzz: clang is missing; run scripts/setup.sh --tools' >&2
  exit 1
}

cmake -S . -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DCMAKE_CXX_FLAGS_RELWITHDEBINFO='-O1 -g1 -DNDEBUG' \
  -DCMAKE_CXX_COMPILER="$clang" -DCMAKE_C_COMPILER="${clang/clang++/clang}" \
  -DROOFLINE_SANITIZE=fuzzer-no-link,address,undefined -DROOFLINE_FUZZ=ON >&2
targets=$(basename -s .cpp tests/fuzz/*_fuzz.cpp)
# shellcheck disable=SC2086
cmake --build build/fuzz --target $targets "${layers[@]/%/_tests}" >&2

mkdir -p build/fuzz/crashes
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
failed=0
for layer in "${layers[@]}"; do
  ctest --test-dir build/fuzz --output-on-failure -R "^$layer\$" >&2 || failed=1
done
for target in $targets; do
  name=${target%_fuzz}
  # New inputs go to the build folder; the committed corpus stays as it is.
  mkdir -p "build/fuzz/found/$name"
  corpus="tests/fuzz/corpus/$name"
  [ -d "$corpus" ] || corpus=
  echo "fuzz: $name for $seconds s" >&2
  # shellcheck disable=SC2086
  "build/fuzz/$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 \
    -print_final_stats=1 -artifact_prefix="build/fuzz/crashes/$name-" \
    "build/fuzz/found/$name" $corpus >"build/fuzz/$name.log" 2>&1 || {
    tail -n 60 "build/fuzz/$name.log"
    failed=1
  }
  grep -E 'number_of_executed_units' "build/fuzz/$name.log" || true
done
exit $failed
