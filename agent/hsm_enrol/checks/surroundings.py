"""Knows what around the agent would get in its way: user, proxy variables, time synchronisation, units.

P7 P9 P15 P19: each of these was somebody's lost day, and none shows in the error that it ends in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hsm_enrol.checks.finding import Finding, fail, ok, warn
from hsm_enrol.shapes import dataclass

BOOT_UNIT = "hsm-enrol.service"
EXAMPLES = "/usr/share/hsm-enrol/examples"  # where the packages put them
STATE_FOLDERS = ("/var/lib/hsm-enrol", "/run/hsm-enrol")  # the unit's own, by StateDirectory= and RuntimeDirectory=


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """The boot unit as its files show it. `misnamed`: units that name it where the target belongs.

    `read_only`: what its sandbox takes out of `writable` again.
    """

    enabled: bool
    writable: tuple[str, ...]
    read_only: tuple[str, ...] = ()
    misnamed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What was seen. `proxies`: names of variables that are set; `synchronised` None: the kernel did not say.

    `waiter`: the unit that holds the boot until the time is synchronised, "" when none is enabled. `units` None: the
    boot unit is not installed here.
    """

    privileged: bool
    proxies: tuple[str, ...]
    synchronised: bool | None
    waiter: str
    units: Units | None


def judge(seen: Surroundings, *, proxy: str, destinations: Iterable[str]) -> Iterator[Finding]:
    """Give the findings. `proxy` is verifier.proxy; `destinations` every path that an enrolment writes."""
    if not seen.privileged:
        yield fail("user", "not root: much of this list cannot be seen", "run it with sudo")
    yield from _proxies(seen.proxies, proxy)
    yield from _time(seen)
    yield from _units(seen.units, tuple(destinations))


def _proxies(names: tuple[str, ...], proxy: str) -> Iterator[Finding]:
    if names and not proxy:
        hint = "if the verifier is behind that proxy, say so in verifier.proxy; IMDS and STS never are"
        yield warn("proxy", f"{', '.join(names)}: set here, and never used by hsm-enrol", hint)
    elif proxy:
        yield ok("proxy", f"the verifier is asked through {_bare(proxy)}, everything else directly")
    else:
        yield ok("proxy", "no proxy, none asked for")


def _bare(proxy: str) -> str:
    """Give a proxy's address without the password that may be in it."""
    scheme, _, rest = proxy.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _time(seen: Surroundings) -> Iterator[Finding]:
    if seen.synchronised is False:
        held = f"{seen.waiter} holds the boot until it is" if seen.waiter else "a run right after boot may be refused"
        yield warn("time", f"this machine's time is not synchronised; {held}", "is chrony or timesyncd running?")
    elif seen.synchronised:
        yield ok("time", "the kernel's time is synchronised")


def _units(units: Units | None, destinations: tuple[str, ...]) -> Iterator[Finding]:
    if units is None:
        yield warn("units", f"{BOOT_UNIT} is not installed", "install the package; without it nothing happens at boot")
        return
    if not units.enabled:
        hint = f"systemctl enable {BOOT_UNIT}; user data runs on the first boot only, and not at all in a warm pool"
        yield warn("units", f"{BOOT_UNIT} is not enabled: nothing happens at boot", hint)
    for name in units.misnamed:
        hint = "name hsm-enrol.target in Requires=, After= and WantedBy= instead (hsm-enrol(8), UNITS)"
        yield warn("units", f"{name} names {BOOT_UNIT}: it would not be started by a later success", hint)
    allowed = (*units.writable, *STATE_FOLDERS)
    for path in destinations:
        if _nearest(path, allowed) <= _nearest(path, units.read_only):
            hint = f"a drop-in with ReadWritePaths= for its folder, as {EXAMPLES}/other-prefix.conf has it"
            yield fail("units", f"{BOOT_UNIT} may not write {path}", hint)
    if units.enabled:
        yield ok("units", f"{BOOT_UNIT} is enabled")


def _nearest(path: str, places: Iterable[str]) -> int:
    """Give the length of the longest of `places` that `path` is in or is; of two, systemd goes by that one."""
    return max((len(one) for one in places if path == one or path.startswith(one.rstrip("/") + "/")), default=0)
