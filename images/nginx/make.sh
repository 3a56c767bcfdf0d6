#!/bin/sh
# Makes a root file system with nginx and fcgiwrap in it, of Debian's packages, for
# `shipway image import`. See README.md beside this file.
#
#   images/nginx/make.sh [SUITE] [FILE]     bookworm, nginx-SUITE.tar unless told
set -eu

SUITE=${1:-bookworm}
FILE=${2:-nginx-$SUITE.tar}
# What scripts are written in beside the shell; set it to none for static content only.
INTERPRETERS=${INTERPRETERS-python3-minimal,perl-base}

fail() {
    printf 'images/nginx: %s\n' "$*" >&2
    exit 1
}

case $SUITE in
    bullseye | bookworm | trixie | sid) ;;
    *) fail "no suite \`$SUITE\`: known are bullseye, bookworm, trixie and sid" ;;
esac
case $FILE in
    -*) fail "a file's name does not begin with a hyphen" ;;
esac
[ "$(id -u)" = 0 ] || fail "run it as root: the owners in the archive are as in a Debian system"
command -v mmdebstrap > /dev/null || fail "mmdebstrap is missing: apt-get install -y mmdebstrap"

packages=nginx-light,fcgiwrap,busybox,ca-certificates
[ -z "$INTERPRETERS" ] || packages=$packages,$INTERPRETERS

# Without maintainer scripts that start a server, and without what nobody reads in a container.
mmdebstrap --variant=minbase --format=tar --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    "$SUITE" "$FILE"
printf 'made %s: shipway image import nginx:%s %s\n' "$FILE" "$SUITE" "$FILE"
