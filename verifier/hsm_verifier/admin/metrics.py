"""Knows Prometheus's text format (version 0.0.4) and what an alert on the verifying party wants to know.

Labels are groups, states, reasons and outcomes: closed lists. No instance id is a label, for a fleet that lives for
minutes would fill the monitoring with dead series.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from hsm_verifier import __version__
from hsm_verifier.counts import BOUNDS, Counted
from hsm_verifier.ledger.desk import GateLine
from hsm_verifier.published import Published

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GATES = ("UNPROVEN", "PROVEN", "HALTED")
Sample = tuple[str, dict[str, str], float]  # suffix of the name, labels, value


def write(
    counted: Counted,
    *,
    states: dict[str, int] | None,
    overdue: int | None,
    gates: tuple[GateLine, ...] | None,
    mode: str | None,
    bundles: tuple[Published, ...],
    broken: tuple[str, ...],
    tls_not_after: float | None,
    began: float,
) -> str:
    """Give the whole page; times are Unix seconds. What is None is not known, and has no sample."""
    families: list[tuple[str, str, str, Iterable[Sample]]] = [
        ("build_info", "gauge", "Which program answers.", [("", {"version": __version__}, 1)]),
        ("start_time_seconds", "gauge", "When this process began to serve.", [("", {}, began)]),
        (
            "decisions_total",
            "counter",
            "Audited decisions by this process.",
            [
                ("", {"event": event, "outcome": outcome, "reason": reason}, count)
                for (event, outcome, reason), count in sorted(counted.decisions.items())
            ],
        ),
        ("decision_seconds", "histogram", "How long a decision took, AWS included.", _latency(counted)),
        (
            "turned_away_total",
            "counter",
            "Requests refused before they were read (V1).",
            [("", {"event": event, "reason": reason}, n) for (event, reason), n in sorted(counted.turned_away.items())],
        ),
        (
            "audit_alarms_total",
            "counter",
            "Audit lines of this process that a person should look at.",
            [("", {}, counted.alarms)],
        ),
        (
            "slots",
            "gauge",
            "Instances by the state of their newest slot; FREE: a newer bundle waits for them.",
            [("", {"state": state}, count) for state, count in (states or {}).items()],
        ),
        (
            "slots_overdue",
            "gauge",
            "TAKEN for more than 7 days without a word.",
            [] if overdue is None else [("", {}, overdue)],
        ),
        (
            "gates",
            "gauge",
            "Release gates of the PINs handed out, by state; HALTED waits for an operator.",
            []
            if gates is None
            else [("", {"state": state}, sum(one.state == state for one in gates)) for state in GATES],
        ),
        (
            "ledger_open",
            "gauge",
            "1: newcomers are served; 0: only with a grant.",
            [] if mode is None else [("", {}, mode == "open")],
        ),
        (
            "bundle_broken",
            "gauge",
            "1: the group's current bundle cannot be used, and nobody is served it.",
            [("", {"group": group}, group in broken) for group in sorted({*broken, *(one.group for one in bundles)})],
        ),
        (
            "bundle_serial",
            "gauge",
            "Serial of each group's current bundle.",
            [("", {"group": one.group}, one.serial) for one in bundles],
        ),
        (
            "bundle_certificate_expiry_seconds",
            "gauge",
            "Unix time at which the first certificate of a kind in the current bundle ends.",
            [
                sample
                for one in bundles
                for sample in (
                    ("", {"group": one.group, "certificate": "client"}, one.certificate.not_after),
                    (
                        "",
                        {"group": one.group, "certificate": "server"},
                        min(server.certificate.not_after for server in one.servers),
                    ),
                )
            ],
        ),
    ]
    if tls_not_after is not None:
        words = "Unix time at which this server's own TLS certificate ends."
        families.append(("tls_certificate_expiry_seconds", "gauge", words, [("", {}, tls_not_after)]))
    return "".join(_family(f"hsm_verifier_{name}", kind, words, samples) for name, kind, words, samples in families)


def _latency(counted: Counted) -> list[Sample]:
    found: list[Sample] = []
    for event, one in sorted(counted.latency.items()):
        sums = list(accumulate(one.counts))
        for bound, count in zip((*map(_number, BOUNDS), "+Inf"), sums, strict=True):
            found.append(("_bucket", {"event": event, "le": bound}, count))
        found += [("_sum", {"event": event}, one.seconds), ("_count", {"event": event}, sums[-1])]
    return found


def _family(name: str, kind: str, words: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]
    for suffix, labels, value in samples:
        shown = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
        lines.append(f"{name}{suffix}{'{' + shown + '}' if shown else ''} {_number(value)}")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
