"""Knows whether the Luna client on this host can be worked with: conf, tools, group, and every place to write."""

from __future__ import annotations

from collections.abc import Iterator

from hsm_enrol.checks.finding import Finding, fail, of_error, ok, warn
from hsm_enrol.errors import EnrolError
from hsm_enrol.shapes import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One program of the client: `state` is "" when it can be run, else what is wrong with it."""

    path: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What was seen. `place` is the client's folder, or why there is none; `links` those in front of the conf.

    `version` None: the tool printed no banner, or could not be run. `destinations`: every path
    to be written, with what stands in its way. `no_java`: `java.security` files of the settings that are not there.
    """

    conf: str
    links: tuple[str, ...]
    place: str | EnrolError
    tools: tuple[Tool, ...]
    version: tuple[int, int] | None
    banner_wanted: bool
    group: str
    group_there: bool
    destinations: tuple[tuple[str, EnrolError | None], ...]
    no_java: tuple[str, ...] = ()


def judge(seen: Client) -> Iterator[Finding]:
    """Give the findings. Whatever luna.join says: without its tools nothing shows that the slot is there."""
    if isinstance(seen.place, EnrolError):
        yield of_error("luna", seen.place)
    else:
        yield ok("luna", f"the client is at {seen.place}, its conf at {seen.conf}")
        yield from _tools(seen)
    if seen.links:
        yield ok("luna", f"{seen.conf} is a symbolic link to {seen.links[-1]}; the file behind it is what is replaced")
    if not seen.group_there:
        hint = "groupadd --system it and put the applications' users in, or correct luna.group"
        yield warn("group", f"there is no group {seen.group} here: only root could use the client key", hint)
    else:
        yield ok("group", f"group {seen.group} is there")
    for path in seen.no_java:
        hint = "correct deliver.java_security, or install the JDK: each later run looks again"
        yield warn("java", f"{path} is not there, and gets no Luna provider", hint)
    blocked = [error for _, error in seen.destinations if error is not None]
    for error in dict.fromkeys(error.fault() for error in blocked):
        yield of_error("places", next(one for one in blocked if one.fault() == error))
    if seen.destinations and not blocked:
        yield ok("places", f"all {len(seen.destinations)} paths that an enrolment writes can be written")


def _tools(seen: Client) -> Iterator[Finding]:
    for tool in seen.tools:
        if tool.state:
            hint = (
                'install the client\'s tools; luna.join = "config" does not join by them, but needs them to look again'
            )
            yield fail("tools", f"{tool.path} {tool.state}", hint)
    if all(not tool.state for tool in seen.tools) and seen.banner_wanted:
        if seen.version is None:
            hint = "clients from 5.1 on work; upgrade when you can: only 10 and later take certificates of a CA"
            yield warn("tools", "vtl prints no version: the client is older than 10", hint)
        else:
            yield ok("tools", f"vtl is of version {seen.version[0]}.{seen.version[1]}")
