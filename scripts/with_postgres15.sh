#!/usr/bin/env bash
# Runs a command with TEST_DATABASE_URL naming a throw-away PostgreSQL 15, and removes the server afterwards.
#
#   ./scripts/with_postgres15.sh COMMAND ARGUMENTS…
#
# PostgreSQL 15 is the one of the machine; else Debian's, installed as root, or without root unpacked into .cache. Where
# none can be had, the command is skipped, which is said; under CI=true that is a failure.
# POSTGRES15_BIN names a folder of server programs to use instead.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
system=/usr/lib/postgresql/15/bin

case "${1:-}" in
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
    "") echo "with_postgres15.sh: which command? See --help." >&2 && exit 2 ;;
esac

# shellcheck source=scripts/debian_package.sh
source "$root/scripts/debian_package.sh"

find_server() {
    if [ -n "${POSTGRES15_BIN:-}" ]; then
        bin="$POSTGRES15_BIN"
        return
    fi
    if [ ! -e "$system/postgres" ] && [ "$(id -u)" = 0 ]; then
        # The package would start a server of its own, which nobody here asked for.
        no_cluster=/etc/postgresql-common/createcluster.d/payment-token-tests.conf
        trap 'rm -f "$no_cluster"' RETURN EXIT
        mkdir -p "${no_cluster%/*}"
        echo "create_main_cluster = false" >"$no_cluster"
    fi
    debian_package "$root/.cache/postgresql-15" "$system/postgres" postgresql-15 || return 1
    bin="$debian_root$system"
}

if ! find_server; then
    if [ "${CI:-}" = true ]; then
        echo "PostgreSQL 15 cannot be had here, and CI=true asks for it." >&2
        exit 1
    fi
    echo "SKIPPED: PostgreSQL 15 cannot be had here, so this was not run on it: $*"
    exit 0
fi

# Always below /tmp: as root the server runs as another user, who cannot enter a private TMPDIR.
home="$(mktemp -d /tmp/pt15.XXXXXX)"
as_server=()
if [ "$(id -u)" = 0 ]; then
    # PostgreSQL refuses to run as root.
    chown nobody "$home"
    as_server=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
fi
server() {
    (
        cd /
        if [ -n "$debian_root" ]; then
            LD_LIBRARY_PATH="$(debian_libraries)"
            export LD_LIBRARY_PATH
        fi
        ${as_server[@]+"${as_server[@]}"} "$bin/$1" "${@:2}" </dev/null >>"$home/output" 2>&1
    )
}

stop() {
    trap - EXIT INT TERM
    server pg_ctl -D "$home/data" -m immediate -w stop || true
    rm -rf "$home"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

touch "$home/output"
if ! { server initdb -D "$home/data" -U postgres -E UTF8 --no-locale --auth=trust &&
    server pg_ctl -D "$home/data" -w -l "$home/server.log" \
        -o "-c listen_addresses='' -c unix_socket_directories='$home' -c max_connections=200" start; }; then
    cat "$home/output" "$home/server.log" >&2 2>/dev/null || true
    echo "PostgreSQL 15 of $bin does not start." >&2
    exit 1
fi

export TEST_DATABASE_URL="postgresql://postgres@/postgres?host=$home"
"$@"
