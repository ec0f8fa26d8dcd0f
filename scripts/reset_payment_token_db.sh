#!/usr/bin/env bash
# Deletes all data: takes every migration back, and applies them again. For development and tests; refused in production.
#
#   ./scripts/reset_payment_token_db.sh [--yes] [--env-file FILE]
#
# It asks first; --yes is for scripts.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

case "${1:-}" in
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
esac

"$root/scripts/install.sh"
exec "$root/services/payment-token/.venv/bin/payment-token" db reset "$@"
