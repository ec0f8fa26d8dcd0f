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
cache="$root/.cache/postgresql-15"
system=/usr/lib/postgresql/15/bin

case "${1:-}" in
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
    "") echo "with_postgres15.sh: which command? See --help." >&2 && exit 2 ;;
esac

install_as_root() {
    command -v apt-get >/dev/null || return 1
    echo "Installing Debian's postgresql-15" >&2
    # The package would start a server of its own, which nobody here asked for.
    no_cluster=/etc/postgresql-common/createcluster.d/payment-token-tests.conf
    mkdir -p "${no_cluster%/*}"
    trap 'rm -f "$no_cluster"' RETURN EXIT
    echo "create_main_cluster = false" >"$no_cluster"
    {
        apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-15
    } >&2
    [ -x "$system/postgres" ]
}

unpack_without_root() {
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
    echo "Unpacking Debian's postgresql-15 into .cache" >&2
    local own=(-o "Dir::State::Lists=$cache/lists" -o "Dir::Cache=$cache/apt" -o Debug::NoLocking=1)
    rm -rf "$cache"
    mkdir -p "$cache/lists/partial" "$cache/apt/archives/partial" "$cache/debs" "$cache/unpacked"
    apt-get "${own[@]}" update -qq >&2 || return 1
    # What an installation would add to this machine is what is missing on it.
    local packages
    packages="$(apt-get "${own[@]}" --simulate install --no-install-recommends postgresql-15 |
        sed -n 's/^Inst \([^ ]*\) .*/\1/p')"
    # shellcheck disable=SC2086 # one word a package
    (cd "$cache/debs" && apt-get "${own[@]}" download -qq ${packages:-postgresql-15} >&2) || return 1
    local package
    for package in "$cache"/debs/*.deb; do
        dpkg --extract "$package" "$cache/unpacked" || return 1
    done
    # It gets its name once it is whole: an interrupted run must not look finished.
    mv "$cache/unpacked" "$cache/tree"
    rm -rf "$cache/lists" "$cache/apt" "$cache/debs"
    [ -x "$cache/tree$system/postgres" ]
}

find_server() {
    if [ -n "${POSTGRES15_BIN:-}" ]; then
        bin="$POSTGRES15_BIN"
    elif [ -x "$system/postgres" ]; then
        bin="$system"
    elif [ -x "$cache/tree$system/postgres" ]; then
        bin="$cache/tree$system"
    elif [ "$(id -u)" = 0 ]; then
        install_as_root || return 1
        bin="$system"
    else
        unpack_without_root || return 1
        bin="$cache/tree$system"
    fi
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
        if [ "$bin" = "$cache/tree$system" ]; then
            LD_LIBRARY_PATH="$(echo "$cache"/tree/usr/lib/*-linux-gnu)"
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
