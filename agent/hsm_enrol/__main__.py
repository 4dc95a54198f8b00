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
    _have_three_streams()
    try:
        line = _idle(sys.argv[1:])
        if line is not None:
            _say(f"<6>{line}\n" if _journald_reads_stderr() else f"hsm-enrol: {line}\n")
            return 0
        from hsm_enrol.cli.main import main as full  # noqa: PLC0415  the second import world

        return full(sys.argv[1:])
    finally:
        _flush()
        gc.freeze()


def _say(line: str) -> None:
    try:
        sys.stderr.write(line)
    except OSError:  # nobody can hear it
        return


def _flush() -> None:
    """Empty both streams. What a full disk does not take is left: Python would fail on it at the end, with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _have_three_streams() -> None:
    """Lead to nowhere what whoever started us has closed: else a file that we open would be our stdin or stderr."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  for as long as we run; no pathlib here


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
