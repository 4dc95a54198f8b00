#!/bin/sh
# Builds Debian packages into dist/, each twice, and compares: `build.sh agent verifier`, or one of them; hsm-enrol,
# hsm-enrol-verifier, and a .cdx.json beside each. For the Debian release and machine this runs on. As root it installs
# what it needs. `build.sh --light PARTY` builds once and packs quickly, into build/deb/PARTY-light.deb: to be installed
# and thrown away.
set -eu
umask 022
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
"$root/packaging/dev/needs.sh" /usr/bin/python3=python3 /usr/include/systemd/sd-daemon.h=libsystemd-dev gcc=gcc \
    pkg-config=pkg-config readelf=binutils dpkg-deb=dpkg
python=$(readlink -f /usr/bin/python3)
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$root/packaging/dev/needs.sh" "/usr/include/python$version/Python.h=libpython$version-dev" \
    "/usr/lib/python$version/ensurepip=python$version-venv"
next=${version%.*}.$((${version#*.} + 1))
arch=$(dpkg --print-architecture)
release=$(sed -n '1s/.*(\(.*\)).*/\1/p' "$here/changelog")
SOURCE_DATE_EPOCH=$(date -d "$(sed -n 's/^ -- .*>  //p' "$here/changelog" | head -n 1)" +%s)
export SOURCE_DATE_EPOCH
light= level=
if [ "${1-}" = --light ]; then
    light=yes level=-z1
    shift
fi

# one PARTY NAME STAGE: fills STAGE and packs it as STAGE.deb
one() {
    party=$1 name=$2 stage=$3
    "$root/packaging/stage.sh" "$party" "$python" "$stage"
    "$root/packaging/furnish.sh" "$party" "$stage"
    doc=$stage/usr/share/doc/$name
    install -D -m 644 "$here/copyright" "$doc/copyright"
    install -m 644 "$here/changelog" "$doc/changelog"
    gzip -9n "$doc/changelog"
    install -m 644 "$stage.cdx.json" "$doc/$name.cdx.json"
    install -D -m 644 "$here/$party/lintian-overrides" "$stage/usr/share/lintian/overrides/$name"
    size=$(du -sk --apparent-size "$stage" | cut -f1)
    mkdir "$stage/DEBIAN"
    sed -e "s/@VERSION@/$release/; s/@ARCH@/$arch/; s/@PYTHON@/$version/; s/@NEXT@/$next/; s/@SIZE@/$size/" \
        "$here/$party.control" >"$stage/DEBIAN/control"
    for script in postinst prerm postrm; do
        install -m 755 "$here/$party/$script" "$stage/DEBIAN/$script"
    done
    (cd "$stage" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"
    find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz $level --build "$stage" "$stage.deb" >/dev/null
}

mkdir -p "$root/dist" "$root/build/deb"
for party in "$@"; do
    name=hsm-enrol
    [ "$party" = agent ] || name=hsm-enrol-verifier
    if [ -n "$light" ]; then
        one "$party" "$name" "$root/build/deb/$party-light"
        continue
    fi
    for turn in first second; do
        one "$party" "$name" "$root/build/deb/$party-$turn"
    done
    cmp "$root/build/deb/$party-first.deb" "$root/build/deb/$party-second.deb"
    file=${name}_${release}_${arch}
    cp "$root/build/deb/$party-first.deb" "$root/dist/$file.deb"
    cp "$root/build/deb/$party-first.cdx.json" "$root/dist/$file.cdx.json"
    echo "deb: dist/$file.deb, $(du -k "$root/dist/$file.deb" | cut -f1) kB; two builds are equal"
done
