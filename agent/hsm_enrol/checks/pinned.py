"""Knows whether the files that decide whom this host believes are there, valid, and only root's to change."""

from __future__ import annotations

from collections.abc import Iterator

from hsm_enrol.checks.finding import Finding, fail, of_error, of_expiry, ok, warn
from hsm_enrol.errors import EnrolError
from hsm_enrol.shapes import dataclass

_WRITABLE_BY_OTHERS = 0o022
# Types that a file keeps when it was moved, not copied, out of a home or temporary folder; a confined service may not
# read them.
_STRAYS = {"admin_home_t", "user_home_t", "user_tmp_t", "tmp_t", "unlabeled_t", "default_t", "mnt_t"}


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file as it stands: `mode` None when there is none; `label` its SELinux context, "" without one."""

    path: str
    uid: int = 0
    mode: int | None = None
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """The files, and what they hold: kids of the answer keys, expiries of the CAs (Unix seconds), or the fault.

    `selinux`: SELinux is there and enforcing. `owner` is whoever may own them: root, or who runs a laboratory.
    """

    files: tuple[File, ...]
    kids: tuple[str, ...] | EnrolError
    authorities: tuple[float, ...] | EnrolError
    selinux: bool
    owner: int


def judge(seen: Pinned, now: float) -> Iterator[Finding]:
    """Give the findings."""
    for one in seen.files:
        if one.mode is None:
            continue
        if one.uid not in {0, seen.owner} or one.mode & _WRITABLE_BY_OTHERS:
            hint = f"chown root: {one.path}; chmod 0644 {one.path}"
            yield fail("trust", f"{one.path} could be changed by somebody other than root", hint)
        if seen.selinux and _type_of(one.label) in _STRAYS:
            hint = f"restorecon -v {one.path}"
            yield warn("selinux", f"{one.path} has the context of another place ({_type_of(one.label)})", hint)
    if isinstance(seen.authorities, EnrolError):
        yield of_error("ca", seen.authorities)
    elif seen.authorities:
        hint = "copy the verifier's new verifier-ca.pem here before that day"
        yield of_expiry("ca", "the verifier's CA certificate", min(seen.authorities), now, hint)
    else:
        yield ok("ca", "the verifier is believed by the system's own certificate store")
    if isinstance(seen.kids, EnrolError):
        yield of_error("answer keys", seen.kids)
    else:
        yield ok("answer keys", f"{len(seen.kids)} pinned")


def _type_of(label: str) -> str:
    parts = label.split(":")
    return parts[2] if len(parts) > 2 else ""  # noqa: PLR2004  user:role:type[:level]
