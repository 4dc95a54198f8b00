"""Knows the words of vtl and lunacm, and what their answers mean, across client versions.

Parsed by content, never by line number: banners and blank lines differ. The tools print `Error: …` on stdout and leave
with 0, so an exit status of 0 says nothing by itself. "Not understood" is a result of its own (None), never "no".
"""

from __future__ import annotations

import re

from hsm_enrol.shapes import dataclass

DIALECTS = ("vtl", "vtl-dashed", "lunacm")  # in the order they are tried; a usage text means "try the next"

_USAGE = re.compile(
    r"^\s*(usage\b|syntax\b|unknown command|0x1 unknown|invalid (sub)?command|unrecognized|"
    r"'?\w+'? is not a (known|valid))",
    re.MULTILINE | re.IGNORECASE,
)
_VERIFY_HEAD = re.compile(r"Slots/Partitions were found", re.IGNORECASE)
_VERIFY_ROW = re.compile(r"^[ \t]*(\d+|-)[ \t]+(\d+)[ \t]+(\S[^\r\n]*)$", re.MULTILINE)
_NUMBER = re.compile(r"HA Group Number:[ \t]*(\d+)", re.IGNORECASE)
_LABEL = re.compile(r"^[ \t]*HA Group Label:[ \t]*(\S+)[ \t\r]*$", re.MULTILINE | re.IGNORECASE)
_SLOT = re.compile(r"HA Group Slot (?:#|ID):[ \t]*(\d+)", re.IGNORECASE)
_MEMBERS = re.compile(r"Group Members:[ \t]*([0-9, \t]+)", re.IGNORECASE)
_MEMBER_ROW = re.compile(
    r"^[ \t]*(\d+|-+)[ \t]+(\d+)[ \t]+(\S[^\r\n]{0,80})[ \t](alive|down|recovering)\b", re.MULTILINE | re.IGNORECASE
)
# Not heard in every run: compiled by `re` when they are first searched for.
_ERROR = r"(?im)^\s*Error\b"
_BANNER = r"(?m)^(?:vtl|lunacm) \(\d+-bit\) v(\d+)\.(\d+)"
_CREATED = r"(?i)created with group number[ \t]*(\d+)"
_DONE = r"(?i)Command Result\s*:\s*No Error"
_ADDED = r"(?i)successfully added to server list"
_REGISTERED = r"(?i)already registered"
_PIN_REFUSED = (
    r"(?i)CKR_PIN_\w+|0x0*a[0-4]\b"
    r"|(password|pin|challenge)[^\n]{0,40}(incorrect|invalid|wrong|locked|expired|must be changed)"
    r"|\b(incorrect|invalid|wrong|expired)[^\n]{0,20}\b(password|pin|challenge)\b"
)
_PIN_QUESTION = r"(?i)(password|pin|challenge)[^\n]*[:>?][ \t]*\Z"
_PIN_THEN_ARROW = r"(?i)(password|pin|challenge)[^\n]*\r?\n[ \t]*>[ \t]*\Z"
_NO_SLOTS = r"(?i)Unable to find any Luna SA slots/partitions|There are no registered servers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One row of `vtl verify`: a partition's serial and label; slot None where the tool prints `-`."""

    slot: int | None
    serial: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One group as `haAdmin show` or `hagroup listGroups` has it. `alive` are the serials of members that are."""

    label: str
    number: str | None
    slot: int | None
    members: tuple[str, ...]
    alive: tuple[str, ...]


def add_server(address: str, certificate: str) -> tuple[str, ...]:
    """Give vtl's words that register an appliance."""
    return ("addServer", "-n", address, "-c", certificate)


def verify() -> tuple[str, ...]:
    """Give vtl's word that lists the partitions this client may use."""
    return ("verify",)


def show(dialect: str, label: str) -> tuple[str, ...]:
    """Give the words that show HA groups."""
    if dialect == "lunacm":
        return ("-q", "hagroup", "listGroups", "-group", label, "-password", "")
    return ("haAdmin", "-show" if dialect == "vtl-dashed" else "show")


def new_group(dialect: str, label: str, member: str) -> tuple[str, ...]:
    """Give the words that found a group on its first member; the PIN is asked at a prompt."""
    if dialect == "lunacm":
        return ("-q", "hagroup", "createGroup", "-label", label, "-serialNumber", member)
    dash = "-" if dialect == "vtl-dashed" else ""
    return ("haAdmin", f"{dash}newGroup", "-label", label, "-serialNum", member)


def add_member(dialect: str, label: str, number: str, member: str) -> tuple[str, ...]:
    """Give the words that add a member; `number` is the group's as it was read back."""
    if dialect == "lunacm":
        return ("-q", "hagroup", "addMember", "-group", label, "-serialNumber", member)
    dash = "-" if dialect == "vtl-dashed" else ""
    return ("haAdmin", f"{dash}addMember", "-group", number, "-serialNum", member)


def program(dialect: str) -> str:
    """Give the program that speaks a dialect."""
    return "lunacm" if dialect == "lunacm" else "vtl"


# What each kind of command may write into the conf: (section, pattern of the key).
MAY_ADD_SERVER = (("LunaSA Client", r"Server(Name|Port|Htl)[0-9]{2}"), ("LunaSA Client", r"ServerCAFile|NetClient"))
MAY_GROUP = (
    ("VirtualToken", r"VirtualToken.*"),
    ("HASynchronize", r".*"),
    ("HAConfiguration", r".*"),
)


def is_error(output: str) -> bool:
    """Tell whether a tool says that it failed, whatever its exit status."""
    return re.search(_ERROR, output) is not None


def is_done(output: str) -> bool:
    """Tell whether lunacm says that it did it; its exit status is documented as not to be relied on."""
    return re.search(_DONE, output) is not None


def is_usage(output: str) -> bool:
    """Tell whether a tool did not know the words; a usage text spends no PIN."""
    return _USAGE.search(output) is not None


def added(output: str) -> bool:
    """Tell whether addServer says it did."""
    return re.search(_ADDED, output) is not None


def already_registered(output: str) -> bool:
    """Tell whether addServer found the server there."""
    return re.search(_REGISTERED, output) is not None


def version(output: str) -> tuple[int, int] | None:
    """Give major and minor of a banner; None where the client prints none (before 10)."""
    found = re.search(_BANNER, output)
    return (int(found[1]), int(found[2])) if found else None


def partitions(output: str) -> tuple[Partition, ...] | None:
    """Read `vtl verify`; () when it found none, None when the text is not understood."""
    head = _VERIFY_HEAD.search(output)
    if head is None:
        return () if re.search(_NO_SLOTS, output) else None
    return tuple(
        Partition(slot=None if row[1] == "-" else int(row[1]), serial=row[2], label=row[3].strip())
        for row in _VERIFY_ROW.finditer(output, head.end())
    )


def group_number(output: str) -> str | None:
    """Give the number that newGroup or createGroup printed; None when there is none."""
    found = _NUMBER.search(output) or re.search(_CREATED, output)
    return found[1] if found else None


def groups(output: str) -> tuple[Shown, ...]:
    """Read `haAdmin show` or `hagroup listGroups`; a label counts as the whole field, never as a part of one."""
    labels = list(_LABEL.finditer(output))
    ends = [*(one.start() for one in labels), len(output)][1:]
    found = []
    for label, end in zip(labels, ends, strict=True):
        part = output[label.start() : end]
        number, slot, members = _NUMBER.search(part), _SLOT.search(part), _MEMBERS.search(part)
        found.append(
            Shown(
                label=label[1],
                number=number[1] if number else None,
                slot=int(slot[1]) if slot else None,
                members=tuple(re.findall(r"\d+", members[1])) if members else (),
                alive=tuple(row[2] for row in _MEMBER_ROW.finditer(part) if row[4].lower() == "alive"),
            )
        )
    return tuple(found)


def pin_refused(output: str) -> bool:
    """Tell whether the text after the PIN says that the HSM did not take it."""
    return re.search(_PIN_REFUSED, output) is not None


def question(tail: str) -> str | None:
    """Tell what a quiet tool waits for: "pin", "objects" (copy, remove or quit), or None for nothing we know."""
    last = tail[-400:]
    if re.search(r"\bcopy\b", last, re.IGNORECASE) and re.search(r"\bquit\b", last, re.IGNORECASE):
        return "objects"
    return "pin" if re.search(_PIN_QUESTION, last) or re.search(_PIN_THEN_ARROW, last) else None


def key_warning(pem: str) -> str | None:
    """Give a warning when a client generation is known to choke on the key's form; None when it is PKCS#1 RSA."""
    if "-----BEGIN RSA PRIVATE KEY-----" in pem:
        return None
    return "the client key is not PKCS#1 (RSA PRIVATE KEY); some Luna clients do not take it"
