# Sourced by the Makefile and the scripts: finds cargo and a Python, also when
# HOME isn't the folder they were installed under. Prints nothing.
: "${HOME:=/}"

roofline_find_cargo() {
  local candidate
  for candidate in "$(command -v cargo 2>/dev/null)" \
    "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" /usr/local/cargo/bin/cargo \
    /opt/homebrew/bin/cargo; do
    if [ -n "$candidate" ] && [ -x "$candidate" ]; then
      printf '%s' "$candidate"
      return
    fi
  done
}

# A rustup proxy looks for its toolchains under HOME. When HOME is elsewhere,
# they still lie beside the folder that holds the proxy.
roofline_find_rustup_home() {
  local prefix
  prefix=$(cd "$(dirname "$1")/../.." 2>/dev/null && pwd) || return 0
  local candidate
  for candidate in "$HOME/.rustup" "$prefix/.rustup" "$prefix/rustup"; do
    if [ -f "$candidate/settings.toml" ]; then
      printf '%s' "$candidate"
      return
    fi
  done
}

roofline_cargo=$(roofline_find_cargo)
if [ -n "$roofline_cargo" ]; then
  PATH=$(dirname "$roofline_cargo"):$PATH
  export PATH
  if [ -z "${RUSTUP_HOME:-}" ]; then
    roofline_rustup=$(roofline_find_rustup_home "$roofline_cargo")
    if [ -n "$roofline_rustup" ]; then
      export RUSTUP_HOME="$roofline_rustup"
    fi
  fi
fi

# The newest usable Python: the wheels need PYTHON_MINIMUM or later.
roofline_find_python() {
  local candidate
  for candidate in "${ROOFLINE_PYTHON:-}" python3 /usr/bin/python3 \
    python3.13 python3.12 python3.11 python3.10; do
    if [ -n "$candidate" ] && "$candidate" -c "
import sys
least = tuple(int(n) for n in '${PYTHON_MINIMUM:-3.10}'.split('.'))
sys.exit(sys.version_info[:2] < least)" >/dev/null 2>&1; then
      printf '%s' "$candidate"
      return
    fi
  done
}
