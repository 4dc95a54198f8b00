"""Knows how to start: the boot's own command line first and without ceremony, everything else through the full cli.

Two import worlds: a run with nothing to do imports json, hashlib and os, and ends.
"""

import gc
import os
import sys

from hsm_enrol.words import plain_enrol


def main() -> int:
    """Run with sys.argv; give the exit status."""
    gc.disable()  # a run is short; collecting costs more than it frees
    try:
        line = _idle(sys.argv[1:])
        if line is not None:
            sys.stderr.write(f"<6>{line}\n" if _journald_reads_stderr() else f"hsm-enrol: {line}\n")
            return 0
        from hsm_enrol.cli.main import main as full  # noqa: PLC0415  the second import world

        return full(sys.argv[1:])
    finally:
        gc.freeze()


def _journald_reads_stderr() -> bool:
    """Tell as host/journald.py does, without its imports."""
    found = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _idle(argv: list[str]) -> str | None:
    """Give the line of a run that has nothing to do; None when this is no plain `enrol` or there is something."""
    words = plain_enrol(argv)
    if words is None:
        return None
    from hsm_enrol.idle import nothing_to_do  # noqa: PLC0415  only where it is needed

    return nothing_to_do(words["root"].rstrip("/"), words["config"])


if __name__ == "__main__":
    sys.exit(main())
