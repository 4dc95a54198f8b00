#!/bin/sh
# Adds to a private folder (stage.sh) what both package formats hold beside it: `furnish.sh agent|verifier STAGE`.
set -eu
umask 022
party=$1 stage=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
case $party in
    agent) name=hsm-enrol manuals="hsm-enrol.8 hsm-enrol.toml.5" ;;
    verifier) name=hsm-verifier manuals="hsm-verifier.8" ;;
    *) echo "furnish: agent or verifier, not $party" >&2; exit 64 ;;
esac
put() { install -D -m 644 "$1" "$stage/$2"; }

for unit in "$root/systemd/$name"*.service "$root/systemd/$name"*.socket "$root/systemd/$name"*.target \
    "$root/systemd/$name"*.timer; do
    [ ! -e "$unit" ] || put "$unit" "usr/lib/systemd/system/$(basename "$unit")"
done
put "$root/systemd/sysusers.d/$name.conf" "usr/lib/sysusers.d/$name.conf"
put "$here/completion/$name" "usr/share/bash-completion/completions/$name"
for manual in $manuals; do
    put "$root/docs/man/$manual" "usr/share/man/man${manual##*.}/$manual"
    gzip -9n "$stage/usr/share/man/man${manual##*.}/$manual"
done
if [ "$party" = agent ]; then
    put "$root/systemd/tmpfiles.d/hsm-enrol.conf" usr/lib/tmpfiles.d/hsm-enrol.conf
    put "$root/systemd/hsm-enrol.catalog" usr/lib/systemd/catalog/hsm-enrol.catalog
    put "$here/hsm-enrol.toml.example" usr/share/hsm-enrol/hsm-enrol.toml.example
    examples="settings-must-come.conf pin-credential.conf other-prefix.conf imds-root-only.nft"
else
    examples="verifier-credentials.conf"
fi
for example in $examples; do
    put "$root/systemd/examples/$example" "usr/share/$name/examples/$example"
done
