"""Knows what makes the audit's lines a chain, and walks it: every line removed, altered, torn or cut off is found."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

START = "0" * 64
CUT_OFF = "cut_off"
_NOTED = re.compile(r"([0-9]{16}) ([0-9a-f]{64})\n")


class AuditError(Exception):
    """The audit is not whole: says at which line and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The last line of a chain: its number and hash."""

    n: int
    hash: str


def verify(path: Path, expect: str = "") -> Head:
    """Walk the chain. Raises AuditError at the first removed or altered line, or when `expect` is no line's hash."""
    head = Head(n=0, hash=START)
    torn: bytes | None = None
    found = not expect
    with path.open("rb") as file:
        for line in file:
            if torn is None and not _is_next(line, head):
                torn = line.removesuffix(b"\n")
                continue
            if torn is not None and not (_is_next(line, head) and _explains(line, torn)):
                raise AuditError(f"line {head.n + 1} was removed or altered")
            torn = None
            head = Head(n=head.n + 1, hash=hashlib.sha256(line).hexdigest())
            record = json.loads(line)
            if record["event"] == CUT_OFF:
                raise AuditError(f"line {head.n} says that lines were cut off before it, up to {record.get('was')}")
            found = found or head.hash == expect
    if torn is not None:
        raise AuditError(f"line {head.n + 1} was removed or altered, or a crash tore it and nothing was written since")
    last = noted(path)
    if last is not None and (last.n > head.n or (last.n == head.n and last.hash != head.hash)):
        raise AuditError(f"the chain ends at line {head.n}, but line {last.n} was written")
    if not found:
        raise AuditError("no line has the expected hash")
    return head


def head_path(path: Path) -> Path:
    """Give where the newest line is noted, beside the chain."""
    return path.with_name(path.name + ".head")


def noted(path: Path) -> Head | None:
    """Give what the head file says; None when it is missing, or no power cut left more of it than zeros."""
    try:
        found = _NOTED.fullmatch(head_path(path).read_text(encoding="ascii"))
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return Head(n=int(found[1]), hash=found[2]) if found else None


def head_of(lines: bytes) -> Head:
    """Give the last of some whole lines. Raises OSError when it is not one of ours."""
    last = lines.splitlines(keepends=True)[-1] if lines else b""
    if not last:
        return Head(n=0, hash=START)
    try:
        return Head(n=int(json.loads(last)["n"]), hash=hashlib.sha256(last).hexdigest())
    except (ValueError, KeyError, TypeError):
        raise OSError("the audit's last line is not one of ours; run `hsm-verifier audit verify`") from None


def _is_next(line: bytes, head: Head) -> bool:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(record, dict)
        and isinstance(record.get("event"), str)
        and line.endswith(b"\n")
        and record.get("n") == head.n + 1
        and record.get("prev") == head.hash
    )


def _explains(line: bytes, torn: bytes) -> bool:
    record = json.loads(line)
    return bool(record["event"] == "torn_line" and record.get("sha256") == hashlib.sha256(torn).hexdigest())
