"""Knows how to look at the Luna client, and to try every place that an enrolment writes."""

from __future__ import annotations

import os

from hsm_enrol import luna
from hsm_enrol.checks.client import Client, Tool
from hsm_enrol.errors import EnrolError
from hsm_enrol.facts.look import Look, or_error
from hsm_enrol.host.act import path_of_tool
from hsm_enrol.host.conf_file import read_conf
from hsm_enrol.host.folders import below
from hsm_enrol.host.observe import gid_of
from hsm_enrol.host.preflight import preflight
from hsm_enrol.host.site import Site
from hsm_enrol.host.tools import run_tool

Places = tuple[tuple[str, EnrolError | None], ...]
TOOL_TIME = 20.0  # seconds
_TOOLS = ("vtl",)  # lunacm speaks where vtl has no haAdmin; a client without it is still a client


def find_places(site: Site) -> Places:
    """Try every place that an enrolment writes; () when the client is not there to tell them."""
    found = or_error(site.destinations)
    if isinstance(found, EnrolError):
        return ()
    paths, private = found
    return tuple((path, or_error(lambda path=path: _try(path, site.root, private))) for path in paths)  # type: ignore[misc]  # each lambda its own path


def _try(path: str, root: str, private: tuple[str, ...]) -> None:
    preflight((path,), root=root, private=(path,) if path in private else ())


def find_client(look: Look, site: Site, places: Places) -> Client:
    """Look at the client's folder, conf, tools and group. `places` as find_places gave them."""
    place = or_error(lambda: site.paths("probe", "").prefix)
    conf = or_error(lambda: read_conf(site.conf, site.root))
    names = () if isinstance(place, EnrolError) else _TOOLS
    tools = tuple(_tool(path_of_tool(site.root, str(place), one)) for one in names)
    runs = look.ask_tools and bool(tools) and not tools[0].state
    group = site.settings.luna.group
    return Client(
        conf=site.conf,
        links=() if isinstance(conf, EnrolError) else tuple(one.to for one in conf.trail.links),
        place=place,
        tools=tools,
        version=_version(tools[0].path) if runs else None,
        banner_wanted=runs,
        group=group,
        group_there=gid_of(group, site.root) is not None,
        destinations=places,
        no_java=tuple(one for one in site.settings.deliver.java_security if not os.path.exists(below(site.root, one))),
    )


def _tool(path: str) -> Tool:
    if not os.path.exists(path):
        return Tool(path=path, state="is missing")
    return Tool(path=path, state="" if os.access(path, os.X_OK) else "cannot be run")


def _version(program: str) -> tuple[int, int] | None:
    """Read the banner that vtl prints before its usage text."""
    ran = or_error(
        lambda: run_tool(
            (program, "-h"),
            pin=None,
            timeout=TOOL_TIME,
            env_conf=None,
            lock_fd=None,
            existing_objects="quit",
            stop=lambda: False,
            question=luna.question,
        )
    )
    return None if isinstance(ran, EnrolError) else luna.version(ran.output)
