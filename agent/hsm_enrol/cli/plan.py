"""Knows how to show what a run would do, and to do nothing: no lock, no file, no question to a verifier."""

from __future__ import annotations

import difflib
import os
import re

from hsm_enrol import deliver
from hsm_enrol.at_work import Run
from hsm_enrol.cli.out import BOLD, CYAN, GREEN, RED, paint, show, show_json, visible, wrapped
from hsm_enrol.host import state, undo
from hsm_enrol.host.conf_file import read_conf
from hsm_enrol.host.site import Site, understood, with_changes
from hsm_enrol.model import EditConf, Step, describe
from hsm_enrol.status import is_changing

# By their names: the client's conf holds REST and STC credentials that are no business of whoever looks on.
_SECRET = re.compile(
    r"(\b(?!VirtualToken)\w*(?:secret|passw|passphrase|token|pin|credential|apikey)\w*\s*=\s*)[^;]*", re.IGNORECASE
)
_COLOURS = {"+": GREEN, "-": RED, "@": CYAN}


def show_plan(run: Run, *, as_json: bool) -> int:
    """Print the steps and the conf's diff. What a first bundle holds is not known before asking, and that is said."""
    site = Site.of(run.settings)
    record = state.read_record(site.root)
    if is_changing(site.root):
        run.voice.warn("another run is changing this host right now; plan again when it has ended")
    elif undo.is_open(state.STATE, root=site.root):
        run.voice.warn("an earlier run was cut off; the next one undoes or finishes it first")
    if record is None or record.installed is None:
        steps, diff = _first(site), ""
    else:
        desired = site.wanted_now(record.installed)
        seen = site.look(desired, record.former)
        planned = site.plan(desired, record.former, seen)
        with understood(site.conf):
            planned += tuple(deliver.deliveries(desired, seen, record.former))
        steps, diff = [describe(step) for step in planned], _diff(site, planned)
    if as_json:
        show_json({"steps": steps, "diff": diff})
        return 0
    lines = [line for step in steps for line in wrapped(visible(step), "", "    ")] or ["nothing to do"]
    lines += [
        paint(visible(line), BOLD if line.startswith(("---", "+++")) else _COLOURS.get(line[:1], ""))
        for line in diff.splitlines()
    ]
    show("\n".join(lines))
    return 0


def _first(site: Site) -> list[str]:
    """Say what a first run does, as far as it is known without asking: the question alone takes the one slot."""
    paths, settings = site.paths("NAME", ""), site.settings
    folder = os.path.dirname(paths.cert)
    tools = ["vtl addServer for each appliance", "vtl verify", "the group by vtl haAdmin or lunacm hagroup"]
    return [
        f"ask {' or '.join(settings.verifier.urls)} for this instance's bundle (not done now: it takes the one slot)",
        f"write {folder}/NAME-….pem and {folder}/NAME-…Key.pem",
        *(tools if settings.luna.join == "tool" else []),
        f"write {paths.server_dir}/ADDRESSCert.pem for each appliance, add them to {paths.ca_file}",
        f"edit {site.conf}: ClientCertFile, ClientPrivKeyFile, ServerCAFile, servers, HA group",
        "vtl verify, and the group as the client shows it",
        f"write {deliver.HA_ENV}",
    ]


def _diff(site: Site, steps: tuple[Step, ...]) -> str:
    edits = [step for step in steps if isinstance(step, EditConf)]
    if not edits:
        return ""
    before = read_conf(site.conf, site.root).text
    after = with_changes(site.conf, before, tuple(change for edit in edits for change in edit.changes))
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), site.conf, site.conf, n=2, lineterm="")
    return "".join(_SECRET.sub(r"\1(masked)", line) + "\n" for line in lines)
