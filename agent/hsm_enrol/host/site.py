"""Knows this host as one run sees it: where Chrystoki.conf and the client are, what to look at, what may change."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from hsm_enrol import chrystoki, luna, plan
from hsm_enrol.conf_changes import lost_by_the_site
from hsm_enrol.deliver import delivered_paths
from hsm_enrol.errors import BadValue, ClientMissing, NotUnderstood
from hsm_enrol.host.act import Bench, Hand
from hsm_enrol.host.by_hand import Left
from hsm_enrol.host.conf_file import Moved, read_conf
from hsm_enrol.host.folders import below, follow, real_path
from hsm_enrol.host.lock import Lock
from hsm_enrol.host.observe import CONF, conf_of, missing_folders, observe, refuse_unknown
from hsm_enrol.host.state import OWNER_KEY, RUN
from hsm_enrol.model import Change, Desired, Paths, Present, RunTool, Seen, Step
from hsm_enrol.places import paths_of
from hsm_enrol.plan import Former
from hsm_enrol.record import PATH as RECORD
from hsm_enrol.settings import LunaSettings, Settings
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.addresses import meant_by

if TYPE_CHECKING:
    from hsm_enrol.host.undo import Journal

DEFAULT_TOOL_TIMEOUT = LunaSettings.__dataclass_fields__["tool_timeout"].default
LOOKS = 3  # times that another writer's change makes us look and plan again
ALONE, BESIDE = 10.0, 5.0  # seconds a tool may take, and per appliance beside the client's ReceiveTimeout
RECEIVE_TIMEOUT, LONGEST_RECEIVE = 20.0, 300.0  # seconds: what a client has by default, and more than a site wants


@contextmanager
def understood(conf: str) -> Iterator[None]:
    """Translate what the conf's language says into the operator's words; Stale means: look and plan again (Moved)."""
    try:
        yield
    except chrystoki.NotUnderstood as error:
        raise NotUnderstood(path=conf, line=error.line, what=error.fault) from None
    except chrystoki.BadValue as error:
        raise BadValue(section=error.section, key=error.key) from None
    except chrystoki.Stale:
        raise Moved from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Settings, and the logical path of the conf that they lead to."""

    settings: Settings
    conf: str

    @classmethod
    def of(cls, settings: Settings) -> Site:
        """Find the conf by settings, the client's own variable, or its old place."""
        return cls(settings=settings, conf=conf_of(settings))

    @property
    def root(self) -> str:
        """Give --root."""
        return self.settings.root

    @property
    def java(self) -> tuple[str, ...]:
        """Give the java.security files of the settings by their real paths: Debian's JDKs have links into /etc there.

        Raises UnsafeFile, UnsafeFolder.
        """
        real = (follow(below(self.root, path), self.root).path for path in self.settings.deliver.java_security)
        return tuple(dict.fromkeys(path.removeprefix(self.root) for path in real))

    def paths(self, name: str, certificate: str) -> Paths:
        """Give where a pair's files and the others belong. Raises ClientMissing, NotUnderstood, Cannot…, Unsafe…."""
        text = read_conf(self.conf, self.root).text
        with understood(self.conf):
            found = paths_of(
                chrystoki.parse(text),
                conf_path=self.conf,
                prefix=self.settings.luna.prefix,
                exists=lambda path: os.path.isdir(below(self.root, path)),
                name=name,
                certificate=certificate,
                java=self.java,
            )
        if found is None:
            raise ClientMissing(path=self.settings.luna.prefix or "/usr/safenet/lunaclient")
        return found

    def destinations(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Give every path that an enrolment may write, before a bundle is known, and which of them are private."""
        paths = self.paths("probe", "")
        trail = follow(below(self.root, self.conf), self.root)
        # A link stays. But a tool may put a file in its place, and the undo puts the link back: its folder is at stake.
        beside = (f"{os.path.dirname(link.path)}/probe" for link in trail.links)
        public = (trail.path, *beside, paths.cert, paths.ca_file, f"{RUN}/ha.env", RECORD)
        public += tuple(path for path in paths.java if os.path.exists(below(self.root, path)))
        found = [below(self.root, path) for path in (*public, f"{paths.server_dir}/probeCert.pem")]
        private = [below(self.root, path) for path in (paths.key, OWNER_KEY)]
        return (*found, *private), tuple(private)

    def look(self, desired: Desired, former: Former) -> Seen:
        """Look at everything that a plan may want to know. Raises CannotTell, NotUnderstood, ClientMissing."""
        return self._look(desired, former, read_conf(self.conf, self.root).text)

    def look_without_conf(self, desired: Desired, former: Former) -> Seen:
        """Look at all the rest when the conf is gone. Raises CannotTell."""
        return self._look(desired, former, "")

    def _look(self, desired: Desired, former: Former, text: str) -> Seen:
        with understood(self.conf):
            paths = plan.paths_to_look_at(desired, former, text)
        seen = observe(self.settings, self.conf, (*paths, *delivered_paths(desired, self.settings)))
        refuse_unknown(seen, self.conf)
        return seen

    def plan(self, desired: Desired, former: Former, seen: Seen) -> tuple[Step, ...]:
        """Give the steps that are still needed."""
        with understood(self.conf):
            return plan.make_plan(desired, seen, former)

    def wanted_now(self, installed: Desired) -> Desired:
        """Give the recorded state with what the settings say today: another conf, other java.security files count."""
        paths = dataclasses.replace(installed.paths, conf=self.conf, java=self.java)
        return dataclasses.replace(installed, paths=paths)

    def at_risk(self, desired: Desired, seen: Seen) -> tuple[str, ...]:
        """Give, as paths on disk, every file, link and missing folder that this run or a Luna tool may touch."""
        files = [below(self.root, path) for path in seen.files]
        found = [real_path(path, self.root) for path in files]
        for conf in dict.fromkeys((self.conf, CONF)):
            trail = follow(below(self.root, conf), self.root)
            found += [*(link.path for link in trail.links), trail.path]
        paths = desired.paths
        folders = missing_folders([paths.cert, paths.ca_file, paths.server_cert("any"), f"{RUN}/any"], self.root)
        return tuple(dict.fromkeys([*(real_path(below(self.root, one), self.root) for one in folders), *found]))

    def left(self, seen: Seen) -> Left:
        """Give the notes of what a run leaves: the conf as it was seen, to begin with."""
        made = Left()
        if isinstance(seen.conf, Present) and seen.conf.content is not None:
            made.put(follow(below(self.root, self.conf), self.root).path, seen.conf.content)
        return made

    def hand(self, journal: Journal, left: Left) -> Hand:
        """Give what carries out steps here, inside one transaction."""
        return Hand(
            root=self.root,
            conf=self.conf,
            journal=journal,
            with_changes=partial(with_changes, self.conf),
            changes_between=partial(changes_between, self.conf),
            left=left,
        )

    def bench(self, desired: Desired, lock: Lock | None) -> Bench:
        """Give how tools are run here; without a lock for looking only."""
        configured = self.settings.luna.tool_timeout
        floor = self._patience(desired) if configured == DEFAULT_TOOL_TIMEOUT else 0.0
        folder = os.path.dirname(self.conf)
        return Bench(
            root=self.root,
            prefix=desired.paths.prefix,
            timeout=max(configured, floor),
            env_conf=None if self.conf == CONF else below(self.root, folder),
            lock_fd=lock.fileno() if lock is not None else None,
            existing_objects=self.settings.luna.existing_objects,
            stop=lambda: False,
            question=luna.question,
            may_change=may_change,
            lost=partial(lost, self.conf, desired),
        )

    def _patience(self, desired: Desired) -> float:
        """Give how long a tool may take that waits in vain for every appliance which the conf has or will have.

        The site's own too: a tool asks them all. Raises ClientMissing, NotUnderstood.
        """
        text = read_conf(self.conf, self.root).text
        with understood(self.conf):
            conf = chrystoki.parse(text)
            names = {meant_by(one.name) for one in chrystoki.servers(conf).values()}
            wait = chrystoki.get(conf, chrystoki.CLIENT, "ReceiveTimeout") or ""
        seconds = min(int(wait) / 1000, LONGEST_RECEIVE) if re.fullmatch("[0-9]{1,9}", wait) else 0.0
        names |= {meant_by(one.address) for one in desired.servers}
        return ALONE + (max(seconds, RECEIVE_TIMEOUT) + BESIDE) * len(names)


def may_change(change: Change, step: RunTool) -> bool:
    """Tell whether a tool's step allows this change of the conf."""
    return any(
        section == change.section and re.fullmatch(pattern, change.key, re.ASCII)
        for section, pattern in step.may_change
    )


def lost(conf: str, ours: Desired, old: str, new: str) -> int:
    """Count what a tool took of the site's own servers and groups, faults in the operator's words."""
    with understood(conf):
        return lost_by_the_site(old, new, ours)


def with_changes(conf: str, text: str, changes: tuple[Change, ...]) -> str:
    """Give the conf's text with these changes made, faults in the operator's words."""
    with understood(conf):
        return chrystoki.with_changes(text, changes)


def changes_between(conf: str, old: str, new: str) -> tuple[Change, ...]:
    """Give what differs in meaning between two texts of the conf."""
    with understood(conf):
        return chrystoki.changes_between(old, new)
