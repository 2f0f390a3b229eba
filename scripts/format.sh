#!/usr/bin/env bash
# clang-format over all C++ files. --fix changes them; --check lists what it
# would change and fails. Everyone uses the one pinned version.
set -euo pipefail
cd "$(dirname "$0")/.."
formatter=.venv-tools/bin/clang-format
if [ ! -x "$formatter" ]; then
  echo "format: run scripts/setup.sh --tools first" >&2
  exit 1
fi
files() {
  git ls-files -z --cached --others --exclude-standard -- \
    'roofline/**.h' 'roofline/**.cpp' 'tests/**.h' 'tests/**.cpp' \
    'bench/**.h' 'bench/**.cpp'
}
case "${1:---check}" in
  --fix) files | xargs -0 -n 32 -P 2 "$formatter" -i ;;
  --check)
    files | xargs -0 -n 32 -P 2 "$formatter" --dry-run --Werror \
      --ferror-limit=1 || {
      echo 'format: the files above are not formatted; run: make format' >&2
      exit 1
    }
    ;;
  *)
    echo 'usage: format.sh [--check|--fix]' >&2
    exit 2
    ;;
esac
