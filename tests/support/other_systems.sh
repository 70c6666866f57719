#!/bin/bash
# Makes the smallest system of another release of Debian in target/roots/, once, for chroot, and says
# where it is:
#
#   tests/support/other_systems.sh bullseye    glibc 2.31, as Ubuntu 20.04: the oldest still served
#   tests/support/other_systems.sh trixie      glibc 2.41
#
# From Debian's own mirror, so it needs that: only tests that belong to the night call it. Like
# root.sh it makes again what broke off, and two that ask at a time wait for each other.
set -euo pipefail
umask 022
cd "$(dirname "$0")/../.."

release=${1:-}
case "$release" in
bullseye | trixie) ;;
*)
    echo "other_systems.sh: \"$release\" is unknown; there are bullseye and trixie" >&2
    exit 64
    ;;
esac

place=$PWD/target/roots/$release
mkdir -p target/roots
exec 9>"target/roots/$release.lock"
flock 9
wanted=$(sha256sum <"$0" | cut -d' ' -f1)
if [ "$(cat "$place/stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "other_systems.sh: making $place; this takes a minute, once" >&2
    rm -rf "$place"
    mkdir -p "$place"
    # An old release is out of date by its own word.
    mmdebstrap --quiet --variant=essential --include=passwd \
        --aptopt='Acquire::Check-Valid-Until "false"' --keyring=/usr/share/keyrings \
        "$release" "$place/root" "deb http://deb.debian.org/debian $release main" >&2
    echo "$wanted" >"$place/stamp"
fi
echo "$place"
