"""Leaving gives the host back; an image that was generalized holds nothing of an instance; others keep theirs."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hsm_enrol.chrystoki import CLIENT, HA
from hsm_enrol.cli import commands, grammar
from hsm_enrol.cli.main import main
from hsm_enrol.deliver import HA_ENV
from hsm_enrol.host import act
from hsm_enrol.host.keep import DISPLACED
from hsm_enrol.host.state import OWNER_KEY, PENDING
from hsm_enrol.model import Seen, Step
from hsm_enrol.record import PATH as RECORD
from lab.luna.estate import Estate
from tests.played_host import PlayedHost
from tests.story.test_repair import change, others_are_untouched, with_others


@pytest.fixture
def estate() -> Iterator[Estate]:
    with Estate() as running:
        yield running


@pytest.fixture(params=["tool", "config"])
def host(request: pytest.FixtureRequest, estate: Estate, tmp_path: Path) -> PlayedHost:
    made = PlayedHost(tmp_path / "host", estate, "6.2", join=request.param)
    made.set()
    return made


@pytest.fixture
def joined(estate: Estate, tmp_path: Path) -> PlayedHost:
    made = PlayedHost(tmp_path / "host", estate, "7.3", join="config")
    made.set()
    with_others(made)
    made.take()
    return made


def test_the_host_is_given_back_byte_for_byte(host: PlayedHost) -> None:
    before = host.files()
    host.take()
    calls = len(host.client.calls())
    assert host.leave() is True
    assert host.files() == before
    assert len(host.client.calls()) == calls  # no tool: taking a group out by one would want the PIN
    assert host.leave() is False
    assert host.files() == before


def test_a_host_that_was_mended_is_given_back_all_the_same(host: PlayedHost) -> None:
    before = host.files()
    host.take()
    record = host.record
    assert record is not None
    assert record.former.cert is not None
    host.path(record.former.cert).unlink()
    assert host.mend() is True
    host.leave()
    assert host.files() == before


def test_others_keep_their_server_group_and_certificates(joined: PlayedHost) -> None:
    joined.leave()
    others_are_untouched(joined)
    found = joined.meaning
    assert found[CLIENT, "ServerName00"] == "theirs"
    assert (CLIENT, "ServerName01") not in found
    assert not [key for _, key in found if key.startswith("VirtualToken01")]


def test_a_shared_key_that_somebody_set_meanwhile_stays(joined: PlayedHost) -> None:
    change(joined, "HAOnly = 1", "HAOnly = 0")
    change(joined, "ReceiveTimeout = 20000", "ReceiveTimeout = 5000")
    joined.leave()
    assert joined.meaning[HA, "HAOnly"] == "0"
    assert (HA, "reconnAtt") not in joined.meaning
    assert joined.meaning[CLIENT, "ReceiveTimeout"] == "5000"


def test_a_server_certificate_that_is_not_ours_any_more_stays(joined: PlayedHost) -> None:
    address = next(iter(joined.estate.dial))
    file = joined.client.below("cert/server") / f"{address}Cert.pem"
    file.write_text((joined.client.below("cert/server") / "theirsCert.pem").read_text())
    joined.leave()
    assert file.exists()


def test_without_a_record_nothing_is_ours(estate: Estate, tmp_path: Path) -> None:
    host = PlayedHost(tmp_path / "host", estate, "6.2")
    before = host.files()
    assert host.leave() is False
    assert host.files() == before


def test_a_client_that_was_removed_meanwhile_is_no_reason_to_keep_its_key(joined: PlayedHost) -> None:
    joined.client.conf.unlink()
    assert joined.leave() is True
    assert not list(joined.client.below("cert/client").iterdir())
    assert not joined.path(RECORD).exists()


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("renewed", [False, True])
def test_a_host_whose_record_was_lost_leaves_with_every_pair_of_ours(
    estate: Estate, tmp_path: Path, *, renewed: bool, others: bool
) -> None:
    host = PlayedHost(tmp_path / "host", estate, "7.3", join="config")
    if others:
        with_others(host)
    before = host.files()
    host.take()
    host.path(RECORD).write_bytes(b"{")
    if renewed:
        estate.renew_client()
    host.take(estate.bundle(serial=2), damaged=True)
    assert len(list(host.client.below("cert/client").iterdir())) == 2
    host.leave()
    after = host.files()
    if others:  # who else uses the client may want what we set
        assert host.meaning[HA, "HAOnly"] == "1"
        others_are_untouched(host)
        del before["etc/Chrystoki.conf"], after["etc/Chrystoki.conf"]
    assert after == before  # a client of version 7 begins with a folder in ClientCertFile


ACTS: dict[str, Callable[[PlayedHost], object]] = {
    "leave": lambda host: host.leave(),
    "mend": lambda host: host.mend(),
    "take": lambda host: host.take(host.estate.bundle(serial=2)),
}
Carry = Callable[[act.Hand, Any, Seen], None]


def with_another_writer(monkeypatch: pytest.MonkeyPatch, host: PlayedHost, *, times: int) -> list[Step]:
    """Have somebody write the conf right before each of the first steps that we do on it."""
    written: list[Step] = []
    whole: Carry = act.Hand.carry_out

    def disturbed(hand: act.Hand, step: Any, seen: Seen) -> None:
        if len(written) < times:
            written.append(step)
            host.client.conf.write_text(host.conf + f"# written meanwhile, {len(written)}\n")
        whole(hand, step, seen)

    monkeypatch.setattr(act.Hand, "carry_out", disturbed)
    return written


@pytest.mark.parametrize("what", ["leave", "mend", "take"])
def test_another_writer_meanwhile_makes_us_look_again(
    joined: PlayedHost, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what != "leave":
        change(joined, "HAOnly = 1", "HAOnly = 0")
    written = with_another_writer(monkeypatch, joined, times=1)
    assert ACTS[what](joined)
    assert len(written) == 1
    assert "# written meanwhile, 1" in joined.conf
    joined.assert_no_litter()


@pytest.mark.parametrize("what", ["leave", "mend", "take"])
def test_one_that_does_not_stop_ends_it_and_all_is_as_before_but_for_what_it_wrote(
    joined: PlayedHost, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what != "leave":
        change(joined, "HAOnly = 1", "HAOnly = 0")
    before = joined.files()
    with_another_writer(monkeypatch, joined, times=1000)
    with pytest.raises(Exception, match="another program keeps changing") as caught:
        ACTS[what](joined)
    assert getattr(caught.value, "status", None) == 75
    after = joined.files()
    conf = "etc/Chrystoki.conf"
    kept = after.pop(conf + DISPLACED)[1]
    assert isinstance(kept, bytes)
    assert b"# written meanwhile, " in kept
    assert "the change is kept as" in joined.said.getvalue()
    assert {name: one for name, one in after.items() if name != conf} == {
        name: one for name, one in before.items() if name != conf
    }
    joined.assert_no_litter()


# --- generalize


def nothing_of_ours(host: PlayedHost) -> None:
    for path in (RECORD, OWNER_KEY, PENDING, HA_ENV):
        assert not host.path(path).exists()
    assert not host.path("/var/lib/hsm-enrol").exists()
    text = b"".join(content for _, content in host.files().values() if isinstance(content, bytes))
    assert b"PRIVATE KEY" not in text
    assert host.instance.encode() not in text
    host.assert_no_litter()


def test_generalize_works_twice(host: PlayedHost) -> None:
    host.take()
    assert host.generalize() is True
    nothing_of_ours(host)
    assert host.generalize() is False
    nothing_of_ours(host)


def test_generalize_takes_whatever_lies_in_the_state_folder_and_nothing_that_a_link_there_leads_to(
    joined: PlayedHost,
) -> None:
    state = joined.path("/var/lib/hsm-enrol")
    (state / "kept/before").mkdir(parents=True)
    (state / "kept/before/owner.key").write_text(joined.instance)
    os.mkfifo(state / "pipe")
    (joined.root / "etc/elsewhere").mkdir()
    (joined.root / "etc/elsewhere/theirs").touch()
    (state / "link").symlink_to(joined.root / "etc/elsewhere")
    assert joined.generalize() is True
    nothing_of_ours(joined)
    assert (joined.root / "etc/elsewhere/theirs").exists()


def test_generalize_without_a_record_finds_pairs_by_their_names(joined: PlayedHost) -> None:
    joined.path(RECORD).unlink()
    theirs = joined.client.below("cert/client") / "theirsKey.pem"
    theirs.write_text("not ours")
    litter = joined.client.below("cert/client") / ".hsm-enrol.0123abcd"
    litter.write_text("-----BEGIN RSA PRIVATE KEY-----")
    assert joined.generalize() is False
    nothing_of_ours(joined)
    assert theirs.exists()


def test_generalize_with_a_damaged_record_still_removes_every_secret(joined: PlayedHost) -> None:
    owner = joined.path(OWNER_KEY)
    joined.path(RECORD).write_bytes(b"{")
    with owner.open("rb") as held:
        joined.generalize()
        assert set(held.read()) == {0}
    assert not owner.exists()
    for key in joined.client.below("cert/client").iterdir():
        assert not key.name.endswith("Key.pem")
    assert "the record is damaged" in joined.said.getvalue()


def test_generalize_without_a_client_removes_the_pair_where_clients_have_theirs(joined: PlayedHost) -> None:
    joined.client.conf.unlink()
    joined.path(RECORD).unlink()
    joined.generalize()
    nothing_of_ours(joined)


@pytest.fixture
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of the settings on a machine that has none."""
    for module in (commands, grammar):
        monkeypatch.setattr(module, "DEFAULT_CONFIG", str(tmp_path / "hsm-enrol.toml"))
    return tmp_path / "hsm-enrol.toml"


def test_an_image_without_settings_and_without_a_client_is_generalized(
    no_settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("etc", "run", "var/lib/hsm-enrol"):
        (tmp_path / "image" / place).mkdir(parents=True)
    assert main(["--root", str(tmp_path / "image"), "generalize"]) == 0
    assert not (tmp_path / "image/var/lib/hsm-enrol").exists()
    assert f"there is no {no_settings}" in capsys.readouterr().err


@pytest.mark.usefixtures("no_settings")
def test_a_member_whose_settings_are_gone_is_generalized(joined: PlayedHost) -> None:
    assert main(["--root", str(joined.root), "generalize"]) == 0
    nothing_of_ours(joined)


@pytest.mark.parametrize("command", ["generalize", "leave"])
def test_settings_that_somebody_named_have_to_be_there(
    no_settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    named = ["--config", f"{no_settings}-misspelt"] if command == "generalize" else []
    assert main([*named, "--root", str(tmp_path), command]) == 78
    assert "cannot read" in capsys.readouterr().err


# --- an image that was made without it


def test_a_clone_takes_over_what_its_image_left_and_gives_back_what_was_before_both(host: PlayedHost) -> None:
    before = host.files()
    host.take()
    old = {path.name for path in host.client.below("cert/client").iterdir()}
    host.instance = "i-0fedcba9876543210"
    host.estate.renew_client()
    tries = host.estate.tries
    host.take(host.estate.bundle(serial=2))
    assert not old & {path.name for path in host.client.below("cert/client").iterdir()}
    assert host.estate.tries == tries  # the group is there: no tool has to found it
    assert host.mend() is False
    host.leave()
    assert host.files() == before


def test_a_clone_that_failed_first_still_knows_what_its_image_left(estate: Estate, tmp_path: Path) -> None:
    host = PlayedHost(tmp_path / "host", estate, "10.4")
    before = host.files()
    host.take()
    old = {path.name for path in host.client.below("cert/client").iterdir()}
    host.instance = "i-0fedcba9876543210"
    estate.renew_client()
    text = re.sub(r"VirtualToken = \{[^}]*\}\n+|HASynchronize = \{[^}]*\}\n+", "", host.conf)
    host.client.conf.write_text(text)
    host.client.switch(newGroup="asks-twice")
    assert host.fails(lambda: host.take(estate.bundle(serial=2))).status == 69
    record = host.record
    assert record is not None
    assert (record.instance_id, record.installed, record.image is None) == (host.instance, None, False)
    host.client.switch()
    host.take(estate.bundle(serial=2))
    assert not old & {path.name for path in host.client.below("cert/client").iterdir()}
    host.leave()
    left = host.record
    assert left is not None
    assert left.pin is not None  # a try whose end nobody knows outlives even this
    after = {name: one for name, one in host.files().items() if name != RECORD.removeprefix("/")}
    assert after == before


def test_leaving_a_clone_that_never_enrolled_takes_out_the_images(joined: PlayedHost) -> None:
    joined.instance = "i-0fedcba9876543210"
    assert joined.leave() is True
    others_are_untouched(joined)
    assert not joined.path(RECORD).exists()


@pytest.mark.parametrize("what", ["leave", "mend"])
def test_a_conf_with_a_second_name_is_not_split(joined: PlayedHost, what: str) -> None:
    change(joined, "HAOnly = 1", "HAOnly = 0")
    other = joined.root / "etc/other.conf"
    other.hardlink_to(joined.client.conf)
    error = joined.fails(lambda: ACTS[what](joined))
    assert (error.status, error.reason) == (73, "unsafe_file")
    assert "one of several hard links" in error.fault()
    assert other.samefile(joined.client.conf)


def test_a_conf_with_a_second_name_that_needs_no_change_stops_nothing(joined: PlayedHost) -> None:
    (joined.root / "etc/other.conf").hardlink_to(joined.client.conf)
    joined.path(HA_ENV).unlink()
    assert joined.mend() is True
