"""Knows how to make the image that machines are booted from: Debian by mmdebstrap, kept for a week, and our package."""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
import subprocess
from pathlib import Path

# systemd-resolved and a network manager are left out: what is under test must not depend on either.
PACKAGES = ("cloud-init", "dbus", "libsystemd0", "python3", "systemd", "systemd-sysv")
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")
CONSUMER = """[Unit]
Description=An application that needs the HSM
Requires=hsm-enrol.target
After=hsm-enrol.target

[Service]
Type=exec
EnvironmentFile=/run/hsm-enrol/ha.env
ExecStart=/bin/sh -c 'echo "$LUNA_HA_LABEL $LUNA_HA_SLOT" >/run/consumer.saw; exec sleep infinity'

[Install]
WantedBy=hsm-enrol.target
"""
# Only the waits are shortened. Nothing else of the units is touched.
SHORTER = {
    "hsm-enrol.service.d/rehearsal.conf": "[Service]\nRestartSec=1s\n",
    "hsm-enrol-retry.timer.d/rehearsal.conf": (
        "[Timer]\nOnUnitInactiveSec=\nOnUnitInactiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=100ms\n"
    ),
}


def suite() -> str:
    """Give this machine's Debian release: the package is built for it."""
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    raise LookupError("no VERSION_CODENAME in /etc/os-release")


def base(cache: Path) -> Path:
    """Give a tree with Debian in it, made anew each week; the network is needed only then."""
    week = "-".join(map(str, dt.datetime.now(dt.UTC).isocalendar()[:2]))
    key = hashlib.sha256(repr((suite(), PACKAGES, LEFT_OUT, week)).encode()).hexdigest()[:12]
    tree = cache / f"base-{key}"
    if not tree.exists():
        for older in cache.glob("base-*"):
            shutil.rmtree(older)
        partial = cache / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        cache.mkdir(parents=True, exist_ok=True)
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        command += ["--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={one}" for one in LEFT_OUT)]
        subprocess.run([*command, suite(), partial], check=True, timeout=600)
        partial.rename(tree)
    return tree


def install(debian: Path, package: Path, folder: Path) -> Path:
    """Give a layer over the tree with our package in it, installed as an image builder does it, without network."""
    layer, root = folder / "upper", folder / "root"
    for place in (layer, folder / "work", root):
        place.mkdir(parents=True)
    options = f"lowerdir={debian},upperdir={layer},workdir={folder / 'work'}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True, timeout=20)
    try:
        shutil.copy(package, root / "package.deb")
        inside(root, "dpkg", "--install", "/package.deb")
        (root / "package.deb").unlink()
        units = root / "etc/systemd/system"
        (units / "consumer.service").write_text(CONSUMER)
        for name, text in SHORTER.items():
            (units / name).parent.mkdir(parents=True)
            (units / name).write_text(text)
        inside(root, "systemctl", "enable", "consumer.service")
        (root / "etc/machine-id").write_text("")
        (root / "var/log/journal").mkdir(parents=True, exist_ok=True)
        (root / "etc/cloud/cloud-init.disabled").touch()
    finally:
        subprocess.run(["umount", root], check=True, timeout=20)
    return layer


def inside(root: Path, *words: str) -> str:
    """Run a command in a tree that is not booted, in a container without network; gives its output."""
    command = ["systemd-nspawn", "--quiet", f"--directory={root}", "--register=no", "--keep-unit", "--pipe"]
    command += ["--private-network", "--resolv-conf=off", "--timezone=off", "--setenv=DEBIAN_FRONTEND=noninteractive"]
    done = subprocess.run(
        [*command, "--", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout
