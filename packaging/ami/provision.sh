#!/bin/sh
# Runs as root on the builder: installs, enables, and then takes out everything that must not be twice in the world.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y /tmp/hsm-enrol.deb

# The vendor's installer, as its manual says; names and options differ from version to version.
mkdir /tmp/luna-client
tar -C /tmp/luna-client -xf /tmp/luna-client.tar
(cd /tmp/luna-client && yes | sh ./install.sh -p network)

systemctl enable hsm-enrol.service hsm-enrol-retry.timer hsm-enrol-refresh.timer hsm-enrol-check.timer
systemd-analyze verify --man=no --recursive-errors=no /usr/lib/systemd/system/hsm-enrol.service

# From here on only removals. No record, key, certificate or journal of the builder goes into the image.
hsm-enrol generalize
[ -z "$(ls -A /var/lib/hsm-enrol)" ]
rm -rf /tmp/hsm-enrol.deb /tmp/luna-client /tmp/luna-client.tar
apt-get clean
cloud-init clean --logs --seed
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /var/lib/systemd/credential.secret /var/lib/systemd/random-seed
: >/etc/machine-id
journalctl --rotate
journalctl --vacuum-time=1s
