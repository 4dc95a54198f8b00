"""A tool that answers nonsense says nothing of the members: `status` and `check` name the tool, not the appliances."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsm_enrol.checks.finding import FAIL
from hsm_enrol.checks.membership import Membership, judge
from hsm_enrol.cli.metrics import gauges
from hsm_enrol.host.site import Site
from hsm_enrol.status import Status, read_status
from lab.luna.estate import Estate
from tests.played_host import PlayedHost
from tests.story.test_repair import with_others

NOW = dt.datetime.now(dt.UTC)
NONSENSE = {
    "exit status 127": "echo 'vtl: error while loading shared libraries: libCryptoki2.so: cannot open'; exit 127",
    "it prints an error": "echo 'Error: unable to read the configuration'",
    "its answer is not understood": ":",
    "it was killed": "kill -SEGV $$",
}


@pytest.fixture
def estate() -> Iterator[Estate]:
    with Estate() as running:
        yield running


@pytest.fixture
def host(tmp_path: Path, estate: Estate) -> PlayedHost:
    made = PlayedHost(tmp_path / "host", estate, "6.2", join="config")
    made.take()
    return made


def replace(host: PlayedHost, script: str, tool: str = "vtl") -> None:
    """Put a script in a tool's place; what it does not answer itself is asked of the true one."""
    there = host.client.below(f"bin/{tool}")
    there.rename(f"{there}.true")
    there.write_text(f"#!/bin/sh\n{script}\n")
    there.chmod(0o755)


@pytest.mark.parametrize(
    ("verb", "edit"),
    [
        ("addServer", "s/theirs/ours/"),
        ("addServer", "/ServerPort00/s/1792/1793/"),
        ("newGroup", "/VirtualToken00/d"),
        ("addMember", "/VirtualToken00Members/s/99/98/"),
        ("newGroup", "/others = 1/d"),
    ],
)
def test_a_tool_that_takes_a_row_of_the_sites_own_has_damaged_the_conf(
    tmp_path: Path, estate: Estate, verb: str, edit: str
) -> None:
    host = PlayedHost(tmp_path / "host", estate, "7.3" if verb == "addServer" else "6.2")
    with_others(host)
    assert "theirs" in host.conf or verb != "addServer"
    replace(
        host, f'"$0".true "$@"; done=$?\ncase "$*" in *{verb}*) sed -i "{edit}" {host.client.conf};; esac\nexit $done'
    )
    error = host.fails(host.take)
    assert (error.status, error.reason) == (69, "tool_damage")
    assert verb in str(error.facts["command"])


@pytest.mark.parametrize("edit", ["/ServerHtl00/s/0;/;/", "/ServerHtl00/d"])
def test_a_tool_may_spell_otherwise_that_a_server_has_no_trust_link(tmp_path: Path, estate: Estate, edit: str) -> None:
    host = PlayedHost(tmp_path / "host", estate, "7.3")
    with_others(host)
    script = f'"$0".true "$@"; done=$?\ncase "$*" in *addServer*) sed -i "{edit}" {host.client.conf};; esac\nexit $done'
    replace(host, script)
    host.take()
    assert ("LunaSA Client", "ServerHtl00") not in host.meaning or host.meaning["LunaSA Client", "ServerHtl00"] == ""
    assert host.meaning["LunaSA Client", "ServerName00"] == "theirs"


def test_a_tool_may_number_the_sites_rows_anew(tmp_path: Path, estate: Estate) -> None:
    host = PlayedHost(tmp_path / "host", estate, "6.2")
    with_others(host)
    renumber = "s/VirtualToken00/VirtualToken07/; s/VirtualToken01/VirtualToken00/"
    script = f'"$0".true "$@"; done=$?\n[ "$2" = newGroup ] && sed -i \'{renumber}\' {host.client.conf}\nexit $done'
    replace(host, script)
    host.take()
    assert host.meaning["VirtualToken", "VirtualToken07Label"] == "others"


def status(host: PlayedHost) -> Status:
    return read_status(Site.of(host.settings), ask_tools=True)


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_of_vtl_is_not_a_dead_group(host: PlayedHost, what: str) -> None:
    replace(host, NONSENSE[what])
    replace(host, NONSENSE[what], "lunacm")  # which is asked where vtl's own word about groups is an error
    found = status(host)
    assert found.alive is None
    assert found.problems(NOW) == (f"vtl verify failed: {what}",)
    assert found.warnings(NOW) == ()
    told = {one.name: one.values for one in gauges(found, None, NOW)}
    assert told["members_alive"] == ()
    assert told["healthy"] == (((), 0.0),)


def test_where_the_group_shows_its_members_that_counts(host: PlayedHost) -> None:
    vtl = host.client.below("bin/vtl")
    replace(host, f'[ "$1" = verify ] && exit 3\nexec {vtl}.true "$@"')
    found = status(host)
    assert found.problems(NOW) == ()
    assert set(found.alive or ()) == set(host.estate.members)


def test_a_vtl_that_is_gone_could_not_be_asked(host: PlayedHost) -> None:
    host.client.below("bin/vtl").unlink()
    found = status(host)
    assert found.problems(NOW) == ()
    (warning,) = found.warnings(NOW)
    assert warning.startswith("the Luna tools could not be asked: no Luna client here")


@pytest.mark.parametrize("failed", [True, False])
def test_check_says_it_once(*, failed: bool) -> None:
    told = "the Luna tools could not be asked: x"
    seen = Membership(record=None, enrolled=True, members=("1",), tools=told, tools_failed=failed)
    (found,) = judge(seen, 0.0)
    assert (found.line, found.level == FAIL) == (told, failed)
