"""What a start says: which setting is wrong, in one line, where it cannot be; which group gives up the proof."""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import socket
from pathlib import Path

import pytest

from hsm_verifier.__main__ import main
from hsm_verifier.cli import serve as cli_serve
from hsm_verifier.policy_file import read_policy
from hsm_verifier.vault import Entry, VaultError
from tests.verifier.party import make_bundle


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cli_serve, "serve", lambda *_args, **_more: pytest.fail("it serves"))
    made = tmp_path / "vp"
    assert main(["init", str(made), "--host", "127.0.0.1"]) == 0
    capsys.readouterr()
    return made


def fault(folder: Path, capsys: pytest.CaptureFixture[str], key: str, value: str) -> tuple[int, str]:
    """Give this key of the settings another value, start, and give status and the one line."""
    config = folder / "hsm-verifier.toml"
    text, count = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}".replace("\\", "\\\\"), config.read_text(), count=1)
    assert count == 1
    config.write_text(text)
    status = main(["serve", "--config", str(config)])
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    return status, said[0]


@pytest.mark.parametrize(
    ("key", "value", "status", "says"),
    [
        ("tls_certificate", '"tsl.pem"', 74, r"/.*/vp/tsl\.pem: No such file"),
        ("tls_key", '"secrets/tsl.key"', 74, r"/.*/vp/secrets/tsl\.key: No such file"),
        ("ca_file", '"roots.pem"', 74, r"/.*/vp/roots\.pem: No such file"),
        ("ca_file", '"policy.toml"', 78, r"aws\.ca_file: .*/vp/policy\.toml: no certificate in it"),
        ("endpoint_url", '"ec2.internal"', 78, r"aws\.endpoint_url: 'ec2\.internal' is not https?://HOST"),
        ("listen", "8443", 78, r"server\.listen: must be a text in quotes$"),
        ("listen", '"127.0.0.1:0"\nworkers = "many"', 78, r"server\.workers: must be a whole number above 0$"),
        ("listen", '"127.0.0.1:0"\nkeep_alive = "5s"', 78, r"server\.keep_alive: must be a number above 0$"),
        ("listen", '"127.0.0.1:0"\nwide_sources = "::/0"', 78, r"server\.wide_sources: must be a list of texts$"),
        ("ca_file", '""\ndns_suffixes = "x"', 78, r"aws\.dns_suffixes: must be a table of texts$"),
        ("aws_certs", '"aws-cert"', 78, r"state\.aws_certs: .*/vp/aws-cert is no folder"),
        ("listen", '"nosuch.invalid:8443"', 74, r"nosuch\.invalid:8443: "),
        ("ledger", '"sqlite://ledger.sqlite"', 78, r"state\.ledger: sqlite:///PATH or postgresql://"),
        ("ledger", '"ledger.sqlite"', 78, r"state\.ledger: "),
        ("ledger", '"postgresql://u:p@db/x"', 78, r"state\.ledger: no password in the URL"),
        ("bundle_key", '"secrets/tls.key"', 78, r"/.*/vp/secrets/tls\.key must hold 32 bytes"),
    ],
)
def test_a_wrong_setting_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], *, key: str, value: str, status: int, says: str
) -> None:
    found, line = fault(folder, capsys, key, value)
    assert re.match(rf"hsm-verifier: {says}", line), line
    assert found == status


@pytest.mark.parametrize("role", ["hsm-verifier-reads", "arn:{partition}:iam::{acount}:role/hsm-verifier-reads"])
def test_a_role_that_is_none_is_named(folder: Path, capsys: pytest.CaptureFixture[str], role: str) -> None:
    status, line = fault(folder, capsys, "ca_file", f'""\nassume_role = "{role}"')
    assert status == 78
    assert line.startswith("hsm-verifier: aws.assume_role: ")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("assume_role", "arn:{partition}:iam::{account}:role/hsm/{account}-{partition}-reads"),
        ("assume_role", "arn:aws:iam::111122223333:role/reads"),
        ("endpoint_url", "https://gateway.example:8443/aws/"),
    ],
)
def test_addresses_and_roles_as_the_document_allows_them_are_taken(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    config = folder / "hsm-verifier.toml"
    text = re.sub(r"(?m)^endpoint_url = .*\n", "", config.read_text())
    config.write_text(text.replace("[aws]\n", f'[aws]\n{key} = "{value}"\n'))
    assert start(folder, caplog, monkeypatch) == (0, [])


def test_a_place_that_is_taken_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        place = f"127.0.0.1:{other.getsockname()[1]}"
        assert fault(folder, capsys, "listen", f'"{place}"') == (74, f"hsm-verifier: {place}: Address already in use")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("postgresql://u@127.0.0.1:1/ledger", "port 1 failed: Connection refused"),
        ("postgresql://u@127.0.0.1:1/ledger?sslmod=require", 'invalid connection option "sslmod"'),
    ],
)
def test_a_database_that_cannot_be_reached_is_told_in_its_drivers_words(
    folder: Path, capsys: pytest.CaptureFixture[str], address: str, says: str
) -> None:
    status, line = fault(folder, capsys, "ledger", f'"{address}"')
    assert status == 69
    assert line.startswith("hsm-verifier: the ledger cannot be opened: ")
    assert says in line


def test_a_ledgers_password_that_is_no_text_is_named_and_not_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    password = folder / "secrets/ledger-password"
    password.touch(0o600)
    password.write_bytes("CANARY-pässword\n".encode("latin-1"))
    status, line = fault(folder, capsys, "ledger", f'"postgresql://u@127.0.0.1:1/x"\nledger_password = "{password}"')
    assert (status, line) == (78, f"hsm-verifier: {password} is no UTF-8")


def test_a_group_whose_evidence_binds_no_key_is_warned_of_at_each_start(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_serve, "serve", lambda *args, **_more: [one.close() for one in args[3]])
    config = folder / "hsm-verifier.toml"
    policy = folder / "policy.toml"
    strong = policy.read_text()
    old = strong.replace("groups.web", "groups.old")
    weak = old.replace('level = "identity-role"', 'level = "iid"\naccept_unbound_evidence = true')
    said = "group old accepts evidence that does not bind the asker's key"
    for text, wanted in ((strong + old, []), (strong + weak, [said]), (strong + weak, [said])):
        policy.write_text(text)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "hsm_verifier"):
            status = main(["serve", "--listen", "127.0.0.1:0", "--admin", "", "--config", str(config)])
        assert status == 0, capsys.readouterr().err
        assert [one.getMessage() for one in caplog.records if one.name == "hsm_verifier"] == wanted


def start(folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
    """Start, serve nobody, and give the status and what was warned of."""
    monkeypatch.setattr(cli_serve, "serve", lambda *args, **_more: [one.close() for one in args[3]])
    caplog.clear()
    with caplog.at_level(logging.WARNING, "hsm_verifier"):
        status = main(
            ["serve", "--listen", "127.0.0.1:0", "--admin", "", "--config", str(folder / "hsm-verifier.toml")]
        )
    return status, [one.getMessage() for one in caplog.records if one.name == "hsm_verifier"]


def test_a_current_bundle_that_does_not_open_is_warned_of_at_each_start(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = json.loads(make_bundle().to_bytes())
    bundle = tmp_path / "bundle.json"
    bundle.touch(0o600)
    bundle.write_text(json.dumps({name: value for name, value in whole.items() if name not in {"schema", "serial"}}))
    for group in ("web", "web", "nobodys"):
        assert main(["bundle", "put", "--group", group, str(bundle), "--config", f"{folder}/hsm-verifier.toml"]) == 0
    newest = capsys.readouterr().out.split()[1]
    assert start(folder, caplog, monkeypatch) == (0, [])
    (folder / "secrets/bundle.key").write_bytes(os.urandom(32))
    says = f"the bundle of group web cannot be used: bundle web {newest} does not open (InvalidTag)"
    assert start(folder, caplog, monkeypatch) == (0, [says])


def test_a_store_that_is_away_keeps_nobody_from_starting(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("t")
    config = folder / "hsm-verifier.toml"
    text = re.sub(r"(?m)^bundle(s|_key) = .*\n", "", config.read_text())
    config.write_text(f'{text}\n[openbao]\nurl = "https://127.0.0.1:1"\ntoken_file = "{token}"\n')
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text() + policy.read_text().replace("groups.web", "groups.batch"))
    says = "bundles were not looked at: OpenBao: unreachable"
    assert start(folder, caplog, monkeypatch) == (0, [says])


POLICY = {
    "groups": {
        name: {"accounts": ["111122223333"], "regions": ["eu-central-1"], "roles": ["web"], "level": "identity-role"}
        for name in ("one", "two", "three")
    }
}


class Slow:
    """A store that takes three seconds for each look, and finds what it was given."""

    def __init__(self, error: VaultError | None) -> None:
        self.asked: list[str] = []
        self._error = error
        self._times = itertools.count(0.0, 3.0)

    def clock(self) -> float:
        return next(self._times)

    def current(self, group: str) -> Entry | None:
        self.asked.append(group)
        if self._error is not None:
            raise self._error
        return None


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (None, ["one", "three"]),
        (VaultError("broken"), ["one", "three"]),
        (VaultError("away", again_in=5.0), ["one"]),
    ],
)
def test_a_start_looks_at_bundles_only_for_a_while(error: VaultError | None, asked: list[str]) -> None:
    store = Slow(error)
    cli_serve.warn_of_bundles(read_policy(POLICY), store, clock=store.clock)
    assert store.asked == asked
