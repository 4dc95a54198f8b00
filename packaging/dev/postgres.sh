#!/bin/sh
# Sees to it that PostgreSQL's server is here: the tests start clusters of their own with its programs. As root it is
# installed, and Debian's package is told beforehand to make and start no cluster on this machine.
set -eu
here=$(dirname "$0")

installed() { ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }

installed && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "postgres.sh: no PostgreSQL; as root: apt-get install postgresql. Tests that want it will say so" >&2
    exit 0
fi
settings=/etc/postgresql-common/createcluster.conf
if [ ! -e "$settings" ]; then
    mkdir -p "${settings%/*}"
    printf 'create_main_cluster = false\nstart_conf = manual\n' >"$settings"
fi
"$here/retry.sh" apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive "$here/retry.sh" apt-get install -qq -y --no-install-recommends \
    -o Dpkg::Options::=--force-confold postgresql >/dev/null
installed
