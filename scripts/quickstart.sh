#!/usr/bin/env bash
# Installs the service, runs its main job through it for real, and shows each step. Nothing is left running.
#
#   ./scripts/quickstart.sh           about two minutes the first time, seconds after that
#   ./scripts/quickstart.sh --serve   the same, and the service stays up until Ctrl-C
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

case "${1:-}" in
    -h | --help) sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
esac

"$root/scripts/install.sh"
exec "$root/services/payment-token/.venv/bin/payment-token" quickstart "$@"
