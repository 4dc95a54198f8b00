#!/bin/sh
# Sees to it that commands are there: `needs.sh COMMAND=PACKAGE ...` installs the Debian packages of those missing, as
# root, quietly. A COMMAND with a slash is a file. Exit 2 names each one that is still missing, with its package.
set -eu
PATH=$PATH:/usr/sbin:/sbin  # where an ordinary user does not look
here=$(dirname "$0")

missing() {
    for pair in "$@"; do
        case ${pair%%=*} in
            */*) [ -e "${pair%%=*}" ] || echo "$pair" ;;
            *) command -v "${pair%%=*}" >/dev/null || echo "$pair" ;;
        esac
    done
}

packages=$(missing "$@" | sed 's/.*=//' | sort -u)
[ -n "$packages" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    "$here/retry.sh" apt-get update -qq >&2
    # shellcheck disable=SC2086  # one word a package
    DEBIAN_FRONTEND=noninteractive "$here/retry.sh" apt-get install -qq -y --no-install-recommends $packages >/dev/null
fi
left=$(missing "$@")
[ -n "$left" ] || exit 0
for pair in $left; do
    echo "needs: ${pair%%=*} is missing; as root: apt-get install ${pair#*=}" >&2
done
exit 2
