#!/bin/sh
# Sees to it that a node_exporter is here, for the test that has it read our metrics: Debian's program, unpacked below
# .bench/ and not installed, because installing it would start it on all addresses of this machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
package=prometheus-node-exporter
folder=$root/.bench/node-exporter

command -v $package >/dev/null && exit 0
[ -x "$folder/usr/bin/$package" ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "node_exporter.sh: no $package and no apt-get. The test that wants it will say so" >&2
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    "$here/retry.sh" apt-get update -qq >&2
fi
mkdir -p "$folder"
cd "$folder"
"$here/retry.sh" apt-get download -qq -o APT::Sandbox::User=root $package >&2
dpkg-deb --extract "$package"_*.deb .
rm "$package"_*.deb
[ -x "usr/bin/$package" ]
