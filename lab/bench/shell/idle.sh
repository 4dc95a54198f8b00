#!/bin/sh
# What the shell does when there is nothing to do: is the record of this instance, and is everything as it was left?
set -eu
cd "$ROOT"
id=$(jq -r .id var/lib/join/record.json)
sha256sum --check --quiet --strict var/lib/join/digests
echo "nothing to do: $id"
