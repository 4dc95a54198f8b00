"""Knows how to tell node_exporter's textfile collector how this host is; the names are in docs/operating.md."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from hsm_enrol.host import files
from hsm_enrol.host.last_run import LastRun
from hsm_enrol.shapes import dataclass
from hsm_enrol.status import Status

MODE = 0o644  # node_exporter is not root
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One number that goes up and down; `values` by their labels. Without values it is left out: not known."""

    name: str
    about: str
    values: tuple[tuple[Labels, float], ...]


def write_metrics(path: str, found: Status | None, last: LastRun | None, now: dt.datetime) -> None:
    """Replace the file whole. `found` None: this host could not be looked at, and so is not healthy. CannotWrite."""
    text = "".join(_exposed(gauge) for gauge in gauges(found, last, now) if gauge.values)
    files.put_file(path, text.encode(), mode=MODE)


def gauges(found: Status | None, last: LastRun | None, now: dt.datetime) -> Iterator[Gauge]:
    """Give every gauge there is."""
    problems = found.problems(now) if found is not None else ("",)
    installed = found.installed if found is not None else None
    record = found.record if found is not None else None
    group: Labels = (("group", installed.ha.label),) if installed is not None else ()
    yield _one("healthy", "1 when `hsm-enrol status` finds no problem", not problems)
    yield _one("enrolled", "1 when this host is a member of a group", installed is not None)
    yield _one("problems", "what makes this host unhealthy", len(problems))
    yield _maybe("warnings", "what is not wrong yet", None if found is None else len(found.warnings(now)))
    yield _maybe("drift", "differences from what was installed", None if found is None else len(found.drift))
    yield _maybe("members", "partitions of the group", None if installed is None else len(installed.ha.members), group)
    alive = None if found is None or found.alive is None else len(found.alive)
    yield _maybe("members_alive", "partitions that the Luna tools show", alive, group)
    yield Gauge(
        name="certificate_expiry_timestamp_seconds",
        about="when a certificate that this host uses expires",
        values=tuple(
            ((("certificate", one.what),), one.until.timestamp()) for one in (found.certificates if found else ())
        ),
    )
    yield _maybe("bundle_serial", "the installed bundle's serial", None if installed is None else installed.serial)
    since = dt.datetime.fromisoformat(record.installed_at).timestamp() if record and record.installed_at else None
    yield _maybe("installed_timestamp_seconds", "when that bundle was installed", since)
    due = None if record is None else record.receipt_due is not None
    yield _maybe("receipt_due", "1 when the verifier was not told of the installation yet", due)
    how: Labels = (("how", last.how),) if last is not None else ()
    at = last.at if last is not None else None
    yield _maybe("last_success_timestamp_seconds", "when a run that asked a verifier last ended well", at, how)
    yield Gauge(
        name="last_installation_seconds",
        about="how long each phase of the last installation took",
        values=tuple(((("phase", phase),), one) for phase, one in (last.seconds.items() if last else ())),
    )


def _one(name: str, about: str, value: float) -> Gauge:
    return Gauge(name=name, about=about, values=(((), float(value)),))


def _maybe(name: str, about: str, value: float | None, labels: Labels = ()) -> Gauge:
    return Gauge(name=name, about=about, values=() if value is None else ((labels, float(value)),))


def _exposed(gauge: Gauge) -> str:
    """Write one gauge in Prometheus's text format, version 0.0.4."""
    name = f"hsm_enrol_{gauge.name}"
    lines = [f"# HELP {name} {gauge.about}", f"# TYPE {name} gauge"]
    for labels, value in gauge.values:
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        lines.append(f"{name}{{{inside}}} {value:.15g}" if inside else f"{name} {value:.15g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
