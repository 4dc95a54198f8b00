"""Knows every command: what it is for, its options, and the function that does it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from hsm_enrol.cli.out import show_json
from hsm_enrol.errors import EnrolError, NotRoot, TryLater
from hsm_enrol.host.voice import Voice
from hsm_enrol.settings import Settings, load, of_an_image
from hsm_enrol.words import DEFAULT_CONFIG, REASONS

if TYPE_CHECKING:
    import argparse

Command = Callable[[Any, Voice], int]
Declare = Callable[["argparse.ArgumentParser"], None]


def _run_of(args: Any, voice: Voice, read: Callable[[str, str], Settings] = load, **more: Any) -> Any:
    """Gather what the story needs. The settings file is read as it is named; --root is for what is written."""
    from hsm_enrol.at_work import Run  # noqa: PLC0415  requests and cryptography come in here

    if os.geteuid() and not args.root:
        raise NotRoot(command=args.command)
    settings = read(args.config, args.root)
    return Run(
        settings=settings, settings_path=args.config, reason=getattr(args, "reason", "operator"), voice=voice, **more
    )


def _end(args: Any, voice: Voice, outcome: Any) -> int:
    desired = outcome.installed
    slot = "" if desired.ha.slot is None else f", slot {desired.ha.slot}"
    words = {
        "nothing": "nothing to do",
        "mended": "mended from the record",
        "joined": "joined",
        "changed": "changed to a newer bundle",
        "current": "current",
    }
    _note_success(args.root, voice, outcome)
    voice.done(outcome.how, f"{words[outcome.how]}: serial {desired.serial} in group {desired.ha.label}{slot}")
    if args.json:
        show_json(
            {
                "outcome": outcome.how,
                "instance": outcome.instance,
                "serial": desired.serial,
                "group": desired.ha.label,
                "slot": desired.ha.slot,
                "members": list(desired.ha.members),
            }
        )
    return 0


def _note_success(root: str, voice: Voice, outcome: Any) -> None:
    """Keep the run's figures for `status --metrics`."""
    from hsm_enrol.host import last_run  # noqa: PLC0415

    voice.phases.end()
    if outcome.how in last_run.ASKED:
        seconds = voice.phases.seconds
        _or_warn(voice, partial(last_run.note_success, outcome.instance, outcome.how, int(time.time()), seconds, root))


def _or_warn(voice: Voice, note: Callable[[], object]) -> None:
    """Note what is for later; that it cannot be noted changes nothing of how the run ended."""
    try:
        note()
    except EnrolError as error:
        voice.warn(error.fault())


def _story() -> Any:
    """Import what asks; requests first and from few frames: deep down its import takes 25 ms more (performance.md)."""
    from hsm_enrol.host import plain_requests  # noqa: F401, PLC0415  isort: skip
    from hsm_enrol import enrol  # noqa: PLC0415

    return enrol


def enrol(args: Any, voice: Voice) -> int:
    """Make this host a member, or find that it is one."""
    story = _story()
    from hsm_enrol.host import backoff  # noqa: PLC0415

    if args.plan:
        from hsm_enrol.cli.plan import show_plan  # noqa: PLC0415

        return show_plan(_run_of(args, voice), as_json=args.json)
    run = _run_of(args, voice)
    if args.reason == "boot" and (quiet := backoff.read_quiet(args.root, args.config)) and quiet.remaining:
        voice.say(f"refused before ({quiet.fault}); the next question is due in {quiet.remaining / 60:.0f} min")
        voice.say("`hsm-enrol enrol` by hand asks now")
        if args.json:
            told = {"reason": quiet.reason, "fault": quiet.fault, "seconds": round(quiet.remaining)}
            show_json({"outcome": "quiet", **told}, status=quiet.status)
        return quiet.status
    try:
        outcome = story.enrol(run)
    except EnrolError as error:
        if error.status in backoff.REFUSALS:
            _or_warn(voice, partial(backoff.note_refusal, args.root, args.config, error))
        raise
    _or_warn(voice, partial(backoff.forget_refusal, args.root))
    return _end(args, voice, outcome)


def re_enrol(args: Any, voice: Voice) -> int:
    """Ask again, on a grant."""
    story = _story()
    from hsm_enrol.host import backoff  # noqa: PLC0415

    run = _run_of(args, voice, allow_older=args.allow_older)
    backoff.forget_refusal(args.root)  # a person acts: a unit that is started meanwhile or afterwards is not held back
    return _end(args, voice, story.re_enrol(run))


def refresh(args: Any, voice: Voice) -> int:
    """Take a newer bundle if there is one; a hold by the verifier is no failure of ours."""
    story = _story()

    try:
        return _end(args, voice, story.refresh(_run_of(args, voice)))
    except TryLater as later:
        if later.facts["reason"] != "hold":
            raise
        voice.say("the verifier holds this group's new PIN until one instance has tried it; next time")
        if args.json:
            show_json({"outcome": "held", "reason": "hold"})
        return 0


def leave(args: Any, voice: Voice) -> int:
    """Take this host out of the group."""
    from hsm_enrol.leave import leave as take_out  # noqa: PLC0415

    return _gone(args, voice, take_out(_run_of(args, voice)))


def generalize(args: Any, voice: Voice) -> int:
    """Leave nothing of this instance on the disk, before an image is made of it."""
    from hsm_enrol.leave import generalize as clean  # noqa: PLC0415

    def read(path: str, root: str) -> Settings:
        # Recipes bake no settings in: they come with the instance. A file that somebody named has to be there.
        if path != DEFAULT_CONFIG or os.path.lexists(path):
            return load(path, root)
        voice.say(f"there is no {path}: a Luna client is looked for in its usual places")
        return of_an_image(root)

    return _gone(args, voice, clean(_run_of(args, voice, read)))


def _gone(args: Any, voice: Voice, installed: Any) -> int:
    if installed is None:
        voice.say("nothing of ours is installed here")
    else:
        voice.done("left", f"left group {installed.ha.label}; applications that hold sessions have to be restarted")
    if args.json:
        show_json({"outcome": "left", "group": None if installed is None else installed.ha.label})
    return 0


def status(args: Any, _: Voice) -> int:
    """Show what is installed, and what is not as it was."""
    from hsm_enrol.cli.status import show_status  # noqa: PLC0415

    def read() -> Settings:
        return load(args.config, args.root)

    return show_status(read, as_json=args.json, ask_tools=not args.offline, metrics=args.metrics)


def check(args: Any, _: Voice) -> int:
    """Look at everything that an enrolment needs, and change nothing."""
    from hsm_enrol.cli.check import show_check  # noqa: PLC0415
    from hsm_enrol.facts.look import Look  # noqa: PLC0415

    look = Look(settings_path=args.config, root=args.root.rstrip("/"), ask_tools=not args.offline)
    return show_check(look, as_json=args.json)


def assertion(args: Any, voice: Voice) -> int:
    """Show what would be sent."""
    from hsm_enrol.cli.assertion import show_assertion  # noqa: PLC0415

    return show_assertion(_run_of(args, voice), as_json=args.json)


def explain(args: Any, _: Voice) -> int:
    """Say what one of our words means; needs neither root nor settings."""
    from hsm_enrol.cli.explain import show_meaning  # noqa: PLC0415

    return show_meaning(args.word, as_json=args.json)


def _explain_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("word", metavar="WORD", help="an exit status, a reason or a journal MESSAGE_ID")


def _status_options(parser: argparse.ArgumentParser) -> None:
    _check_options(parser)
    parser.add_argument(
        "--metrics", metavar="FILE", type=absolute, default="", help="write it for node_exporter's textfile collector"
    )


def absolute(path: str) -> str:
    """Give a path as it is meant where we were called: tools run in /, and a journal outlives this run."""
    return os.path.abspath(path) if path and not path.startswith("/") else path


def _check_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="look at files only; run no Luna tool")


def _no_options(_: argparse.ArgumentParser) -> None:
    """Declare nothing."""


def _enrol_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", action="store_true", help="print what would be done, as a diff; touch nothing")
    parser.add_argument("--reason", choices=REASONS, default="operator", help="for the audit")


def _re_enrol_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--allow-older", action="store_true", help="take a bundle older than the installed one")


TABLE: dict[str, tuple[str, Command, Declare]] = {
    "enrol": ("make this host a member of its HSM group; a second run changes nothing", enrol, _enrol_options),
    "re-enrol": ("ask for the bundle again; the verifier serves it only with a grant", re_enrol, _re_enrol_options),
    "refresh": ("take a newer bundle if there is one", refresh, _no_options),
    "status": ("what is installed, since when, and what differs; exit 0 healthy, 1 not", status, _status_options),
    "check": ("look at everything that an enrolment needs; exit 0 when nothing fails", check, _check_options),
    "assertion": ("print the assertion that would be sent, credentials masked", assertion, _no_options),
    "explain": ("what an exit status, a reason or a MESSAGE_ID means, and what to do", explain, _explain_options),
    "leave": ("take this host out of its group", leave, _no_options),
    "generalize": ("before an image is made: nothing of this instance stays", generalize, _no_options),
}
