"""Knows how to see what is around the agent: environment, kernel time, units on disk. Nothing is run or changed."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from hsm_enrol.checks.surroundings import BOOT_UNIT, Surroundings, Units

UNIT_FOLDERS: Final = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
WAITERS: Final = ("systemd-time-wait-sync.service", "chrony-wait.service")
_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 512  # more than any ABI's struct timex
_DEPENDENCY = re.compile(r"(Requires|Requisite|Wants|BindsTo|PartOf|After)\s*=.*\bhsm-enrol\.service\b")
_WRITABLE = re.compile(r"ReadWritePaths\s*=(.*)")
_READ_ONLY = re.compile(r"ReadOnlyPaths\s*=(.*)")


def look_around(root: str, environ: Mapping[str, str]) -> Surroundings:
    """Give what is seen from here; units are those below `root`."""
    top = Path(root or "/")
    waiter = next((name for name in WAITERS if _wanted(top, name)), "")
    return Surroundings(
        privileged=os.geteuid() == 0,
        proxies=tuple(sorted(name for name, value in environ.items() if value and name.lower() in _PROXIES)),
        synchronised=kernel_time_is_synchronised(),
        waiter=waiter,
        units=_units(top),
    )


def kernel_time_is_synchronised() -> bool | None:
    """Ask the kernel, which whatever keeps the time has told; None when it does not say (a sandbox may refuse)."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes = 0: nothing is set
    state = ctypes.CDLL(None).adjtimex(buffer)
    return None if state < 0 else state != _TIME_ERROR


def _units(top: Path) -> Units | None:
    texts = [text for folder in UNIT_FOLDERS if (text := _read(top / folder / BOOT_UNIT))]
    if not texts:
        return None
    texts += [_read(drop_in) for folder in UNIT_FOLDERS for drop_in in (top / folder / f"{BOOT_UNIT}.d").glob("*.conf")]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return Units(
        enabled=_wanted(top, BOOT_UNIT),
        writable=_paths(_WRITABLE, lines),
        read_only=_paths(_READ_ONLY, lines),
        misnamed=tuple(_misnamed(top)),
    )


def _paths(directive: re.Pattern[str], lines: Iterable[str]) -> tuple[str, ...]:
    found = [path.lstrip("-+") for line in lines if (match := directive.fullmatch(line)) for path in match[1].split()]
    return tuple(dict.fromkeys(found))


def _wanted(top: Path, name: str) -> bool:
    wants = top.joinpath(UNIT_FOLDERS[0]).glob("*.wants")
    return any(os.path.lexists(folder / name) for folder in wants)  # where the link leads is below another root


def _misnamed(top: Path) -> Iterator[str]:
    """Name the units of others that depend on the boot unit itself."""
    found = set()
    for folder in UNIT_FOLDERS:
        for pattern in ("*.service", "*.service.d/*.conf"):
            for path in top.joinpath(folder).glob(pattern):
                name = path.name if path.suffix == ".service" else path.parent.name.removesuffix(".d")
                if not name.startswith("hsm-enrol") and any(map(_DEPENDENCY.match, _read(path).splitlines())):
                    found.add(name)
    yield from sorted(found)


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""
