#!/usr/bin/env bash
# Everything a change must pass: the lock file, formatting, lint, types, import contracts, all tests on the embedded
# PostgreSQL, and the integration and migration tests on PostgreSQL 15 as well.
#
#   ./scripts/test.sh [PYTEST ARGUMENTS…]
#
# With arguments, a run of pytest with them takes the place of the first two, for example: ./scripts/test.sh tests/unit -k dukpt
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

case "${1:-}" in
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
esac

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
    step "Tests, on the embedded PostgreSQL" "$venv/pytest" --cov --cov-report=term "$@"
else
    # A process for each core, each with a server of its own; the tests of one file stay together.
    step "Unit, contract, integration and migration tests, on the embedded PostgreSQL" \
        "$venv/pytest" -n auto --maxprocesses 4 --dist loadfile --cov --cov-report= \
        tests/unit tests/contract tests/integration tests/migration
    # These run whole deployments, with bounds in seconds: one at a time has the machine to itself.
    step "Acceptance tests, on the embedded PostgreSQL" \
        "$venv/pytest" --cov --cov-append --cov-report=term tests/acceptance
fi
step "Integration and migration tests, on PostgreSQL 15" \
    "$root/scripts/with_postgres15.sh" "$venv/pytest" tests/integration tests/migration

printf '\nAll passed.\n'
printf '%s\n' "${summary[@]}"
