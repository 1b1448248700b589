#!/usr/bin/env bash
# Make .venv and install the locked packages and this project into it. Run by `make install`.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        if is_recent "$PYTHON"; then printf '%s' "$PYTHON"; return; fi
        say "PYTHON=$PYTHON is not Python 3.11 or newer."
        exit 1
    fi
    for candidate in python3 python3.13 python3.12 python3.11; do
        if is_recent "$candidate"; then printf '%s' "$candidate"; return; fi
    done
    say "Muster needs Python 3.11 or newer and found none. Install it, or name it: make PYTHON=/path/to/python3.12 …"
    exit 1
}

# Debian and Ubuntu keep venv and pip's bootstrap in a package of their own.
add_venv_module() {
    local package
    package="$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        say "This Python cannot make virtual environments. On Debian or Ubuntu: sudo apt-get install $package"
        exit 1
    fi
    say "Installing $package …"
    apt-get update -qq </dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "$package" </dev/null >&2
}

if ! is_recent .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python="$(find_python)"
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then add_venv_module "$python"; fi
    rm -rf .venv
    "$python" -m venv .venv
fi

say "Installing the locked packages into .venv, which takes a minute or two …"
projects=(--editable .)
if [ -f client/pyproject.toml ]; then projects+=(--editable ./client); fi
export PIP_DISABLE_PIP_VERSION_CHECK=1
.venv/bin/python -m pip install -qq --require-hashes --requirement requirements/dev.txt </dev/null
.venv/bin/python -m pip install -qq --no-deps --no-build-isolation "${projects[@]}" </dev/null
say "Installed. The command is .venv/bin/muster"
