#!/usr/bin/env bash
# Makes SoftHSM2 available, a PKCS#11 token in software for the tests, and prints the folder below which it is.
#
#   SOFTHSM2_HOME="$(./scripts/softhsm2.sh)"
#
# It is the one of the machine (the folder is /); else Debian's, installed as root, or without root unpacked into .cache.
# Fails where none can be had.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

case "${1:-}" in
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
esac

# shellcheck source=scripts/debian_package.sh
source "$root/scripts/debian_package.sh"

if ! debian_package "$root/.cache/softhsm2" /usr/bin/softhsm2-util softhsm2 libsofthsm2; then
    echo "SoftHSM2 cannot be had here." >&2
    exit 1
fi
echo "${debian_root:-/}"
