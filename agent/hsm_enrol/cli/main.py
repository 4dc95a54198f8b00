"""Knows the command line: words in, one command run, exit status out; the only place that turns errors into lines."""

from __future__ import annotations

import ctypes
import os
import resource
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hsm_enrol.cli.out import show_json
from hsm_enrol.errors import CannotWrite, EnrolError, Internal, Interrupted
from hsm_enrol.host.voice import Voice, open_voice
from hsm_enrol.words import Words, plain_enrol

_PR_SET_DUMPABLE = 4


def main(argv: Sequence[str]) -> int:
    """Run one command; give its exit status."""
    os.umask(0o077)
    leave_no_trace()
    voice = open_voice()
    as_json = "--json" in argv
    try:
        args = _words(argv)
        voice.verbose = args.verbose
        return _run(args, voice)
    except EnrolError as error:
        return _fail(error, voice, as_json=as_json)
    except KeyboardInterrupt:  # while nothing is written: a run that writes turns the signal into Interrupted itself
        return _fail(Interrupted(signal="SIGINT"), voice, as_json=as_json)
    except Exception as error:  # noqa: BLE001  the edge: nothing of the exception but its kind and place is shown
        return _fail(_bug(error), voice, as_json=as_json)
    finally:
        voice.close()


def leave_no_trace() -> None:
    """A21: no core file of this process, and no other process of root's but a debugger's may read its memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _run(args: Any, voice: Voice) -> int:
    command: Callable[[Any, Voice], int] = args.run
    return command(args, voice)


def _fail(error: EnrolError, voice: Voice, *, as_json: bool) -> int:
    voice.fail(error)
    if as_json:
        with suppress(CannotWrite):  # the run's own fault is what its exit status says
            show_json(error_as_json(error), status=error.status)
    return error.status


def error_as_json(error: EnrolError) -> dict[str, Any]:
    """Give what --json tells of a failure."""
    return {
        "reason": error.reason,
        "fault": error.fault(),
        "hint": error.advice(),
        "next": error.next_command(),
        "decision": error.decision,
        "message_id": error.message_id,
        "facts": error.facts,
    }


def _bug(error: Exception) -> Internal:
    """Name a bug by kind and place only: an exception's text may hold what must not be shown."""
    frames = traceback.extract_tb(error.__traceback__)
    place = frames[-1] if frames else None
    where = f"{os.path.basename(place.filename)}:{place.lineno}" if place else "the command line"
    return Internal(kind=type(error).__name__, where=where)


def _words(argv: Sequence[str]) -> Any:
    """Read the command line; the boot's own without its grammar."""
    from hsm_enrol.cli import commands  # noqa: PLC0415  they import what they need

    plain = plain_enrol(list(argv))
    if plain is not None:
        return Words(**plain, command="enrol", run=commands.enrol, plan=False, json=False, verbose=False)
    from hsm_enrol.cli import grammar  # noqa: PLC0415

    return grammar.read(argv)
