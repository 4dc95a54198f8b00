#!/bin/sh
# Builds one party's private folder for a package: `stage.sh agent|verifier PYTHON STAGE` fills STAGE with
#   usr/lib/hsm-enrol/site (or hsm-verifier): the party, its locked dependencies, byte code
#   usr/bin/hsm-enrol (or hsm-verifier): the launcher
# PYTHON is the distribution's own interpreter, /usr/bin/python3.11: systemd-python is compiled for it. Two runs give the
# same bytes. Needs SOURCE_DATE_EPOCH. Wheels are kept in build/wheels; each is checked against packaging/lock/.
set -eu
umask 022
export LC_ALL=C PYTHONDONTWRITEBYTECODE=1
party=$1 python=$2 stage=$3
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
retry=$here/dev/retry.sh
work=$root/build
case $party in
    agent) name=hsm-enrol module=hsm_enrol ;;
    verifier) name=hsm-verifier module=hsm_verifier ;;
    *) echo "stage: agent or verifier, not $party" >&2; exit 64 ;;
esac
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
machine=$(uname -m)
wheels=$work/wheels/$version-$machine
site=$stage/usr/lib/$name/site
release=$(sed -n 's/^version = //p' "$root/setup.cfg")

# An interpreter of our own beside the distribution's, for pip and setuptools.
tools=$work/tools-$version
if [ ! -e "$tools/.ready" ]; then
    rm -rf "$tools"
    "$python" -m venv "$tools"
    "$retry" "$tools/bin/python" -m pip install --no-deps --require-hashes -r "$here/lock/build.txt"
    touch "$tools/.ready"
fi
pip() { "$tools/bin/python" -m pip --disable-pip-version-check -qq "$@"; }

# The platform is named: what fits glibc 2.28 fits Debian 12, Amazon Linux 2023 and RHEL 9, whatever this machine has.
mkdir -p "$wheels"
"$retry" "$tools/bin/python" -m pip --disable-pip-version-check -qq download --no-deps --require-hashes \
    --only-binary :all: --implementation cp --python-version "$version" --platform "manylinux_2_28_$machine" \
    --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" \
    -d "$wheels" -r "$here/lock/$party.txt"

rm -rf "$stage"
mkdir -p "$site" "$stage/usr/bin"
pip install --no-index --find-links "$wheels" --no-deps --require-hashes --no-compile --target "$site" \
    -r "$here/lock/$party.txt"
sources=
if [ "$party" = agent ]; then
    sources=$work/sources
    # Compiled here, by the distribution's interpreter and never out of pip's cache: another one would leave its own
    # folders in the module (RUNPATH). No debug information, so no path of the builder either.
    "$retry" "$tools/bin/python" -m pip --disable-pip-version-check -qq download --no-deps --require-hashes \
        --no-build-isolation --no-binary systemd-python -d "$sources" -r "$here/lock/systemd.txt"
    built=$(mktemp -d)
    CFLAGS="-g0 -O2" LDFLAGS=-s pip wheel --no-deps --no-index --find-links "$sources" --require-hashes \
        --no-build-isolation --no-cache-dir -w "$built" -r "$here/lock/systemd.txt"
    pip install --no-index --no-deps --no-compile --target "$site" "$built"/*.whl
    rm -r "$built"
    if readelf -d "$site"/systemd/*.so | grep -E 'RUNPATH|RPATH'; then
        echo "stage: systemd-python names folders of this machine" >&2
        exit 1
    fi
    cp -r "$root/agent/hsm_enrol" "$site/"
else
    # Of the agent the verifier has the wire format, the errors and what both stand on, nothing else.
    cp -r "$root/verifier/hsm_verifier" "$site/"
    mkdir "$site/hsm_enrol"
    cp -r "$root/agent/hsm_enrol/__init__.py" "$root/agent/hsm_enrol/errors" "$root/agent/hsm_enrol/shapes.py" \
        "$root/agent/hsm_enrol/py.typed" "$root/agent/hsm_enrol/wire" "$site/hsm_enrol/"
    # botocore describes every service of AWS; we ask three.
    find "$site/botocore/data" -mindepth 1 -maxdepth 1 -type d ! -name ec2 ! -name iam ! -name sts -exec rm -r {} +
    find "$site/boto3/data" -mindepth 1 -maxdepth 1 -type d ! -name ec2 ! -name iam -exec rm -r {} +
    rm -rf "$site/boto3/examples"
fi

# What only builders and tests want.
rm -rf "$site/bin"
find "$site" -type d \( -name test -o -name tests -o -name __pycache__ \) -prune -exec rm -r {} +
find "$site" -type f \( -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' -o -name RECORD -o -name INSTALLER \
    -o -name REQUESTED -o -name direct_url.json \) -delete
find "$site" -type f -exec chmod 644 {} +

# Byte code with the paths of the target, no times in it, and the source not looked at again. The launcher has -B:
# under the unit's sandbox nothing could be written there anyway.
"$python" -I -m compileall -q -f --invalidation-mode unchecked-hash -s "$stage" -p / "$site"

# -I: no environment, no folder of the caller's; -S: nothing out of the distribution's or a user's site-packages.
# Behind Python's own: no library stands in for a part of it, and none of those is looked for here first.
cat >"$stage/usr/bin/$name" <<END
#!/usr/bin/python$version -IBS
import sys

sys.path.append("/usr/lib/$name/site")

from $module.__main__ import main  # noqa: E402

sys.exit(main())
END
chmod 755 "$stage/usr/bin/$name"
"$python" -I "$here/sbom.py" "$name" "$release" "$site" "$wheels" ${sources:+"$sources"} >"$stage.cdx.json"
