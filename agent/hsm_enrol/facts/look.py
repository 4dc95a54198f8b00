"""Knows what one look at a host is allowed to use, and that a fault is a fact like any other."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TypeVar

from hsm_enrol.errors import EnrolError
from hsm_enrol.host.retry import Deadline
from hsm_enrol.shapes import dataclass

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look. `ask_tools` False: no Luna tool is run."""

    settings_path: str
    root: str = ""
    ask_tools: bool = True
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    rng: random.Random = field(default_factory=random.SystemRandom, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.time, repr=False)
    deadline: Callable[[float], Deadline] = field(default=Deadline, repr=False)


def or_error(act: Callable[[], T]) -> T | EnrolError:
    """Do it; what goes wrong in the operator's words is a result."""
    try:
        return act()
    except EnrolError as error:
        return error


def first_line(path: str) -> str:
    """Give the first line of a small file; "" when there is none."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.readline(256).strip()
    except OSError:
        return ""
