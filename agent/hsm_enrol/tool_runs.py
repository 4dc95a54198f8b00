"""Knows what to make of a tool that is told no PIN: whether it ended, the language it understood, its fault."""

from __future__ import annotations

from collections.abc import Callable

from hsm_enrol import luna
from hsm_enrol.errors import ClientMissing, ToolTimeout
from hsm_enrol.host.act import Bench
from hsm_enrol.host.tools import ToolRun
from hsm_enrol.model import RunTool

RunPlain = Callable[[RunTool], ToolRun]
"""Runs a tool that takes no PIN to its end. Raises ToolTimeout, ClientMissing, ToolFailed."""


def plain(run: RunPlain, bench: Bench) -> RunPlain:
    """Give `run` with a time-out as an error."""

    def ran_to_its_end(step: RunTool) -> ToolRun:
        ran = run(step)
        if ran.timed_out:
            raise ToolTimeout(tool=step.tool, command=bench.verb(step), seconds=round(bench.timeout))
        return ran

    return ran_to_its_end


def show_groups(run: RunPlain, label: str) -> tuple[str, ToolRun] | None:
    """Show the groups in the first of the client's languages that it understands; None when it knows none of them.

    A usage text means "try the next" and spends no PIN; so does an error of vtl's, which has no group to miss.
    """
    for dialect in luna.DIALECTS:
        try:
            ran = run(RunTool(tool=luna.program(dialect), words=luna.show(dialect, label)))
        except ClientMissing:
            continue
        lacking = luna.program(dialect) == "vtl" and luna.is_error(ran.output)
        if not luna.is_usage(ran.output) and not lacking:
            return dialect, ran
    return None


def fault_of(ran: ToolRun, *, done: bool) -> str:
    """Say in a fixed word how a tool failed; never a part of its output."""
    if ran.asked and not ran.pin_sent:
        return "it asks for a PIN that it may not have"
    if ran.asked_again:
        return "it asked for the PIN a second time"
    if ran.status is None:
        return "it was killed"
    if luna.is_error(ran.output):
        return "it prints an error"
    if ran.status:
        return f"exit status {ran.status}"
    return "its answer is not understood" if done else "it left no trace in the conf"
