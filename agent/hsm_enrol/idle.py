"""Knows how to find out that there is nothing to do, before anything heavy is imported.

Every file is as the record's witness says, the settings file included; nothing is half done and nothing is due. A
difference does not mean drift: it means that the full way has a look. Only json, hashlib and os: see docs/performance.
"""

import json
import os
import stat

from hsm_enrol import __version__, witness

RECORD = "/var/lib/hsm-enrol/record.json"
UNDO = "/var/lib/hsm-enrol/undo"
HA_ENV = "/run/hsm-enrol/ha.env"
DMI = "/sys/devices/virtual/dmi/id/board_asset_tag"
ENV_MODE = 0o644  # as in deliver.py
_ID_LENGTHS = (10, 19)  # i- and 8 or 17 hexadecimal digits


def nothing_to_do(root: str, settings_path: str) -> str | None:
    """Give one line for the journal when this host is as it should be; None when the full way has to look.

    After a boot ha.env is made again, but only where the firmware names the instance, so that a cloned image is never
    taken for the instance it was made of; elsewhere the full way asks IMDS.
    """
    try:
        with open(root + RECORD, "rb") as file:
            record = json.load(file)
        installed, ha = record["installed"], record["installed"]["ha"]
        if os.path.lexists(root + UNDO) or "receipt_due" in record or record["agent"] != __version__:
            return None
        rows = record["witness"]
        if rows[0][0] != settings_path or any(_changed(row) for row in rows):
            return None
        named = instance_by_firmware(root)
        if named not in {"", record["instance_id"]}:
            return None
        slot = "" if ha["slot"] is None else f"LUNA_HA_SLOT={ha['slot']}\n"
        if not _provide_env(
            root + HA_ENV, f"LUNA_HA_LABEL={ha['label']}\n{slot}".encode("ascii"), may_make=bool(named)
        ):
            return None
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    return f"nothing to do: serial {installed['serial']} in group {ha['label']} since {installed['at']}"


def _changed(row: witness.Row) -> bool:
    path = str(row[0])
    return witness.look(path, path, digest=row[4] != "") != row


def instance_by_firmware(root: str) -> str:
    """Give the instance id that DMI tells; "" where it tells none (Xen, containers)."""
    try:
        with open(root + DMI, encoding="ascii", errors="replace") as file:
            text = file.read(256).strip()
    except OSError:
        return ""
    return text if text.startswith("i-") and len(text) in _ID_LENGTHS else ""


def _provide_env(path: str, content: bytes, *, may_make: bool) -> bool:
    """Tell whether ha.env is right; make it where it is missing and we may."""
    try:
        there = os.lstat(path)
        if not stat.S_ISREG(there.st_mode) or stat.S_IMODE(there.st_mode) != ENV_MODE:
            return False
        with open(path, "rb") as file:
            return file.read(4096) == content
    except FileNotFoundError:
        if not may_make:
            return False
    temp = f"{path[: path.rindex('/')]}/.hsm-enrol.{os.urandom(4).hex()}"
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
        os.fchmod(descriptor, ENV_MODE)
    finally:
        os.close(descriptor)
    os.rename(temp, path)
    return True
