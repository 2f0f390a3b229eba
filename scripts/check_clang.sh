#!/usr/bin/env bash
# Compiles every source with clang and libc++'s headers, syntax only: that is
# what macOS builds with. Warnings are errors. Runs on all cores. Headers of
# libraries are read once for all sources without an instruction set of their
# own, and where there is a release build, the sources of one of its groups are
# compiled as one; scripts/check_includes.py sees what both hide.
# usage: check_clang.sh [FILE...]     no file: roofline/ and bench/; else each by itself
set -euo pipefail
cd "$(dirname "$0")/.."
clang=$(command -v clang++-14 || command -v clang++) || {
  echo 'check_clang: clang is missing; run scripts/setup.sh --tools' >&2
  exit 1
}
mlx=$(find -L .venv -type d -path '*/mlx/include' | head -n 1)
cores=$(getconf _NPROCESSORS_ONLN)

flags_of() {
  case "$(uname -m):$1" in
    aarch64:*_neon.cpp | arm64:*_neon.cpp) echo '-march=armv8.2-a+dotprod' ;;
    aarch64:*_i8mm.cpp | arm64:*_i8mm.cpp)
      echo '-march=armv8.2-a+dotprod+i8mm+bf16'
      ;;
    x86_64:*_avx2.cpp) echo '-mavx2 -mfma -mf16c -mbmi2' ;;
    x86_64:*_avx512.cpp)
      echo '-mavx2 -mfma -mf16c -mbmi2 -mavx512f -mavx512bw -mavx512vl
        -mavx512dq -mavx512vnni'
      ;;
    x86_64:*_amx.cpp)
      echo '-mavx2 -mfma -mf16c -mbmi2 -mavx512f -mavx512bw -mavx512vl
        -mavx512dq -mavx512vnni -mavx512bf16 -mamx-tile -mamx-bf16'
      ;;
  esac
}

precompile() {
  local headers=("CLI/CLI.hpp" "fmt/format.h" "fmt/ranges.h" "mlx/mlx.h" "nlohmann/json.hpp")
  printf '#include <%s>\n' "${headers[@]}" >"$folder/libraries.h"
  "$clang" -std=c++20 -stdlib=libc++ -fpch-instantiate-templates -x c++-header \
    -isystem "$mlx" "$folder/libraries.h" -o "$folder/libraries.pch"
}

# The sources as one, each under its own name: clang says less of included files.
joined() {
  local source
  for source in "$@"; do
    printf '#line 1 "%s"\n' "$source"
    cat "$source"
  done
}

check() {
  local flags
  flags=$(flags_of "$1")
  # shellcheck disable=SC2086
  joined "$@" |
    "$clang" -std=c++20 -stdlib=libc++ -fsyntax-only -Wall -Wextra -Wpedantic \
      -Werror -I. -Ibridge -Ibench -Itests -isystem "$mlx" -DROOFLINE_HAVE_LIBEDIT -DROOFLINE_VERSION='""' \
      -DROOFLINE_TEST_DATA='""' -DROOFLINE_GOLDENS='""' \
      ${flags:--include-pch "$folder/libraries.pch"} -x c++ - ||
    { echo "check_clang: $* does not compile" >&2; return 1; }
}

# The groups of the release build, one a line; their names don't clash.
groups() {
  [ -f build/release/compile_commands.json ] || return 0
  local unit here
  here=$(pwd -P)
  sed -n 's|.*"file": "\(.*/roofline_[a-z]*\.dir/Unity/.*\)".*|\1|p' \
    build/release/compile_commands.json | while read -r unit; do
    sed -n "s|^#include \"$here/\(.*\)\"|\1|p" "$unit" | paste -s -d ' '
  done
}

# What to compile, one a line: groups, then every source that is in none.
units() {
  groups >"$folder/groups"
  cat "$folder/groups"
  git ls-files --cached --others --exclude-standard -- 'roofline/**.cpp' 'bench/*.cpp' |
    grep -vxFf <(tr ' ' '\n' <"$folder/groups") || true
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
precompile
export -f check flags_of joined
export clang mlx folder

if [ $# -gt 0 ]; then
  printf '%s\n' "$@"
else
  units
fi | grep -vE "$([ "$(uname -m)" = x86_64 ] && echo '_(neon|i8mm)' || echo '_(avx2|avx512|amx)')" |
  tr '\n' '\0' | xargs -0 -n 1 -P "$cores" bash -c 'check $0'
