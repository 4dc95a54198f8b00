"""The PIN sealed to this machine: by stdin, in no argument, and every failure named without it."""

import stat
from pathlib import Path

import pytest

from hsm_enrol.errors import ToolFailed
from hsm_enrol.host import credentials

STAND_IN = """#!/bin/sh
case "$*" in "encrypt --name=partition-pin - -"|"decrypt --name=partition-pin - -") ;; *) exit 9 ;; esac
tr 'a-z' 'b-za'
"""


def stand_in(root: Path, body: str) -> str:
    program = root / "usr/bin/systemd-creds"
    program.parent.mkdir(parents=True)
    program.write_text(body)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(root)


def test_the_pin_goes_in_by_stdin_and_comes_out_sealed(tmp_path: Path) -> None:
    root = stand_in(tmp_path, STAND_IN)
    assert credentials.encrypt(bytearray(b"canary"), root=root) == b"dbobsz"
    assert credentials.decrypt(b"canary", root=root) == bytearray(b"dbobsz")


@pytest.mark.parametrize("body", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho half; exit 1\n", "#!/bin/sh\nexit 0\n", ""])
def test_a_failure_never_holds_the_pin(tmp_path: Path, body: str) -> None:
    with pytest.raises(ToolFailed) as caught:
        credentials.encrypt(bytearray(b"canary"), root=stand_in(tmp_path, body))
    assert "canary" not in str(caught.value) + repr(caught.value.facts)


def test_no_systemd_creds_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed) as caught:
        credentials.encrypt(bytearray(b"canary"), root=str(tmp_path))
    assert caught.value.facts["what"] == "ENOENT"


def test_a_program_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "LIMIT", 0.2)
    with pytest.raises(ToolFailed):
        credentials.encrypt(bytearray(b"canary"), root=stand_in(tmp_path, "#!/bin/sh\nexec /bin/sleep 100\n"))


def test_a_zeroed_pin_is_zeros() -> None:
    pin = bytearray(b"canary")
    credentials.zero(pin)
    credentials.zero(None)
    assert pin == bytes(6)
