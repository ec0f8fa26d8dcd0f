#!/usr/bin/env bash
# Makes libfaketime available, with which tests set the clock of a database server, and prints the library's path.
#
#   LIBFAKETIME="$(./scripts/faketime.sh)"
#
# It is the one of the machine; else Debian's, installed as root, or without root unpacked into .cache. Fails where none
# can be had.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

case "${1:-}" in
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
esac

# shellcheck source=scripts/debian_package.sh
source "$root/scripts/debian_package.sh"

library="/usr/lib/$(uname -m)-linux-gnu/faketime/libfaketime.so.1"
if ! debian_package "$root/.cache/faketime" "$library" libfaketime; then
    echo "libfaketime cannot be had here." >&2
    exit 1
fi
echo "$debian_root$library"
