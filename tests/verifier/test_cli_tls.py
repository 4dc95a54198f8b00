"""`hsm-verifier tls issue`: another certificate for the same key, which a client that trusts the CA takes."""

import contextlib
import json
import ssl
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from hsm_enrol.host.trust import trusting
from hsm_verifier.__main__ import main
from hsm_verifier.tls import hosts_of, make_tls

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "vp"
    assert main(["init", str(made), "--host", "vp.example", "--host", "127.0.0.1"]) == 0
    return made


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `tls issue`; gives status, stdout and stderr, each as one line."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["tls", "issue", *words, "--config", str(folder / "hsm-verifier.toml")])
        said = capsys.readouterr()
        return status, " ".join(said.out.split()), " ".join(said.err.split())

    return call


def certificate(folder: Path, name: str = "tls.pem") -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / name).read_bytes())


def shakes_hands(folder: Path, host: str, ca_file: Path | None = None) -> bool:
    """Whether an agent that trusts `ca_file`, else the folder's CA alone, finds its server to be `host`."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), trusting(str(ca_file or folder / "verifier-ca.pem"))
    server.load_cert_chain(folder / "tls.pem", folder / "secrets/tls.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=host)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for end in (asking, answering, asking, answering):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    except ssl.SSLCertVerificationError:
        return False
    return asking.version() == answering.version() == "TLSv1.3"


def test_it_has_the_names_that_were_there_and_those_that_are_given(folder: Path, run: Run) -> None:
    before, key = certificate(folder), (folder / "secrets/tls.key").read_bytes()
    assert (shakes_hands(folder, "vp.example"), shakes_hands(folder, "new.example")) == (True, False)
    status, out, _ = run("--host", "new.example", "--host", "192.0.2.7", "--host", "vp.example")
    assert (status, "new.example" in out, "restart hsm-verifier" in out) == (0, True, True)
    after = certificate(folder)
    assert hosts_of(after) == ("vp.example", "127.0.0.1", "new.example", "192.0.2.7")
    assert all(shakes_hands(folder, host) for host in hosts_of(after))
    assert (after.public_key(), (folder / "secrets/tls.key").read_bytes()) == (before.public_key(), key)
    assert after.serial_number != before.serial_number
    assert stat.S_IMODE((folder / "tls.pem").stat().st_mode) == 0o644


def test_a_certificate_and_settings_that_are_links_stay_so(folder: Path, run: Run, tmp_path: Path) -> None:
    """As where a site keeps them elsewhere: whoever reads them there gets the new ones too."""
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("tls.pem", "hsm-verifier.toml"):
        (folder / name).rename(kept / name)
        (folder / name).symlink_to(kept / name)
    assert run("--host", "new.example")[0] == 0
    assert main(["answer-key", "rotate", "--config", str(folder / "hsm-verifier.toml")]) == 0
    assert (folder / "tls.pem").is_symlink()
    assert (folder / "hsm-verifier.toml").is_symlink()
    assert (folder / "tls.pem").readlink() == kept / "tls.pem"
    assert "new.example" in hosts_of(certificate(kept))
    assert (folder / "hsm-verifier.toml").readlink() == kept / "hsm-verifier.toml"
    assert "answer-key-2.pem" in (kept / "hsm-verifier.toml").read_text()
    assert sorted(one.name for one in kept.iterdir()) == ["hsm-verifier.toml", "tls.pem"]


def test_a_host_has_one_spelling(folder: Path, run: Run) -> None:
    assert run("--host", "VP.example", "--host", "2001:DB8:0::1", "--host", "2001:db8::1")[0] == 0
    assert hosts_of(certificate(folder)) == ("vp.example", "127.0.0.1", "2001:db8::1")
    assert run("--without", "2001:DB8::0:1", "--host", "*.Example")[0] == 0
    assert hosts_of(certificate(folder)) == ("vp.example", "127.0.0.1", "*.example")


def test_a_name_that_is_taken_out_is_no_longer_trusted_and_all_of_it_is_audited(folder: Path, run: Run) -> None:
    assert run("--host", "new.example")[0] == 0
    assert run("--without", "vp.example")[0] == 0
    assert (shakes_hands(folder, "vp.example"), shakes_hands(folder, "new.example")) == (False, True)
    events = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    assert [one["event"] for one in events] == ["init", "tls_issued", "tls_issued"]
    assert [one["hosts"] for one in events[1:]] == [
        ["vp.example", "127.0.0.1", "new.example"],
        ["127.0.0.1", "new.example"],
    ]
    assert all(one["by"] for one in events)


def test_it_never_outlives_its_ca(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    end = certificate(folder, "verifier-ca.pem").not_valid_after_utc
    year = 365 * 86400
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + year)
    assert run()[0] == 0
    assert certificate(folder).not_valid_after_utc == end
    before = (folder / "tls.pem").read_bytes()
    for later in (end.timestamp() + 60, now + 11 * year):  # also within the hour that certificates begin early
        monkeypatch.setattr(time, "time", lambda later=later: later)
        status, _, err = run()
        assert (status, "has ended" in err) == (78, True)
        assert (folder / "tls.pem").read_bytes() == before


def test_the_key_of_the_ca_may_be_kept_elsewhere(folder: Path, run: Run, tmp_path: Path) -> None:
    elsewhere = (folder / "secrets/verifier-ca.key").rename(tmp_path / "ca.key")
    assert run("--host", "new.example")[0] == 74
    assert run("--host", "new.example", "--ca-key", str(elsewhere))[0] == 0
    assert shakes_hands(folder, "new.example")


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--host", "bücher.example"], 64, "host names or IP addresses"),
        (["--host", ""], 64, "host names or IP addresses"),
        (["--host", "https://new.example"], 64, "host names or IP addresses"),
        (["--host", "new.example:8443"], 64, "host names or IP addresses"),
        (["--host", "192.0.2.300"], 64, "host names or IP addresses"),
        (["--without", "https://vp.example"], 64, "host names or IP addresses"),
        (["--without", "other.example"], 64, "has no other.example"),
        (["--without", "vp.example", "--without", "127.0.0.1"], 64, "without a name"),
        (["--ca-key", "secrets/tls.key"], 78, "not the key of"),
        (["--ca-key", "secrets/nonce.key"], 78, "no P-256 private key"),
        (["--ca-key", "secrets/none.key"], 74, "No such file"),
    ],
)
def test_what_cannot_be_issued_leaves_the_present_one(
    folder: Path, run: Run, words: list[str], status: int, says: str
) -> None:
    before = (folder / "tls.pem").read_bytes()
    got, _, err = run(*(str(folder / one) if one.startswith("secrets/") else one for one in words))
    assert (got, says in err) == (status, True), err
    assert (folder / "tls.pem").read_bytes() == before


def test_a_certificate_by_another_ca_is_left_to_that_ca(folder: Path, run: Run) -> None:
    theirs = make_tls(("localhost",), time.time())
    (folder / "tls.pem").write_bytes(theirs.certificate)
    status, _, err = run("--host", "new.example")
    assert (status, "renew it where it is from" in err) == (1, True)
    assert (folder / "tls.pem").read_bytes() == theirs.certificate


@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")], ids=" then ".join)
def test_a_new_ca_is_brought_in_without_an_instance_left_out(
    folder: Path, run: Run, tmp_path: Path, order: tuple[str, str]
) -> None:
    """The way of docs/operating.md. Both CAs have the same name: only their keys tell them apart."""
    old, new, both = tmp_path / "old.pem", tmp_path / "new.pem", tmp_path / "both.pem"
    old.write_bytes((folder / "verifier-ca.pem").read_bytes())
    assert main(["init", str(tmp_path / "fresh"), "--host", "vp.example"]) == 0
    new.write_bytes((tmp_path / "fresh/verifier-ca.pem").read_bytes())
    both.write_bytes(b"".join((tmp_path / f"{one}.pem").read_bytes() for one in order))
    assert [shakes_hands(folder, "vp.example", ca) for ca in (old, both, new)] == [True, True, False]
    for name in ("verifier-ca.pem", "secrets/verifier-ca.key", "tls.pem", "secrets/tls.key"):
        (tmp_path / "fresh" / name).replace(folder / name)
    assert [shakes_hands(folder, "vp.example", ca) for ca in (old, both, new)] == [False, True, True]
    assert run("--host", "other.example")[0] == 0  # and the new CA's key is where it is looked for
    assert shakes_hands(folder, "other.example", both)


def test_init_takes_no_url_for_a_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "new"), "--host", "https://vp.example:8443"]) == 64
    assert "host names or IP addresses" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
