"""Knows journald: whether a stream is read by it, and how to give it a line with named fields."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any, TextIO

IDENTIFIER = "hsm-enrol"  # python-systemd would call us by the interpreter's name
Send = Callable[..., Any]


def reads(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether journald itself is at the other end of `stream`.

    JOURNAL_STREAM holds device and inode of the stream that the service manager connected, systemd.exec(5). Being set
    is not enough: a child with its output redirected inherits the variable, and a terminal's shell may have it too.
    """
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def sender() -> Send | None:
    """Give systemd-python's `send`; None where that package is not installed."""
    try:
        journal = importlib.import_module("systemd.journal")  # 14 ms, and only where there is a journal
    except ImportError:
        return None
    send: Send = journal.send
    return send
