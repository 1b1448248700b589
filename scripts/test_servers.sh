#!/usr/bin/env bash
# Install the database servers that the tests start privately. Run by `make test`.
#
# Nothing is started, stopped or set up on the machine: MariaDB comes as its bare programs, and
# PostgreSQL is told to make no cluster of its own while it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

find_missing() { .venv/bin/python -m tests.support.programs; }

explain() {
    say "Not on this machine: $*. Without them the tests that need them are skipped."
    say "  Debian, Ubuntu:  sudo apt-get install mariadb-server-core mariadb-client-core postgresql"
    say "  macOS:           brew install mariadb postgresql@17"
    say "  containers:      docker compose -f tests/docker-compose.yml up -d --wait, then:"
    say "    export MUSTER_TEST_MARIADB_URL=mysql+asyncmy://root:muster@127.0.0.1:13306/mysql"
    say "    export MUSTER_TEST_POSTGRESQL_URL=postgresql+asyncpg://postgres:muster@127.0.0.1:15432/postgres"
    case "${MUSTER_REQUIRE_ALL:-0}" in 0 | '') exit 0 ;; *) exit 1 ;; esac
}

packages() {
    local name
    for name in "$@"; do
        case "$name" in
            mariadb) echo mariadb-server-core mariadb-client-core ;;
            postgresql) echo postgresql ;;
        esac
    done
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null
}

install_by_apt() {
    local no_cluster=/etc/postgresql-common/createcluster.d/muster-tests.conf log
    log="$(mktemp)"
    # shellcheck disable=SC2064  # the names are wanted as they are now
    trap "rm -f '$no_cluster' '$log'" EXIT
    mkdir -p "${no_cluster%/*}"
    echo 'create_main_cluster = false' >"$no_cluster"
    say "Installing by apt: $* …"
    if ! { apt update && apt install -y --no-remove --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        return 1
    fi
}

names="$(find_missing)"
if [ -z "$names" ]; then exit 0; fi
read -r -a missing <<<"$names"
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then explain "${missing[@]}"; fi
read -r -a wanted <<<"$(packages "${missing[@]}" | tr '\n' ' ')"
install_by_apt "${wanted[@]}" || explain "${missing[@]}"
names="$(find_missing)"
if [ -n "$names" ]; then explain "$names"; fi
