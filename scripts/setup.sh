#!/bin/sh
# Installs what Shipway needs from Debian, and checks for Rust.
#
#   scripts/setup.sh run    what building and running needs
#   scripts/setup.sh test   the same, and what the tests need
#   scripts/setup.sh rust   only the check
#
# An installed package must not start its daemon: Debian asks policy-rc.d first,
# so ours says no (101) while this script works, and the old one comes back after.
set -eu

RUST_NEEDED=1.95
RUN_PACKAGES="ca-certificates curl gcc libc6-dev make python3"
TEST_PACKAGES="busybox-static e2fsprogs faketime fcgiwrap git gpg gpg-agent iproute2 iptables minisign nftables nginx-light nodejs openssl pgbouncer postgresql python3-venv strace"
# A second S3 server for the tests (the first is a crate), with no more than it needs; each version is named.
MOTO="moto[s3]==5.2.5 flask==3.1.3 flask-cors==6.0.5"

fail() {
    printf 'shipway: %s\n' "$*" >&2
    exit 1
}

check_rust() {
    PATH="$HOME/.cargo/bin:$PATH"
    remedy="Install it with rustup (https://rustup.rs): curl --proto '=https' -sSf https://sh.rustup.rs | sh, then run this again."
    command -v cargo >/dev/null 2>&1 || fail "Rust $RUST_NEEDED or newer is needed, and there is no cargo. $remedy"
    found=$(rustc --version | cut -d' ' -f2) || fail "rustc does not run. $remedy"
    newest=$(printf '%s\n%s\n' "$RUST_NEEDED" "$found" | sort -V | tail -n 1)
    [ "$newest" = "$found" ] || fail "Rust $RUST_NEEDED or newer is needed, this is $found. With rustup: rustup update stable"
}

missing() {
    for package in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || printf '%s ' "$package"
    done
}

forbid_daemons() {
    policy=/usr/sbin/policy-rc.d
    kept="$policy.shipway-kept"
    # One that is there already was kept by a run that was killed: still the host's own.
    if [ -e "$policy" ] && [ ! -e "$kept" ]; then
        mv "$policy" "$kept"
    fi
    # The double quotes are meant: the values of now, not of when the trap runs.
    trap "rm -f '$policy'; [ ! -e '$kept' ] || mv '$kept' '$policy'" EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

# Go, of whatever origin: Debian's is 80 MB to download and 450 MB on disk, so one that
# is there already is used. The tests build a small server with it.
go_package() {
    PATH="$PATH:/usr/local/go/bin:/usr/lib/go/bin"
    command -v go >/dev/null 2>&1 || printf 'golang-go'
}

# Python tools of the tests, in a folder of their own that `cargo clean` removes.
install_moto() {
    tools=$(cd "$(dirname "$0")/.." && pwd)/target/tools
    [ "$(cat "$tools/moto/installed" 2>/dev/null)" != "$MOTO" ] || return 0
    printf 'shipway: installing %s\n' "$MOTO" >&2
    mkdir -p "$tools"
    rm -rf "$tools/moto"
    python3 -m venv "$tools/moto" || fail "python3 -m venv does not work; its words are above"
    # shellcheck disable=SC2086  # a list of words of our own
    "$tools/moto/bin/pip" install -q --disable-pip-version-check $MOTO || fail "pip could not install $MOTO"
    printf '%s\n' "$MOTO" >"$tools/moto/installed"
}

install() {
    wanted=$(missing "$@")
    [ -n "$wanted" ] || return 0
    [ "$(id -u)" = 0 ] || fail "run this as root: it installs $wanted"
    command -v apt-get >/dev/null 2>&1 || fail "this is not Debian: install the equivalents of $wanted yourself"
    forbid_daemons
    printf 'shipway: installing %s\n' "$wanted" >&2
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # a list of words of our own
    apt-get install -qq -y --no-install-recommends $wanted >/dev/null 2>&1 || {
        apt-get update -qq >/dev/null
        apt-get install -qq -y --no-install-recommends $wanted >/dev/null || fail "apt-get could not install $wanted; its words are above"
    }
}

case "${1:-}" in
    run) # shellcheck disable=SC2086
        install $RUN_PACKAGES
        check_rust
        ;;
    test) # shellcheck disable=SC2086
        install $RUN_PACKAGES $TEST_PACKAGES $(go_package)
        install_moto
        check_rust
        ;;
    rust) check_rust ;;
    *) fail "usage: scripts/setup.sh run|test|rust" ;;
esac
