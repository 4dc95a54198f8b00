#!/bin/sh
# Makes the virtual environment named by $1: the two parties, and the extra that $2 names: `lab` for the
# laboratory, `dev` for tests and checks as well. Quiet unless something fails.
set -eu
venv=$1
extras=${2:+[$2]}
here=$(dirname "$0")
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "bootstrap: $python is older than 3.11; name another with PYTHON=..." >&2
    exit 1
}
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    # Debian ships venv apart from python3.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        "$here/retry.sh" apt-get update -qq
        DEBIAN_FRONTEND=noninteractive "$here/retry.sh" apt-get install -qq -y python3-venv >/dev/null
    else
        echo "bootstrap: $python has no venv; as root: apt-get install python3-venv" >&2
        exit 1
    fi
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$here/retry.sh" "$venv/bin/python" -m pip install -q --no-warn-script-location -c "$here/constraints.txt" \
    -e "$root$extras" -e "$root/verifier" 2>"$venv/pip.log" || { cat "$venv/pip.log" >&2; exit 1; }
