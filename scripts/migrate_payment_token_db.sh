#!/usr/bin/env bash
# Brings the database of this deployment to the newest schema, and installs the service first where needed.
#
#   ./scripts/migrate_payment_token_db.sh [--env-file FILE]
#
# The database is that of MIGRATION_DATABASE_URL, else DATABASE_URL; with neither, in development, the embedded one.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

case "${1:-}" in
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
esac

"$root/scripts/install.sh"
exec "$root/services/payment-token/.venv/bin/payment-token" db upgrade "$@"
