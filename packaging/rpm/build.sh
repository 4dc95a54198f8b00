#!/bin/sh
# Builds the rpm of the agent into dist/, twice, and compares; a .cdx.json beside it. Meant for Amazon Linux 2023 and
# RHEL 9: the modules inside are for python3.11, so it is built where /usr/bin/python3.11 is Debian 12's. Then it is
# unpacked and looked at; rpmlint last. As root it installs what it needs.
set -eu
umask 022
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
python=/usr/bin/python3.11
"$root/packaging/dev/needs.sh" $python=python3.11 /usr/include/python3.11/Python.h=libpython3.11-dev \
    /usr/lib/python3.11/ensurepip=python3.11-venv /usr/include/systemd/sd-daemon.h=libsystemd-dev gcc=gcc \
    pkg-config=pkg-config readelf=binutils rpmbuild=rpm rpmlint=rpmlint cpio=cpio
release=$(sed -n 's/^version = //p' "$root/setup.cfg")
SOURCE_DATE_EPOCH=$(date -d "$(sed -n 's/^\* \(.*20[0-9][0-9]\) .*/\1/p' "$here/hsm-enrol.spec" | head -n 1) 00:00 UTC" +%s)
export SOURCE_DATE_EPOCH
machine=$(uname -m)
file=hsm-enrol-$release-1.$machine.rpm

for turn in first second; do
    work=$root/build/rpm/$turn
    stage=$work/stage
    rm -rf "$work"
    mkdir -p "$work"
    "$root/packaging/stage.sh" agent $python "$stage"
    "$root/packaging/furnish.sh" agent "$stage"
    install -D -m 644 "$root/LICENSE" "$stage/usr/share/licenses/hsm-enrol/LICENSE"
    install -D -m 644 "$stage.cdx.json" "$stage/usr/share/doc/hsm-enrol/hsm-enrol.cdx.json"
    find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    rpmbuild -bb --quiet --define "_topdir $work" --define "stage $stage" --define "release_version $release" \
        "$here/hsm-enrol.spec"
done
cmp "$root/build/rpm/first/RPMS/$machine/$file" "$root/build/rpm/second/RPMS/$machine/$file"
mkdir -p "$root/dist"
cp "$root/build/rpm/first/RPMS/$machine/$file" "$root/dist/"
cp "$root/build/rpm/first/stage.cdx.json" "$root/dist/${file%.rpm}.cdx.json"

# What a host would get is what was staged, and nothing private is asked for or offered.
rm -rf "$root/build/rpm/unpacked"
mkdir "$root/build/rpm/unpacked"
(cd "$root/build/rpm/unpacked" && rpm2cpio "$root/dist/$file" | cpio -idm --quiet)
diff -r "$root/build/rpm/first/stage" "$root/build/rpm/unpacked"
if rpm -qp --requires --provides "$root/dist/$file" | grep -E '\.so|python3dist'; then
    echo "rpm: private libraries are visible outside" >&2
    exit 1
fi
rpmlint --config "$here/rpmlint.toml" --strict "$root/dist/$file"
echo "rpm: dist/$file, $(du -k "$root/dist/$file" | cut -f1) kB; two builds are equal; rpmlint has nothing to say"
