"""Knows how long the disk below a folder takes to promise that a small file is kept: fsync(2)."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

TRIES = 31
SIZE = 2048  # bytes, as a certificate


def flush(folder: Path) -> float:
    """Give the median, in milliseconds, of an fsync of a new file in `folder`."""
    spent = []
    path = folder / "flush"
    for _ in range(TRIES):
        with path.open("wb") as file:
            file.write(os.urandom(SIZE))
            file.flush()
            begin = time.perf_counter()
            os.fsync(file.fileno())
            spent.append(time.perf_counter() - begin)
        path.unlink()
    return statistics.median(spent) * 1e3
