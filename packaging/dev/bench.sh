#!/bin/sh
# Gets what `make bench` compares with: curl, jq and openssl of the distribution, the aws command in an environment of
# its own below .bench/ (bao comes with the laboratory's requirements), on the Python that the agent is measured on.
set -eu
here=$(dirname "$0")
root=$(cd "$here/../.." && pwd)
python=${1:?usage: bench.sh PYTHON}
"$here/needs.sh" curl=curl jq=jq openssl=openssl setpriv=util-linux
venv=$root/.bench/venv
which='import sys; print(sys.base_prefix, sys.version)'
[ -x "$venv/bin/aws" ] && [ "$("$venv/bin/python" -c "$which")" = "$("$python" -c "$which")" ] && exit 0
"$python" -m venv --clear "$venv"
"$here/retry.sh" "$venv/bin/python" -m pip install -q --disable-pip-version-check 'awscli==1.46.3'
