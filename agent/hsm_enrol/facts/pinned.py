"""Knows how to look at the files that decide whom this host believes."""

from __future__ import annotations

import os

from hsm_enrol.ask import answer_keys
from hsm_enrol.checks.pinned import File, Pinned
from hsm_enrol.facts.look import Look, first_line, or_error
from hsm_enrol.host.folders import below
from hsm_enrol.host.peer import expiry_of
from hsm_enrol.host.trust import SYSTEM, trusting
from hsm_enrol.settings import Settings
from hsm_enrol.wire.keys import PublicJwk

SELINUX = "/sys/fs/selinux/enforce"
_XATTR = "security.selinux"


def find_pinned(look: Look, settings: Settings) -> Pinned:
    """Look at settings file, CA file and answer keys."""
    system = settings.verifier.ca_file == SYSTEM
    paths = [look.settings_path, *(below(look.root, one) for one in settings.verifier.answer_keys)]
    paths += [] if system else [below(look.root, settings.verifier.ca_file)]
    return Pinned(
        files=tuple(_file(path) for path in paths),
        kids=or_error(lambda: tuple(PublicJwk.from_key(key).thumbprint for key in answer_keys(settings))),
        authorities=() if system else or_error(lambda: _authorities(settings)),
        selinux=first_line(below(look.root, SELINUX)) == "1",
        owner=os.geteuid(),
    )


def _file(path: str) -> File:
    try:
        found = os.stat(path)
    except OSError:
        return File(path=path)
    try:
        label = os.getxattr(path, _XATTR).rstrip(b"\0").decode("ascii", "replace")
    except OSError:  # no SELinux, or a file system without labels
        label = ""
    return File(path=path, uid=found.st_uid, mode=found.st_mode & 0o7777, label=label)


def _authorities(settings: Settings) -> tuple[float, ...]:
    context = trusting(settings.verifier.ca_file, settings.root)
    return tuple(until for one in context.get_ca_certs() if (until := expiry_of(one)) is not None)
