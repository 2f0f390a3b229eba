#!/usr/bin/env bash
# clang-tidy (.clang-tidy) on C++ sources, with the flags of build/release.
# usage: tidy.sh [FILE...]     no file: what differs from main, else nothing
set -euo pipefail
cd "$(dirname "$0")/.."
tidy=.venv-tools/bin/clang-tidy
changed_files() {
  local base
  base=$(git merge-base HEAD origin/main 2>/dev/null ||
    git rev-parse HEAD~1 2>/dev/null) || return 0
  git diff --name-only --diff-filter=d "$base" -- 'roofline/**.cpp'
}
if [ $# -eq 0 ]; then
  # shellcheck disable=SC2046
  set -- $(changed_files)
fi
if [ $# -eq 0 ]; then
  echo 'tidy: nothing changed' >&2
  exit 0
fi
cores=$(getconf _NPROCESSORS_ONLN)
# The wheel carries no headers of the compiler's own (stddef.h and its like).
clang=$(command -v clang-14 || command -v clang) || {
  echo 'tidy: clang is missing; run scripts/setup.sh --tools' >&2
  exit 1
}
resources=$("$clang" -print-resource-dir)
# Its standard error only counts what was suppressed.
printf '%s\0' "$@" |
  xargs -0 -n 1 -P "$cores" "$tidy" -p "${BUILD:-build/release}" --quiet \
    --extra-arg-before="-resource-dir=$resources" 2>/dev/null
