#!/bin/sh
# Runs a command again when a package registry hiccups: four tries, 2, 6 and 18 seconds apart.
wait=2
for try in 1 2 3 4; do
    "$@" && exit 0
    status=$?
    [ "$try" = 4 ] && exit "$status"
    echo "retry.sh: try $try of 4 failed with $status, again in ${wait}s: $1 ..." >&2
    sleep "$wait"
    wait=$((wait * 3))
done
