# Sourced by scripts that need a program of Debian's: the one of the machine; else installed as root, or without root
# unpacked into .cache.
#
#   debian_package CACHE FILE PACKAGE…    sets debian_root to the folder below which FILE is: empty for the machine itself
#
# CACHE is a folder below .cache, FILE an absolute path that the packages bring. Fails when they cannot be had.

debian_root=

debian_package() {
    local cache="$1" file="$2"
    shift 2
    if [ -e "$file" ]; then
        debian_root=
    elif [ -e "$cache/tree$file" ]; then
        debian_root="$cache/tree"
    elif [ "$(id -u)" = 0 ]; then
        _install_as_root "$@" || return 1
        debian_root=
    else
        _unpack_without_root "$cache" "$@" || return 1
        debian_root="$cache/tree"
    fi
    [ -e "$debian_root$file" ]
}

# The folders in which programs of an unpacked tree find their libraries.
debian_libraries() {
    [ -z "$debian_root" ] || echo "$debian_root"/usr/lib/*-linux-gnu
}

_install_as_root() {
    command -v apt-get >/dev/null || return 1
    echo "Installing Debian's $*" >&2
    # Another run may be at it: wait for its lock.
    {
        apt-get -o DPkg::Lock::Timeout=300 update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
                install -y -qq --no-install-recommends "$@"
    } >&2
}

_unpack_without_root() {
    local cache="$1"
    shift
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
    echo "Unpacking Debian's $* into .cache" >&2
    mkdir -p "$cache"
    local work
    work="$(mktemp -d "$cache/new.XXXXXX")" || return 1
    _unpack_into "$work" "$@" && _keep "$work/tree" "$cache/tree"
    local outcome=$?
    rm -rf "$work"
    return "$outcome"
}

_unpack_into() {
    local work="$1" packages package
    shift
    local own=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/apt" -o Debug::NoLocking=1)
    mkdir -p "$work/lists/partial" "$work/apt/archives/partial" "$work/debs" "$work/tree"
    apt-get "${own[@]}" update -qq >&2 || return 1
    # What an installation would add to this machine is what is missing on it.
    packages="$(apt-get "${own[@]}" --simulate install --no-install-recommends "$@" |
        sed -n 's/^Inst \([^ ]*\) .*/\1/p')"
    # shellcheck disable=SC2086 # one word a package
    (cd "$work/debs" && apt-get "${own[@]}" download -qq ${packages:-"$@"} >&2) || return 1
    for package in "$work"/debs/*.deb; do
        dpkg --extract "$package" "$work/tree" || return 1
    done
}

# It gets its name once it is whole: an interrupted run must not look finished. Whoever comes second takes the first's.
_keep() {
    [ -e "$2" ] || mv -T "$1" "$2" 2>/dev/null || [ -e "$2" ]
}
