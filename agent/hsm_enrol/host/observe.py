"""Knows what this host looks like: reads files, runs nothing, and tells "not there" from "could not tell"."""

from __future__ import annotations

import grp
import os
from typing import TYPE_CHECKING

from hsm_enrol.deliver import PIN_FILE
from hsm_enrol.errors import CannotTell, EnrolError
from hsm_enrol.host import files
from hsm_enrol.host.folders import below, errno_name, follow, open_folder, real_path
from hsm_enrol.model import ABSENT, Found, Present, Seen, Unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hsm_enrol.settings import Settings

MAX_BYTES = 1 << 20
CONF = "/etc/Chrystoki.conf"
GROUPS = "/etc/group"


def conf_of(settings: Settings) -> str:
    """Give where the conf is: `luna.config`, else what the client's own variable says, else where it always was."""
    folder = os.environ.get("ChrystokiConfigurationPath", "")  # noqa: SIM112  the client spells it so
    return settings.luna.config or (f"{folder}/Chrystoki.conf" if folder.startswith("/") else CONF)


def observe(settings: Settings, conf: str, paths: Iterable[str]) -> Seen:
    """Read the conf through its links and each of `paths` as it is. Never raises for what it finds.

    Of a file that holds a PIN the content is not read: presence, mode and owner will do.
    """
    root = settings.root
    return Seen(
        conf=look(conf, root, links=True),
        files={path: look(path, root, content=path != PIN_FILE) for path in paths},
        uid=os.geteuid(),
        gid=os.getegid(),
        key_gid=gid_of(settings.luna.group, root),
    )


def look(path: str, root: str = "", *, links: bool = False, content: bool = True) -> Found:
    """Say what stands at one path: Present, ABSENT (ENOENT, ENOTDIR), or Unknown with the errno's name.

    A link is followed only if told to; else it is Unknown ELOOP, like anything that is no regular file (EINVAL).
    """
    disk = below(root, path)
    try:
        trail = follow(disk, root) if links else None
        place, name = os.path.split(trail.path if trail else disk)
        with open_folder(place, root, judge=False) as folder:
            descriptor = files.open_regular(folder, name, path)
            if descriptor is None:
                return ABSENT
            with open(descriptor, "rb") as file:
                looks = files.looks_of(descriptor)
                data = files.read_at_most(file, MAX_BYTES) if content else b""
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    except OSError as error:
        return Unknown(error=errno_name(error))
    except EnrolError:
        return Unknown(error="ELOOP" if os.path.islink(disk) else "EINVAL")
    if len(data) > MAX_BYTES:
        return Unknown(error="EFBIG")
    before = tuple(link.path[len(root) :] for link in trail.links) if trail else ()
    return Present(content=data, mode=looks.mode, uid=looks.uid, gid=looks.gid, links=before)


def refuse_unknown(seen: Seen, conf: str) -> None:
    """Plan on nothing that could not be told. Raises CannotTell, naming the first."""
    for path, found in {conf: seen.conf, **seen.files}.items():
        if isinstance(found, Unknown):
            raise CannotTell(path=path, error=found.error)


def gid_of(group: str, root: str = "") -> int | None:
    """Find a group's number; below --root in its own /etc/group, as that host would. None: there is no such group."""
    if not root:
        try:
            return grp.getgrnam(group).gr_gid
        except KeyError:
            return None
    table = look(GROUPS, root)
    lines = table.content.decode("utf-8", "replace").split("\n") if isinstance(table, Present) else []
    numbers = [fields[2] for fields in (line.split(":") for line in lines) if len(fields) > 2 and fields[0] == group]  # noqa: PLR2004  name:password:gid:members
    return int(numbers[0]) if numbers and numbers[0].isdecimal() else None


def missing_folders(paths: Collection[str], root: str = "") -> tuple[str, ...]:
    """Give the folders on the way to `paths` that are still to be made, each behind the one that it is in."""
    found: list[str] = []
    for path in paths:
        lacking, folder = [], os.path.dirname(path)
        while not os.path.isdir(os.path.dirname(real_path(below(root, folder) + "/any", root))):
            lacking.append(folder)
            folder = os.path.dirname(folder)
        found += reversed(lacking)
    return tuple(dict.fromkeys(found))
