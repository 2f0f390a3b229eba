#!/usr/bin/env bash
# Builds one sanitizer's preset and runs its tests.
# usage: [FILTER=TESTS] sanitize.sh asan|ubsan|tsan [LAYER...]    no layer: all
# FILTER is Google Test's, and needs layers: 'ThreadPool*:*StepThreads*'.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/env.sh
. scripts/env.sh
preset=${1:?usage: sanitize.sh asan|ubsan|tsan [LAYER...]}
shift

# Leaks are not looked for: MLX and Rust's runtime keep what they allocate once.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
# libmlx and the text crates are not instrumented: what they synchronise
# with looks like a race.
export TSAN_OPTIONS="suppressions=$PWD/scripts/tsan.supp:halt_on_error=1"

[ -z "${FILTER:-}" ] || export GTEST_FILTER=$FILTER

build=build/$preset
[ -f "$build/build.ninja" ] || cmake --preset "$preset" >&2
if [ $# -eq 0 ]; then
  cmake --build "$build" >&2
  ctest --test-dir "$build" --output-on-failure
  exit
fi
# shellcheck disable=SC2046
cmake --build "$build" --target $(printf '%s_tests ' "$@") >&2
names=$(printf '|%s' "$@")
ctest --test-dir "$build" --output-on-failure -R "^(${names#|})\$"
