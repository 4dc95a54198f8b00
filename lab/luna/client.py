"""Knows how to install a Luna client stand-in below a root: tools, folders, Chrystoki.conf, switches, log."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lab
from lab.luna.confs import conf_text
from lab.luna.generations import GENERATIONS

CHECKOUT = Path(lab.__file__).resolve().parent.parent
MINIMAL = "/opt/luna-minimal"  # the "tarball" client may lie anywhere
# Seen in a script that sets one up: tools in bin/64, pairs and appliances' certificates in one folder.
MINIMAL_BIN, MINIMAL_CERTS = "bin/64", "config/certs"
_TOOL = """#!{python} -IS
import sys

sys.path.insert(0, {checkout!r})
from lab.luna.tool.{tool} import main

main({notes!r})
"""
# Run by createCert: the interpreter with the site packages, which the tools do without.
_MAKER = "import sys; sys.path.insert(0, {0!r}); from lab.luna.certificates import main; main()"

FAULTS = frozenset(
    {
        "error",  # an error text on stdout, status 0, nothing done
        "fails",  # the same, status 1
        "babble",  # a text that nobody knows, status 0, nothing done
        "crash",  # dies of SIGSEGV
        "hang",  # does nothing, for ever
        "deaf",  # the same, and SIGTERM is ignored
        "hang-late",  # does everything, then hangs
        "truncate",  # killed half way through writing the conf
        "foreign-key",  # changes Luna/DefaultTimeOut too, whenever it writes the conf
        "no-prompt",  # waits for the PIN without a word
        "asks-twice",  # asks for the PIN again after it had it
        "leaves-echo",  # does not switch the terminal's echo off while the PIN is typed
        "retries",  # after a wrong PIN says so and asks again, by itself
        "hang-with-pin",  # hangs when it has the PIN, before it shows it to the HSM
        "echoes",  # prints the PIN back
        "flood",  # 2 MiB of output before the real one
        "slow",  # output in pieces, with pauses in the middle of lines
        "no-slots",  # sees no partition although the appliances are there
        "label-used",  # newGroup: the label has already been used
        "show-nothing",  # show: the groups are left out
        "show-longer",  # show: the labels have `-old` behind them
        "usage",  # a usage text, status as the generation has it
        "lies",  # says that it was done, and the conf is as before
        "mumbles",  # does it, and says so in words that nobody knows
        "pkcs1-only",  # a client key in another form gets in nowhere, and nothing is said (one author's claim)
        "litter",  # addServer: leaves a file more beside the certificate
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """How the tools behave. `faults`: command, or `*` for any -> names out of FAULTS.

    Commands are named as vtl has them, also when lunacm does the same: addServer, deleteServer, listServers, verify,
    listSlots, createCert, newGroup, addMember, show, HAOnly, autoRecovery; slotList is lunacm's own.
    rewrite: "in place", or "rename", which replaces a link by a file. comments: kept when the conf is rewritten.
    group_number: the number a new group gets, "" for "1" and the first member's. ports: an appliance is found only on
    the port that the conf has for it; else also where the conf has 1792, as `addServer` writes it. hides: verify lists
    what applications see, under HAOnly the groups alone. status: what lunacm leaves with when all went well.
    """

    faults: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rewrite: str = "in place"
    comments: bool = False
    group_number: str = ""
    ports: bool = False
    hides: bool = False
    status: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One run of a tool, out of the log. `command` is "" when the words were not understood.

    pins: how many PINs were typed at its prompts. pin_elsewhere: one of them was also in argv or the environment.
    answers: what was said when asked about objects. environment: names only.
    """

    tool: str
    command: str
    argv: tuple[str, ...]
    environment: tuple[str, ...]
    pins: int
    pin_elsewhere: bool
    answers: tuple[str, ...]


class Client:
    """An installed client. Every path here is on this disk; `prefix` and `conf_path` are as the client itself says."""

    def __init__(self, root: Path, generation: str, prefix: str, conf_path: str, notes: Path) -> None:
        self.root = root
        self.generation = generation
        self.prefix = prefix
        self.conf_path = conf_path
        self._notes = notes

    @property
    def conf(self) -> Path:
        """Give where Chrystoki.conf is named; it may be a link."""
        return self.root / self.conf_path.removeprefix("/")

    @property
    def env_conf(self) -> str | None:
        """Give what ChrystokiConfigurationPath has to be for the tools to find the conf; None when it need not be."""
        return None if self.conf_path == "/etc/Chrystoki.conf" else os.path.dirname(self.conf_path)  # noqa: PTH120

    def below(self, path: str) -> Path:
        """Give a file of the client by its path under the prefix."""
        return self.root / self.prefix.removeprefix("/") / path

    def tool(self, name: str) -> str:
        """Give the program `vtl` or `lunacm`."""
        return str(self.below(f"{MINIMAL_BIN if self.prefix == MINIMAL else 'bin'}/{name}"))

    def switch(self, switches: Switches | None = None, **faults: str) -> None:
        """Set the switches, or faults by command: `client.switch(newGroup="error")`, `client.switch()` for none.

        Several faults of one command are separated by blanks.
        """
        switches = switches or Switches()
        named = {command: tuple(words.split()) for command, words in faults.items()}
        switches = dataclasses.replace(switches, faults={**switches.faults, **named})
        for names in switches.faults.values():
            if unknown := set(names) - FAULTS:
                raise ValueError(f"no such fault: {', '.join(sorted(unknown))}")
        fresh = self._notes / "switches.json.new"
        fresh.write_text(json.dumps(dataclasses.asdict(switches)), encoding="utf-8")
        fresh.replace(self._notes / "switches.json")

    def calls(self) -> tuple[Call, ...]:
        """Give all runs of the tools since `forget_calls`, in the order they started."""
        log = self._notes / "log.jsonl"
        runs: dict[int, list[dict[str, Any]]] = {}
        ended: list[list[dict[str, Any]]] = []
        for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
            event = json.loads(line)
            if event["event"] == "start":  # a process id may come again
                runs[event["pid"]] = []
                ended.append(runs[event["pid"]])
            runs[event["pid"]].append(event)
        return tuple(map(_call, ended))

    def forget_calls(self) -> None:
        """Empty the log."""
        (self._notes / "log.jsonl").unlink(missing_ok=True)


def _call(events: list[dict[str, Any]]) -> Call:
    start = events[0]
    typed = [one for one in events if one["event"] == "pin" and not one["empty"]]
    return Call(
        tool=start["tool"],
        command=events[-1]["command"],
        argv=tuple(start["argv"]),
        environment=tuple(start["environment"]),
        pins=len(typed),
        pin_elsewhere=any(one["elsewhere"] for one in typed),
        answers=tuple(one["answer"] for one in events if one["event"] == "objects"),
    )


def install_client(
    root: Path,
    generation: str,
    dial: Mapping[str, tuple[str, int]],
    *,
    minimal: bool = False,
    linked: bool = False,
    receive_timeout: int = 20000,
    notes: Path | None = None,
) -> Client:
    """Install a client of a generation (see lab.luna.generations) below `root`, as its package would have it.

    dial: address as in the conf -> (loopback address, port) that is really dialled; others count as away.
    minimal: the client without a package, whose conf is found by ChrystokiConfigurationPath.
    linked: /etc/Chrystoki.conf is a link to a file elsewhere. receive_timeout: milliseconds, into the conf.
    notes: where switches and log are kept, by default `<root>/.lab-luna`.
    """
    prefix = MINIMAL if minimal else GENERATIONS[generation].prefix
    conf_path = f"{prefix}/config/Chrystoki.conf" if minimal else "/etc/Chrystoki.conf"
    notes = notes or root / ".lab-luna"
    client = Client(root, generation, prefix, conf_path, notes)
    certificates = (MINIMAL_CERTS,) if minimal else ("cert/client", "cert/server")
    for folder in (Path(client.tool("vtl")).parent, client.conf.parent, *map(client.below, certificates)):
        folder.mkdir(parents=True, exist_ok=True)
    notes.mkdir(parents=True, exist_ok=True)
    _write_conf(client, linked=linked, receive_timeout=receive_timeout)
    facts = {
        "root": str(root).rstrip("/"),
        "prefix": prefix,
        "generation": generation,
        "dial": {address.lower(): place for address, place in dial.items()},
        "maker": [sys.executable, "-c", _MAKER.format(str(CHECKOUT))],
    }
    (notes / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    client.switch()
    # The interpreter behind a virtual environment's link: short enough for `#!`, and no site package is wanted.
    python = Path(sys.executable).resolve()
    for tool in ("vtl", "lunacm"):
        program = Path(client.tool(tool))
        program.write_text(
            _TOOL.format(python=python, checkout=str(CHECKOUT), tool=tool, notes=str(notes)), encoding="utf-8"
        )
        program.chmod(0o755)
    return client


def _write_conf(client: Client, *, linked: bool, receive_timeout: int) -> None:
    text = conf_text(client.generation, client.prefix, receive_timeout=receive_timeout)
    if client.prefix == MINIMAL:
        text = text.replace(f"{MINIMAL}/bin;", f"{MINIMAL}/{MINIMAL_BIN}/;")
        text = re.sub(f"{MINIMAL}/cert/(client|server)", f"{MINIMAL}/{MINIMAL_CERTS}", text)
    if not linked:
        client.conf.write_text(text, encoding="utf-8")
        return
    real = client.conf.parent / "luna" / "site.conf"
    real.parent.mkdir(exist_ok=True)
    real.write_text(text, encoding="utf-8")
    client.conf.unlink(missing_ok=True)
    client.conf.symlink_to("luna/site.conf")
