#!/usr/bin/env bash
# Everything a change must pass: the lock file, formatting, lint, types, import contracts, all tests on the embedded
# PostgreSQL, and the integration and migration tests on PostgreSQL 15 as well.
#
#   ./scripts/test.sh [--coverage] [PYTEST ARGUMENTS…]
#
# With arguments, a run of pytest with them takes the place of the first two, for example: ./scripts/test.sh tests/unit -k dukpt
# --coverage also shows how much of each file was run. Whatever the tests start is then slower by half.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

case "${1:-}" in
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
esac

coverage=()
coverage_again=()
if [ "${1:-}" = --coverage ]; then
    coverage=(--cov --cov-report=term)
    coverage_again=(--cov --cov-append --cov-report=term)
    shift
fi

summary=()

step() {
    local name="$1" started=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    if ! "$@"; then
        printf '\nFAILED: %s\n' "$name" >&2
        exit 1
    fi
    summary+=("$(printf '%5d s  %s' $((SECONDS - started)) "$name")")
}

venv="$root/services/payment-token/.venv/bin"
step "Install from the lock file" "$root/scripts/install.sh" --with-dev
cd "$root/services/payment-token"
step "Formatting (black)" "$venv/black" --check --quiet src tests alembic benchmarks
step "Lint (ruff)" "$venv/ruff" check --quiet src tests alembic benchmarks
step "Types (mypy)" "$venv/mypy" src
step "Import contracts (import-linter)" "$venv/lint-imports"
# In the condition of step, errexit does not hold.
check_client() (
    cd "$root/clients/python" &&
        "$venv/black" --check --quiet src tests &&
        "$venv/ruff" check --quiet src tests &&
        "$venv/mypy" &&
        "$venv/pytest" -q
)
step "The Python client: the same checks, and its own tests" check_client
# The tests of PKCS#11 skip themselves without a token; under CI=true that fails them.
if SOFTHSM2_HOME="${SOFTHSM2_HOME:-$("$root/scripts/softhsm2.sh")}"; then
    export SOFTHSM2_HOME
fi
# Likewise the tests that set a server's clock.
if LIBFAKETIME="${LIBFAKETIME:-$("$root/scripts/faketime.sh")}"; then
    export LIBFAKETIME
fi
if [ $# -gt 0 ]; then
    step "Tests, on the embedded PostgreSQL" "$venv/pytest" ${coverage[@]+"${coverage[@]}"} "$@"
else
    # The tests of one file stay together, in a process with a server of its own.
    step "Tests that do not mind each other, on the embedded PostgreSQL" \
        "$venv/pytest" -n auto --maxprocesses 4 --dist loadfile -m "not alone" ${coverage[@]+"${coverage[@]}"}
    step "Tests that need the machine to themselves, on the embedded PostgreSQL" \
        "$venv/pytest" -m alone ${coverage_again[@]+"${coverage_again[@]}"}
fi
step "Integration and migration tests, on PostgreSQL 15" \
    "$root/scripts/with_postgres15.sh" \
    "$venv/pytest" -n auto --maxprocesses 4 --dist loadfile tests/integration tests/migration

printf '\nAll passed.\n'
printf '%s\n' "${summary[@]}"
