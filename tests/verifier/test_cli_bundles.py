"""Publishing and rotating bundles: what is read, what is checked, what is shown before an instance gets it."""

import base64
import io
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from hsm_enrol.wire.bundle import Bundle
from hsm_verifier.__main__ import main
from hsm_verifier.cli.common import open_vault
from hsm_verifier.ledger.gate import GateKey
from hsm_verifier.settings import load_settings
from lab import pki
from tests.verifier.party import CLIENT_CERTIFICATE, CLIENT_KEY, PIN, SERVER_CERTIFICATE, make_pair

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    made = tmp_path / "vp"
    assert main(["init", str(made), "--host", "127.0.0.1"]) == 0
    capsys.readouterr()
    return made


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        status = main([*words, "--config", str(folder / "hsm-verifier.toml")])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, str]:
    """A bundle in PEM files, as options by name."""
    files = {"c.pem": CLIENT_CERTIFICATE, "k.pem": CLIENT_KEY, "s.pem": SERVER_CERTIFICATE, "pin": PIN + "\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return {
        "--certificate": f"{tmp_path}/c.pem",
        "--key": f"{tmp_path}/k.pem",
        "--server": f"hsm1.example={tmp_path}/s.pem",
        "--label": "web-ha",
        "--member": "154438865290",
        "--pin-file": f"{tmp_path}/pin",
    }


def words(parts: dict[str, str], **changes: str) -> list[str]:
    changed = parts | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    return ["bundle", "put", "--group", "web", *(word for pair in changed.items() for word in pair)]


def current(folder: Path) -> Bundle:
    vault = open_vault(load_settings(folder / "hsm-verifier.toml"))
    entry = vault.current("web")
    assert entry is not None
    return Bundle.from_bytes(vault.read("web", entry.serial))


def fingerprint(pem: str) -> str:
    digest = x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex().upper()
    return ":".join(digest[at : at + 2] for at in range(0, 64, 2))


def pair_until(end: float) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(pki.name(CN="web"))
        .issuer_name(pki.name(CN="web"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=365))
        .not_valid_after(datetime.fromtimestamp(end, UTC))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return made.public_bytes(Encoding.PEM).decode(), pem


def test_put_shows_what_it_will_hand_out_and_leaves_stdout_to_the_serial(run: Run, parts: dict[str, str]) -> None:
    status, out, err = run(*words(parts))
    assert (status, out.strip().isdigit()) == (0, True)
    lines = err.splitlines()
    assert lines[0] == "group web will be handed out:"
    assert "  client web" in lines
    assert f"    SHA-256 {fingerprint(CLIENT_CERTIFICATE)}" in lines
    assert "  server hsm1.example:1792" in lines
    assert f"    SHA-256 {fingerprint(SERVER_CERTIFICATE)}" in lines
    assert "  HA group web-ha: member 154438865290" in lines
    assert "one instance tries it first" in lines[-1]
    assert "warning" not in err
    assert all(len(line) <= 110 for line in lines)
    for secret in (PIN, CLIENT_KEY.splitlines()[1]):
        assert secret not in out + err


def test_v13_an_id_that_came_along_is_not_given_to_another_pin(
    run: Run, folder: Path, tmp_path: Path, parts: dict[str, str]
) -> None:
    assert run(*words(parts))[0] == 0
    first = current(folder)
    assert first.pin is not None
    (tmp_path / "pin").write_text("CANARY-2nd-pin")
    assert run(*words(parts))[0] == 0  # the id is of an older bundle by now
    whole = json.loads(first.to_bytes())
    whole["partition_pin"]["value"] = "CANARY-3rd-pin"
    made = tmp_path / "bundle.json"
    made.write_text(json.dumps(whole))
    for group in ("web", "db"):
        status, out, err = run("bundle", "put", "--group", group, str(made))
        assert (status, out) == (65, "")
        assert f"partition_pin.id is that of another PIN, in bundle web {first.serial}: leave it out" in err
        assert "CANARY" not in err
    whole["partition_pin"]["value"] = first.pin.value
    made.write_text(json.dumps(whole))
    assert run("bundle", "put", "--group", "web", str(made))[0] == 0
    assert current(folder).pin == first.pin
    del whole["partition_pin"]["id"]
    whole["partition_pin"]["value"] = "CANARY-4th-pin"
    made.write_text(json.dumps(whole))
    assert run("bundle", "put", "--group", "web", str(made))[0] == 0


def test_v13_one_pin_of_the_same_partitions_has_one_gate_in_every_group(
    run: Run, folder: Path, tmp_path: Path, parts: dict[str, str]
) -> None:
    def gate(group: str, **changes: str) -> GateKey:
        assert run(*words(parts | {"--group": group}, **changes))[0] == 0
        entry = open_vault(load_settings(folder / "hsm-verifier.toml")).current(group)
        assert entry is not None
        assert entry.gate is not None
        return entry.gate

    web = gate("web")
    assert gate("db") == web
    assert gate("elsewhere", member="154438865304").pin_id != web.pin_id  # another partition's PIN, though it is alike
    (tmp_path / "pin").write_text("CANARY-2nd-pin")
    changed = gate("db")
    assert changed.pin_id != web.pin_id
    assert gate("web") == changed


@pytest.mark.parametrize("pin", [{"id": 1, "value": "abcd"}, {"id": "pin-00000001"}, {"id": None}, {"value": 7}, {}])
def test_a_pin_that_is_none_is_refused_by_the_schema(
    run: Run, folder: Path, tmp_path: Path, parts: dict[str, str], pin: dict[str, object]
) -> None:
    assert run(*words(parts))[0] == 0
    whole = json.loads(current(folder).to_bytes()) | {"partition_pin": pin}
    (tmp_path / "bundle.json").write_text(json.dumps(whole))
    status, _, err = run("bundle", "put", "--group", "web", str(tmp_path / "bundle.json"))
    assert (status, "Traceback" in err) == (65, False)


def test_a_second_put_tells_what_is_changed(run: Run, tmp_path: Path, parts: dict[str, str]) -> None:
    run(*words(parts))
    (tmp_path / "s2.pem").write_text(make_pair("hsm2")[0])
    _, _, err = run(*words(parts, server=f"hsm2.example={tmp_path}/s2.pem", member="154438865304"))
    lines = err.splitlines()
    assert "  client web (unchanged)" in lines
    assert "  server hsm2.example:1792" in lines
    assert "  no longer: server hsm1.example" in lines
    assert "    before: web-ha: 154438865290" in lines
    assert "the same partition PIN" in lines[-1]
    assert "on other members" in lines[-1]


def test_a_bundle_that_does_not_open_is_replaced_by_publishing_anew(
    run: Run, folder: Path, parts: dict[str, str]
) -> None:
    assert run(*words(parts))[0] == 0
    (file,) = (folder / "bundles" / "web").glob("*.sealed")
    file.write_bytes(file.read_bytes() + b"x")
    status, out, err = run(*words(parts))
    assert (status, out.strip().isdigit()) == (0, True)
    assert f"cannot be compared: bundle web {file.stem} does not open" in err
    assert "one instance tries it first" in err  # nobody can tell whether it is the same PIN
    assert str(current(folder).serial) == out.strip()
    status, shown, err = run("bundle", "list", "--json")
    assert [str(one["serial"]) for one in json.loads(shown)["bundles"]] == [out.strip()]
    assert (status, f"bundle web {file.stem} does not open" in err) == (69, True)


def test_a_dry_run_checks_and_shows_and_publishes_nothing(run: Run, folder: Path, parts: dict[str, str]) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    status, out, err = run(*words(parts), "--dry-run")
    assert (status, out) == (0, "")
    assert fingerprint(CLIENT_CERTIFICATE) in err
    assert err.endswith("nothing was published (--dry-run)\n")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_name_that_no_group_of_the_policy_hands_out_is_warned_of(
    run: Run, folder: Path, parts: dict[str, str], more: list[str]
) -> None:
    warning = "warning: no group of the policy hands this out; those that do have the names: web-2027"
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text().replace("[groups.web]\n", '[groups.web]\nbundle = "web-2027"\n'))
    status, _, err = run(*words(parts), *more)
    assert (status, warning in err.splitlines()) == (0, True)
    policy.write_text(policy.read_text().replace("web-2027", "web"))
    assert "warning" not in run(*words(parts), *more)[2]
    policy.write_text("[")
    status, _, err = run(*words(parts), *more)
    assert (status, f"warning: {policy}: " in err) == (0, True)


def test_a_certificate_that_ends_soon_is_warned_of_and_one_that_ended_is_refused(
    run: Run, tmp_path: Path, parts: dict[str, str]
) -> None:
    for days, status, said in (
        (10, 0, "warning: it ends in less than 30 days"),
        (-1, 65, "not published: client"),
    ):
        certificate, key = pair_until(time.time() + days * 86400)
        (tmp_path / "c.pem").write_text(certificate)
        (tmp_path / "k.pem").write_text(key)
        found, _, err = run(*words(parts))
        assert (found, said in err) == (status, True)


def test_text_around_a_certificate_and_line_ends_of_windows_do_not_matter(
    run: Run, folder: Path, tmp_path: Path, parts: dict[str, str]
) -> None:
    around = f"Certificate:\n    Data: M\xfcnchen\n{CLIENT_CERTIFICATE}the end".replace("\n", "\r\n")
    (tmp_path / "c.pem").write_bytes(around.encode("latin-1"))
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    (tmp_path / "k.pem").write_text(parameters + CLIENT_KEY)
    assert run(*words(parts))[0] == 0
    assert current(folder).client.certificate == CLIENT_CERTIFICATE
    assert current(folder).client.private_key == CLIENT_KEY
    assert current(folder).client.name == "web"


WRONG = (
    ("c.pem", CLIENT_KEY, "c.pem: no certificates in it, one is wanted"),
    ("c.pem", CLIENT_CERTIFICATE + SERVER_CERTIFICATE, "c.pem: 2 certificates in it, one is wanted"),
    ("c.pem", "", "c.pem: no certificates in it"),
    ("c.pem", make_pair("two words")[0], "its common name is no client name; give --client-name"),
    ("c.pem", "x" * 300_000, "c.pem: too large"),
    ("c.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "c.pem: not a certificate"),
    ("k.pem", SERVER_CERTIFICATE, "k.pem: no private keys in it, one is wanted"),
    ("k.pem", CLIENT_KEY * 2, "k.pem: 2 private keys in it, one is wanted"),
    ("k.pem", make_pair("web")[1], "no pair"),
    ("s.pem", SERVER_CERTIFICATE * 2, "s.pem: 2 certificates in it, one is wanted"),
)


@pytest.mark.parametrize("wrong", WRONG, ids=[one[2] for one in WRONG])
def test_a_wrong_file_is_named_and_nothing_of_it_is_repeated(
    run: Run, tmp_path: Path, parts: dict[str, str], wrong: tuple[str, str, str]
) -> None:
    file, text, said = wrong
    (tmp_path / file).write_text(text)
    status, out, err = run(*words(parts))
    assert (status, out) == (65, "")
    assert said in err
    assert "BEGIN" not in err
    for line in CLIENT_KEY.splitlines()[1:-1]:
        assert line not in err


@pytest.mark.parametrize("stdin", [False, True])
def test_a_pin_that_cannot_be_typed_is_one_line_of_fault_without_it(
    *, run: Run, tmp_path: Path, parts: dict[str, str], monkeypatch: pytest.MonkeyPatch, stdin: bool
) -> None:
    raw = b"CANARY\xe4\n"
    (tmp_path / "pin").write_bytes(raw)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw), "utf-8", "surrogateescape"))
    status, out, err = run(*words(parts, **({"pin_file": "-"} if stdin else {})))
    assert (status, out, err.count("\n")) == (65, "", 1)
    assert "a PIN has printable ASCII only" in err
    assert "CANARY" not in err


def test_a_pin_is_read_from_stdin(
    run: Run, folder: Path, parts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"typed by hand\r\n")))
    assert run(*words(parts, pin_file="-"))[0] == 0
    pin = current(folder).pin
    assert pin is not None
    assert pin.value == "typed by hand"


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_is_called_so(run: Run, tmp_path: Path, parts: dict[str, str], form: PrivateFormat) -> None:
    key = load_pem_private_key(CLIENT_KEY.encode(), None)
    (tmp_path / "k.pem").write_bytes(key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret")))
    status, _, err = run(*words(parts))
    assert (status, "the key is encrypted" in err) == (65, True)


def test_a5_a_bundle_that_no_instance_would_take_for_its_size_is_not_published(
    run: Run, folder: Path, tmp_path: Path, parts: dict[str, str]
) -> None:
    assert run(*words(parts))[0] == 0
    before = current(folder)
    wide = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "a" * 64)] * 40)
    (tmp_path / "wide.pem").write_text(pki.self_signed(wide).certificate_pem)
    servers = [word for number in range(2, 17) for word in ("--server", f"hsm{number}.example={tmp_path}/wide.pem")]
    for more in ([], ["--dry-run"]):
        status, out, err = run(*words(parts), *servers, *more)
        assert (status, out) == (65, "")
        assert "not published: bundle is too large (A5)" in err
    assert current(folder) == before


def test_a_member_named_twice_is_a_slip(run: Run, parts: dict[str, str]) -> None:
    status, _, err = run(*words(parts), "--member", "154438865290")
    assert (status, "--member 154438865290 is there twice" in err) == (64, True)


def test_rotate_changes_the_pair_and_nothing_else(
    run: Run, folder: Path, tmp_path: Path, parts: dict[str, str]
) -> None:
    run(*words(parts), "--retry", "5")
    before = current(folder)
    certificate, key = make_pair("web")
    (tmp_path / "c2.pem").write_text(certificate)
    (tmp_path / "k2.pem").write_text(key)
    new = ["--certificate", f"{tmp_path}/c2.pem", "--key", f"{tmp_path}/k2.pem"]
    status, out, err = run("bundle", "rotate", "--group", "web", *new, "--dry-run")
    assert (status, out) == (0, "")
    assert current(folder) == before
    status, out, err = run("bundle", "rotate", "--group", "web", *new)
    assert status == 0
    after = current(folder)
    assert after.serial == int(out) > before.serial
    assert (after.client.certificate, after.client.private_key) == (certificate, key)
    assert (after.client.name, after.servers, after.ha, after.pin) == (
        before.client.name,
        before.servers,
        before.ha,
        before.pin,
    )
    assert "  client web (changed)" in err.splitlines()
    assert "  server hsm1.example:1792 (unchanged)" in err.splitlines()
    assert "the same partition PIN" in err
    assert "each appliance must know the new certificate" in err
    assert PIN not in out + err
    log = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    assert (log[-1]["event"], log[-1]["serial"]) == ("bundle_rotate", after.serial)


def test_rotate_refuses_half_a_pair_the_same_certificate_and_an_unknown_group(
    run: Run, folder: Path, tmp_path: Path, parts: dict[str, str]
) -> None:
    new = ["--certificate", f"{tmp_path}/c.pem", "--key", f"{tmp_path}/k.pem"]
    assert run("bundle", "rotate", "--group", "web", *new)[0] == 1
    run(*words(parts))
    serial = current(folder).serial
    status, _, err = run("bundle", "rotate", "--group", "web", *new)
    assert (status, "has this certificate already" in err) == (65, True)
    (tmp_path / "c.pem").write_text(make_pair("web")[0])
    status, _, err = run("bundle", "rotate", "--group", "web", *new)
    assert (status, "no pair" in err) == (65, True)
    assert current(folder).serial == serial


def test_list_in_json_has_everything_but_secrets(run: Run, parts: dict[str, str]) -> None:
    serial = int(run(*words(parts))[1])
    _, out, _ = run("bundle", "list", "--json")
    (one,) = json.loads(out)["bundles"]
    assert (one["group"], one["serial"], one["members"]) == ("web", serial, ["154438865290"])
    assert one["certificate"]["fingerprint"] == fingerprint(CLIENT_CERTIFICATE)
    assert one["servers"][0]["certificate"]["fingerprint"] == fingerprint(SERVER_CERTIFICATE)
    assert PIN not in out
    assert "PRIVATE" not in out


def with_serial_number_zero(name: str, key: ec.EllipticCurvePrivateKey) -> str:
    builder = x509.CertificateBuilder().subject_name(pki.name(CN=name)).issuer_name(pki.name(CN=name))
    builder = builder.public_key(key.public_key()).serial_number(0x7FFF)
    builder = builder.not_valid_before(datetime.now(UTC) - timedelta(days=1))
    made = builder.not_valid_after(datetime.now(UTC) + timedelta(days=900)).sign(key, hashes.SHA256())
    der = made.public_bytes(Encoding.DER).replace(b"\x02\x02\x7f\xff", b"\x02\x02\x00\x00", 1)
    return f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"


@pytest.mark.filterwarnings("error")
def test_certificates_that_luna_made_itself_with_serial_number_zero_are_read_without_a_warning(
    run: Run, tmp_path: Path, parts: dict[str, str]
) -> None:
    """RFC 5280 forbids it: our library warns of it today, on the operator's screen, and says that it will refuse."""
    (tmp_path / "s.pem").write_text(with_serial_number_zero("hsm9", ec.generate_private_key(ec.SECP256R1())))
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "c.pem").write_text(with_serial_number_zero("web", key))
    (tmp_path / "k.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    status, _, err = run(*words(parts))
    assert status == 0, err
    assert run("bundle", "list")[0] == 0
