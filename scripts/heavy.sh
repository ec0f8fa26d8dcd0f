#!/usr/bin/env bash
# The tests that find what is rare, in their long form: more crashes, rotations and racing requests than a change must
# pass in ./scripts/test.sh, a million audit records, and all of it several times.
#
#   ./scripts/heavy.sh [--resume] [ROUNDS] [PYTEST ARGUMENTS…]
#
# ROUNDS is how often each runs (default: 3), on a machine that should do nothing else. It runs to the end whatever fails,
# keeps the output of each suite that failed below .cache/heavy, and exits 1 if one did. --resume goes on where a run was
# interrupted: suites that have passed are left out.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
service="$root/services/payment-token"
rounds=3
resume=

case "${1:-}" in
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
    --resume) resume=yes && shift ;;
esac
case "${1:-}" in
    [1-9]*) rounds="$1" && shift ;;
esac

tests=(
    tests/acceptance/test_audit_outages.py
    tests/acceptance/test_crashes.py
    tests/acceptance/test_idempotency_storm.py
    tests/acceptance/test_openapi.py
    tests/acceptance/test_rotation_under_load.py
    tests/acceptance/test_workers.py
    tests/integration/audit_tampering
    tests/integration/test_audit_faults.py
    tests/integration/test_audit_record_texts.py
    tests/integration/test_completion_race.py
    tests/unit/audit/test_chain_writer.py
    tests/unit/reader_frames/test_frames_stay_hidden.py
    tests/unit/test_false_alarms.py
    tests/unit/test_unencrypted.py
)

"$root/scripts/install.sh" --with-dev
cd "$service"
logs="$root/.cache/heavy"
if [ -z "$resume" ]; then
    rm -rf "$logs"
fi
mkdir -p "$logs"
export LONG_TESTS=1

summary=()
failed=0
for round in $(seq "$rounds"); do
    for test in "${tests[@]}"; do
        name="$(basename "$test" .py)"
        log="$logs/$round-$name.log"
        passed="$logs/$round-$name.passed"
        if [ -e "$passed" ]; then
            summary+=("$(printf '%7s  round %d  %s  passed before' "" "$round" "$name")")
            continue
        fi
        printf '[round %d of %d, %d s] %s … ' "$round" "$rounds" "$SECONDS" "$name"
        started=$SECONDS
        if .venv/bin/pytest -q "$test" "$@" >"$log" 2>&1; then
            outcome=passed
            mv "$log" "$passed"
        else
            outcome="FAILED, see $log"
            failed=$((failed + 1))
        fi
        echo "$outcome"
        summary+=("$(printf '%5d s  round %d  %s  %s' $((SECONDS - started)) "$round" "$name" "$outcome")")
    done
done

echo
printf '%s\n' "${summary[@]}"
if [ "$failed" -gt 0 ]; then
    printf '\n%d of %d FAILED.\n' "$failed" "${#summary[@]}"
    exit 1
fi
printf '\nAll %d passed.\n' "${#summary[@]}"
