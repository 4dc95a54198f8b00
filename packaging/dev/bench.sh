#!/bin/sh
# Gets what `make bench` compares with: curl, jq and openssl of the distribution, the aws command in an environment of
# its own below .bench/ (bao comes with the laboratory's requirements).
set -eu
here=$(dirname "$0")
root=$(cd "$here/../.." && pwd)
python=${1:?usage: bench.sh PYTHON}
"$here/needs.sh" curl=curl jq=jq openssl=openssl setpriv=util-linux
venv=$root/.bench/venv
[ -x "$venv/bin/aws" ] && exit 0
"$python" -m venv "$venv"
"$here/retry.sh" "$venv/bin/python" -m pip install -q --disable-pip-version-check 'awscli==1.46.3'
