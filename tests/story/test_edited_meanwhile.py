"""An operator edits Chrystoki.conf while a run is at work that is then undone: the edit is kept beside it, and told."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hsm_enrol import install
from hsm_enrol.errors import NotConverged, ToolDamage, ToolFailed
from hsm_enrol.host import act, tools
from hsm_enrol.host.keep import DISPLACED
from hsm_enrol.host.tools import ToolRun
from lab.luna.estate import Estate
from tests.played_host import PlayedHost
from tests.story.killed import killed

EDITS = {
    "another section": ("DefaultTimeOut = 500000", "DefaultTimeOut = 600000"),
    "our section": ("ReceiveTimeout = 20000", "ReceiveTimeout = 5000"),
}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PlayedHost]:
    with Estate() as estate:
        yield PlayedHost(tmp_path / "host", estate, "10.4")


def edit(host: PlayedHost, which: str) -> None:
    old, new = EDITS[which]
    assert old in host.conf
    host.client.conf.write_text(host.conf.replace(old, new))


def is_kept(host: PlayedHost, which: str, before: str) -> None:
    """The conf is as before the run, the edit lies beside it, and the operator hears where."""
    (kept,) = host.client.conf.parent.glob("*" + DISPLACED)
    assert host.conf == before
    assert EDITS[which][1] in kept.read_text()
    assert f"is put back as it was, the change is kept as {kept}" in host.said.getvalue()


@pytest.mark.parametrize("which", EDITS)
def test_between_two_tools(host: PlayedHost, which: str) -> None:
    before = host.conf
    host.client.switch(newGroup="label-used")
    host.courier.on_tell = lambda receipt: edit(host, which) if receipt["result"] == "trying" else None
    with pytest.raises(ToolFailed):
        host.take()
    is_kept(host, which, before)


def test_while_a_tool_is_at_work(host: PlayedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    whole: Callable[..., ToolRun] = tools.run_tool

    def edited_meanwhile(argv: Any, **rest: Any) -> ToolRun:
        ran = whole(argv, **rest)
        if "verify" in argv:
            edit(host, "another section")
        return ran

    monkeypatch.setattr(act, "run_tool", edited_meanwhile)
    before = host.conf
    with pytest.raises(ToolDamage):
        host.take()
    is_kept(host, "another section", before)


@pytest.mark.parametrize("which", EDITS)
def test_while_the_editor_joins_and_after_its_last_word(
    host: PlayedHost, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    def edited(*_: object) -> None:
        edit(host, which)
        raise NotConverged(count=1, step="a step")

    host.set(join="config")
    monkeypatch.setattr(install, "_deliver", edited)
    before = host.conf
    with pytest.raises(NotConverged):
        host.take()
    is_kept(host, which, before)


def test_after_a_kill_it_is_the_same(host: PlayedHost) -> None:
    before = host.conf
    assert killed(host, "before", "hsm_enrol.tool_runs:show_groups")
    edit(host, "another section")
    host.at_rest()
    is_kept(host, "another section", before)


def test_a_run_that_succeeds_keeps_it_in_its_place(host: PlayedHost) -> None:
    host.courier.on_tell = lambda receipt: edit(host, "our section") if receipt["result"] == "trying" else None
    host.take()
    assert EDITS["our section"][1] in host.conf
    assert not list(host.client.conf.parent.glob("*" + DISPLACED))
