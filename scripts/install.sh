#!/usr/bin/env bash
# Installs the service from its lock file into services/payment-token/.venv, unless that has been done.
#
#   ./scripts/install.sh              what the service needs to run
#   ./scripts/install.sh --with-dev   and what its tests and checks need
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
service="$root/services/payment-token"

case "${1:-}" in
    "") groups=(--only main) kind=main ;;
    --with-dev) groups=() kind=dev ;;
    -h | --help) sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
    *) echo "install.sh: unknown argument. See --help." >&2 && exit 2 ;;
esac

# The environment holds absolute paths, so a moved clone needs a new one.
wanted="$(cat "$service/poetry.lock" "$service/pyproject.toml" "$root/clients/python/pyproject.toml" "$root/scripts/poetry" | cksum) $service"
marker="$service/.venv/installed"

installed_already() {
    [ -x "$service/.venv/bin/payment-token" ] || return 1
    [ "$(cat "$marker-dev" 2>/dev/null)" = "$wanted" ] && return
    [ "$kind" = main ] && [ "$(cat "$marker-main" 2>/dev/null)" = "$wanted" ]
}

# Two scripts at once must not install into one environment.
if command -v flock >/dev/null; then
    mkdir -p "$root/.cache"
    exec 9>"$root/.cache/install.lock"
    flock 9
fi

if ! installed_already; then
    echo "Installing the service from its lock file"
    "$root/scripts/poetry" check --lock --quiet
    "$root/scripts/poetry" install --all-extras ${groups[@]+"${groups[@]}"}
    rm -f "$marker-main" "$marker-dev"
    # Where Python is told to write no bytecode, every start would compile all of this again, for seconds. What is left
    # out belongs to tools, and nothing that starts often imports it.
    "$service/.venv/bin/python" -m compileall -q -j 0 \
        -x 'site-packages/(.*/)?(sympy|mpmath|networkx|fontTools|tests?)/' "$service/.venv/lib" || true
    echo "$wanted" >"$marker-$kind"
fi
# Our own code changes under an environment that stays.
"$service/.venv/bin/python" -m compileall -q "$service/src"
