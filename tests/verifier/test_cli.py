"""The operator's commands: what they change, what they print, and what they never print."""

import json
import re
import shlex
import stat
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from hsm_enrol.wire.keys import PublicJwk, private_from_pem, public_from_pem
from hsm_verifier.__main__ import main
from hsm_verifier.answer_keys import AnswerKeys
from hsm_verifier.audit import Audit
from hsm_verifier.chain import verify
from hsm_verifier.cli.common import open_store, open_vault
from hsm_verifier.cli.grant import parse_span
from hsm_verifier.cli.serve import guard_restore, make_world
from hsm_verifier.ledger.desk import open_grants
from hsm_verifier.ledger.take import Taken, take
from hsm_verifier.refusal import Refusal
from hsm_verifier.settings import load_settings
from lab import pki
from tests.verifier.claims import claim
from tests.verifier.party import CLIENT_CERTIFICATE, CLIENT_KEY, INSTANCE, PIN, SERVER_CERTIFICATE, make_pair

OWNER = "O" * 43


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    made = tmp_path / "vp"
    assert main(["init", str(made), "--host", "vp.example", "--host", "127.0.0.1"]) == 0
    capsys.readouterr()
    return made


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command with --config; gives status, stdout, stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        status = main([*words, "--config", str(folder / "hsm-verifier.toml")])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def parts(tmp_path: Path) -> list[str]:
    """A bundle in PEM files, as options."""
    files = {"c.pem": CLIENT_CERTIFICATE, "k.pem": CLIENT_KEY, "s.pem": SERVER_CERTIFICATE, "pin": PIN + "\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return [
        "--client-name", "web", "--certificate", f"{tmp_path}/c.pem", "--key", f"{tmp_path}/k.pem",
        "--server", f"hsm1.example={tmp_path}/s.pem", "--label", "group", "--member", "1234", "--member", "5678",
        "--pin-file", f"{tmp_path}/pin",
    ]  # fmt: skip


def test_init_asks_nothing_and_ends_with_the_next_three_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "vp")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4] == "next:"
    assert " root@" in lines[-5]  # nobody else may enter the folder that the package makes
    assert [line.split()[0] for line in lines[-3:]] == ["$EDITOR", "hsm-verifier", "hsm-verifier"]


def test_init_keeps_secrets_to_its_owner(folder: Path) -> None:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}
    public = {"tls.pem", "verifier-ca.pem", "answer-key.pem", "policy.toml", "hsm-verifier.toml"}
    assert {path.name for path, mode in modes.items() if mode & 0o077} == public
    assert stat.S_IMODE((folder / "secrets").stat().st_mode) == 0o700
    assert all(mode == 0o600 for path, mode in modes.items() if path.parent.name == "secrets")


def test_init_makes_a_certificate_for_the_hosts_given(folder: Path) -> None:
    certificate = x509.load_pem_x509_certificate((folder / "tls.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["vp.example"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((folder / "verifier-ca.pem").read_bytes()))


def test_init_twice_changes_nothing(folder: Path, run: Run) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["init", str(folder)]) == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_init_made_can_be_served(folder: Path) -> None:
    settings = load_settings(folder / "hsm-verifier.toml")
    world = make_world(settings)
    assert world.policy.names() == ("web",)
    public = public_from_pem((folder / "answer-key.pem").read_bytes())
    assert world.keys.kids == (PublicJwk.from_key(public).thumbprint,)
    world.store.close()


def test_put_prints_the_serial_and_show_masks(run: Run, parts: list[str]) -> None:
    status, out, _ = run("bundle", "put", "--group", "web", *parts)
    assert status == 0
    serial = int(out)
    status, out, err = run("bundle", "show", "--group", "web")
    shown = json.loads(out)
    assert (shown["serial"], shown["client"]["private_key"]) == (serial, "(masked)")
    assert shown["partition_pin"]["value"] == "(masked)"
    _, listing, _ = run("bundle", "list")
    everything = out + err + listing
    assert PIN not in everything
    assert CLIENT_KEY.splitlines()[1] not in everything
    assert str(serial) in listing


def test_put_takes_json_and_keeps_the_pins_id_while_the_pin_is_unchanged(
    folder: Path, tmp_path: Path, run: Run, parts: list[str]
) -> None:
    first = int(run("bundle", "put", "--group", "web", *parts)[1])
    vault = open_vault(load_settings(folder / "hsm-verifier.toml"))
    bundle = json.loads(vault.read("web", first))
    del bundle["serial"], bundle["partition_pin"]["id"]
    (tmp_path / "b.json").write_text(json.dumps(bundle))
    second = int(run("bundle", "put", "--group", "web", str(tmp_path / "b.json"))[1])
    bundle["partition_pin"]["value"] = "another-pin"
    (tmp_path / "b.json").write_text(json.dumps(bundle))
    third = int(run("bundle", "put", "--group", "web", str(tmp_path / "b.json"))[1])
    ids = [entry.gate.pin_id for serial in (first, second, third) if (entry := vault.entry("web", serial)).gate]
    assert first < second < third
    assert ids[0] == ids[1] != ids[2]


def test_serials_come_from_one_counter_for_all_groups(run: Run, parts: list[str]) -> None:
    serials = [int(run("bundle", "put", "--group", group, *parts)[1]) for group in ("web", "db", "web")]
    assert serials == sorted(set(serials))


def test_a_bundle_whose_key_is_not_the_certificates_is_not_published(
    tmp_path: Path, run: Run, parts: list[str]
) -> None:
    (tmp_path / "k.pem").write_text(make_pair("other")[1])
    status, out, err = run("bundle", "put", "--group", "web", *parts)
    assert (status, out) == (65, "")
    assert "no pair" in err
    assert "BEGIN" not in err
    assert run("bundle", "show", "--group", "web")[0] == 1


def test_two_appliances_with_one_subject_and_two_keys_are_not_published(
    tmp_path: Path, run: Run, parts: list[str]
) -> None:
    (tmp_path / "s2.pem").write_text(make_pair("hsm1")[0])
    status, _, err = run("bundle", "put", "--group", "web", *parts, "--server", f"hsm2.example={tmp_path}/s2.pem")
    assert status == 65
    assert "A6" in err


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--server", "nonsense"], 64),
        (["--server", "host:port=x"], 64),
        (["--label", "two words"], 65),
        (["--member", "x"], 65),
    ],
)
def test_a_wrong_part_is_named_and_nothing_is_published(
    run: Run, parts: list[str], words: list[str], status: int
) -> None:
    assert run("bundle", "put", "--group", "web", *parts, *words)[:2] == (status, "")


def test_put_without_file_or_parts_is_a_usage_error(run: Run) -> None:
    assert run("bundle", "put", "--group", "web")[0] == 64


@pytest.mark.parametrize(
    ("words", "unknown"),
    [
        (["bundle", "put", "--group", "web", "--pin", PIN], "--pin"),
        (["bundle", "put", "--group", "web", f"--pin={PIN}"], "--pin"),
        (["bundle", "rotate", "--group", "web", "--certificate", "c", "--key", "k", "--pin", PIN], "--pin"),
        (["ledger", "list", "--over"], "--over"),
        (["audit", "tail", "-n3", "more"], "more"),
    ],
)
def test_an_option_is_written_out_and_the_word_after_an_unknown_one_is_not_told(
    run: Run, capsys: pytest.CaptureFixture[str], words: list[str], unknown: str
) -> None:
    with pytest.raises(SystemExit) as left:
        run(*words)
    assert left.value.code == 64
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == f"hsm-verifier: error: unrecognized arguments: {unknown}"
    assert PIN not in said


def test_a_group_name_is_no_path(run: Run, parts: list[str]) -> None:
    status, _, err = run("bundle", "put", "--group", "../web", *parts)
    assert (status, "group name" in err) == (69, True)


def serve_one(folder: Path, owner: str = OWNER) -> str:
    store = open_store(load_settings(folder / "hsm-verifier.toml"))
    taken = take(store, claim(instance_id=INSTANCE, owner=owner), lambda state, _trial: state.encode())
    store.close()
    assert isinstance(taken, Taken)
    return taken.how


def test_ledger_list_grant_and_revoke(folder: Path, run: Run) -> None:
    assert serve_one(folder) == "new"
    (line,) = json.loads(run("ledger", "list", "--json")[1])
    assert (line["instance_id"], line["state"], line["owner"]) == (INSTANCE, "TAKEN", OWNER)
    assert INSTANCE in run("ledger", "list")[1]
    status, out, _ = run(
        "grant", INSTANCE, "--count", "1", "--until", "30min", "--reason", "rebuilt", "--owner", "Y" * 43
    )
    assert status == 0
    assert f"{INSTANCE} may be served 1 more time(s) until" in out
    assert serve_one(folder, "Y" * 43) == "granted"
    assert run("ledger", "revoke", INSTANCE, "--reason", "stolen")[0] == 0
    assert run("ledger", "revoke", INSTANCE, "--reason", "stolen")[0] == 1
    assert json.loads(run("ledger", "list", "--json")[1])[0]["state"] == "REVOKED"
    _, log, _ = run("audit", "tail", "--json")
    events = [json.loads(line) for line in log.splitlines()]
    assert [one["event"] for one in events] == ["init", "grant", "revoke"]
    assert (events[1]["why"], events[1]["owner"]) == ("rebuilt", "Y" * 43)
    assert all(one["by"] for one in events)


def test_a_grant_tells_of_others_that_are_open_and_all_can_be_withdrawn(folder: Path, run: Run) -> None:
    assert serve_one(folder) == "new"
    grant = ["grant", INSTANCE, "--reason", "r"]
    assert "beside" not in run(*grant, "--count", "1")[1]
    assert "beside this grant 1 more of it is open" in " ".join(run(*grant, "--owner", "Q" * 43)[1].split())
    assert "beside this grant 2 more of it are open" in " ".join(run(*grant, "--until", "2h")[1].split())
    assert serve_one(folder, "Y" * 43) == "granted"
    status, out, _ = run("grant", INSTANCE, "--withdraw", "--reason", "wrong host")
    assert (status, out.split()[:2]) == (0, ["2", "grant(s)"])  # the third was used up
    with pytest.raises(Refusal, match="already_enrolled"):
        serve_one(folder, "X" * 43)
    assert run("grant", INSTANCE, "--withdraw", "--reason", "wrong host")[0] == 1
    events = [json.loads(line) for line in run("audit", "tail", "--json")[1].splitlines()]
    assert [one["event"] for one in events] == ["init", "grant", "grant", "grant", "grant_withdrawn"]
    assert (events[-1]["why"], events[-1]["grants"], events[-1]["instance"]) == ("wrong host", 2, INSTANCE)


def test_an_act_that_the_audit_does_not_take_is_told_as_done(folder: Path, run: Run) -> None:
    (folder / "audit.jsonl").unlink()
    (folder / "audit.jsonl").mkdir()
    status, out, err = run("grant", INSTANCE, "--reason", "new disk")
    assert (status, out) == (74, "")
    assert "grant was done, but the audit could not be written (Is a directory)" in err
    store = open_store(load_settings(folder / "hsm-verifier.toml"))
    assert open_grants(store, INSTANCE) == 1
    store.close()


def test_of_an_instance_that_was_never_served_a_grant_can_be_withdrawn(run: Run) -> None:
    assert run("grant", INSTANCE, "--reason", "a typing error")[0] == 0
    assert run("ledger", "revoke", INSTANCE, "--reason", "a typing error")[0] == 1  # there is nothing to revoke
    assert run("grant", INSTANCE, "--withdraw", "--reason", "")[0] == 64  # the audit is to say why
    assert run("grant", INSTANCE, "--withdraw", "--reason", "a typing error")[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        ["not-an-instance", "--reason", "r"],
        ["not-an-instance", "--reason", "r", "--withdraw"],
        [INSTANCE, "--reason", "r", "--withdraw", "--count", "1"],
        [INSTANCE, "--reason", "r", "--withdraw", "--until", "1h"],
        [INSTANCE, "--reason", "r", "--withdraw", "--owner", "Y" * 43],
        [INSTANCE, "--reason", "r", "--until", "25h"],
        [INSTANCE, "--reason", "r", "--until", "soon"],
        [INSTANCE, "--reason", "r", "--count", "0"],
        [INSTANCE, "--reason", "r", "--owner", "short"],
        [INSTANCE, "--reason", "r", "--until", ""],
        [INSTANCE, "--reason", ""],
        [INSTANCE, "--reason", " "],
    ],
)
def test_a_grant_out_of_bounds_is_a_usage_error(run: Run, words: list[str]) -> None:
    assert run("grant", *words)[0] == 64


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("30min", 1800), ("24h", 86400)])
def test_spans(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


def test_audit_verify_finds_an_altered_line(folder: Path, run: Run) -> None:
    assert run("grant", INSTANCE, "--reason", "one")[0] == 0
    status, out, _ = run("audit", "verify")
    assert (status, out.split()[0]) == (0, "2")
    log = folder / "audit.jsonl"
    log.write_text(log.read_text().replace('"why":"one"', '"why":"two"'))
    status, _, err = run("audit", "verify")
    assert status == 1
    assert "line" in err


def test_answer_key_rotation_keeps_two_and_then_one(folder: Path, run: Run) -> None:
    config = folder / "hsm-verifier.toml"
    before = config.read_text()
    first = PublicJwk.from_key(public_from_pem((folder / "answer-key.pem").read_bytes())).thumbprint
    assert run("answer-key", "rotate", "--finish")[0] == 1
    assert run("answer-key", "rotate")[0] == 0
    keys = load_settings(config).state.answer_keys
    assert [Path(key).name for key in keys] == ["answer-key-2.pem", "answer-key-1.pem"]
    assert run("answer-key", "rotate")[0] == 1
    public = public_from_pem((folder / "answer-key-2.pub.pem").read_bytes())
    assert private_from_pem(Path(keys[0]).read_bytes()).public_key() == public
    assert run("answer-key", "rotate", "--finish")[0] == 0
    assert [Path(key).name for key in load_settings(config).state.answer_keys] == ["answer-key-2.pem"]
    assert not (folder / "secrets" / "answer-key-1.pem").exists()
    assert (folder / "answer-key.pem").read_bytes() == (folder / "answer-key-2.pub.pem").read_bytes()
    assert config.read_text() == before.replace("answer-key-1", "answer-key-2")
    lines = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    told = {line["event"]: line["kid"] for line in lines if line["event"].startswith("answer_key_")}
    assert told == {"answer_key_added": PublicJwk.from_key(public).thumbprint, "answer_key_retired": first}
    assert run("answer-key", "rotate")[0] == 0
    assert load_settings(config).state.answer_keys[0].endswith("answer-key-3.pem")


def test_a_key_made_as_the_example_for_encrypted_keys_says_is_one(folder: Path, tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "systemd/examples/verifier-credentials.conf"
    commands = re.findall(r"^#   (openssl .*?)(?: +#.*)?$", example.read_text(), re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        subprocess.run(shlex.split(command), cwd=tmp_path, capture_output=True, timeout=10, check=True)
    (tmp_path / "new.pem").chmod(0o600)
    keys = AnswerKeys.load((str(tmp_path / "new.pem"), str(folder / "secrets/answer-key-1.pem")))
    public = public_from_pem((tmp_path / "answer-key-2.pub.pem").read_bytes())
    assert keys.kids[0] == PublicJwk.from_key(public).thumbprint


def test_rotation_leaves_a_settings_file_alone_that_it_does_not_understand(folder: Path, run: Run) -> None:
    config = folder / "hsm-verifier.toml"
    text = config.read_text().replace("answer_keys = [", "answer_keys = [\n")
    config.write_text(text)
    status, _, err = run("answer-key", "rotate")
    assert status == 78
    assert "write this line yourself: answer_keys = [" in err
    assert config.read_text() == text


def guide(*regions: str) -> str:
    """A page like the EC2 guide's, with a certificate made anew for each region."""
    return "\n".join(
        f"Some Place ({region})\n{pki.self_signed(pki.name(O='Amazon Web Services LLC')).certificate_pem}"
        for region in regions
    )


def test_aws_certs_are_pinned_once_and_replaced_only_on_demand(tmp_path: Path, run: Run) -> None:
    page = tmp_path / "page.html"
    page.write_text(guide("eu-central-1", "us-gov-west-1"))
    status, out, _ = run("aws-certs", "import", str(page))
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["REGION", "eu-central-1", "us-gov-west-1"]
    assert run("aws-certs", "import", str(page))[0] == 0
    assert run("aws-certs", "list")[1] == out
    page.write_text(guide("eu-central-1"))
    status, _, err = run("aws-certs", "import", str(page))
    assert (status, "another certificate is pinned for eu-central-1" in err) == (65, True)
    assert run("aws-certs", "list")[1] == out
    assert run("aws-certs", "import", str(page), "--replace")[0] == 0
    assert run("aws-certs", "list")[1] != out


@pytest.mark.parametrize("text", ["", "nothing here", "eu-central-1\n" + SERVER_CERTIFICATE])
def test_a_page_without_certificates_imports_nothing(tmp_path: Path, run: Run, text: str) -> None:
    (tmp_path / "page").write_text(text)
    assert run("aws-certs", "import", str(tmp_path / "page"))[0] == 65
    assert run("aws-certs", "import", str(tmp_path / "none"))[0] == 74


def test_group_list_shows_what_is_published(run: Run, parts: list[str]) -> None:
    assert "nothing published" in run("group", "list")[1]
    serial = run("bundle", "put", "--group", "web", *parts)[1].strip()
    assert serial in run("group", "list")[1]


def test_ledger_mode_is_shown_set_and_audited(run: Run) -> None:
    assert run("ledger", "mode")[1] == "open\n"
    assert run("ledger", "mode", "operator")[1] == "operator\n"
    assert '"event":"ledger_mode"' in run("audit", "tail", "--json")[1]


def test_lg5_a_ledger_older_than_the_audit_starts_in_operator_mode_until_told_otherwise(folder: Path, run: Run) -> None:
    settings = load_settings(folder / "hsm-verifier.toml")
    path = Path(settings.state.audit)
    audit = Audit(path)
    audit.write("enrolment", 1.0, how="new", instance=INSTANCE, serial=1_800_000_000, owner=OWNER)
    store = open_store(settings)
    guard_restore(store, audit, path)
    assert store.mode() == "operator"
    assert run("ledger", "mode", "open")[1] == "open\n"
    guard_restore(store, audit, path)
    assert store.mode() == "open"
    store.close()
    assert '"event":"restored_ledger"' in path.read_text()
    assert verify(path).n == 4


def test_lg5_a_ledger_that_knows_the_last_answer_stays_open(folder: Path) -> None:
    serve_one(folder)
    settings = load_settings(folder / "hsm-verifier.toml")
    audit = Audit(Path(settings.state.audit))
    audit.write("enrolment", 1.0, how="new", instance=INSTANCE, serial=1_800_000_000, owner=OWNER)
    store = open_store(settings)
    guard_restore(store, audit, Path(settings.state.audit))
    assert store.mode() == "open"
    store.close()


def test_lg3_another_audience_or_nonce_key_is_refused(folder: Path, run: Run) -> None:
    config = folder / "hsm-verifier.toml"
    text = config.read_text()
    config.write_text(text.replace(tomllib.loads(text)["audience"], "hsm-enrol:other"))
    status, _, err = run("ledger", "list")
    assert (status, "audience differs" in err) == (69, True)
    config.write_text(text)
    (folder / "secrets" / "nonce.key").write_bytes(b"n" * 32)
    status, _, err = run("ledger", "list")
    assert (status, "nonce_key differs" in err) == (69, True)


def test_a_secret_that_others_may_read_is_refused(folder: Path, run: Run) -> None:
    (folder / "secrets" / "nonce.key").chmod(0o644)
    status, _, err = run("ledger", "list")
    assert status == 74
    assert "chmod 600" in err


def test_faults_in_the_settings_name_the_key(folder: Path, run: Run) -> None:
    config = folder / "hsm-verifier.toml"
    config.write_text(config.read_text().replace("[aws]\n", '[aws]\nsts_conect = ""\n'))
    status, _, err = run("ledger", "list")
    assert (status, err) == (78, "hsm-verifier: aws.sts_conect: unknown key; did you mean sts_connect?\n")


@pytest.mark.parametrize("place", ["egress.example", "egress.example:https", "egress.example:70000"])
def test_an_egress_without_a_port_is_refused_before_anybody_asks(folder: Path, run: Run, place: str) -> None:
    config = folder / "hsm-verifier.toml"
    config.write_text(config.read_text().replace('sts_connect = ""', f'sts_connect = "{place}"'))
    status, _, err = run("ledger", "list")
    assert (status, err) == (78, f"hsm-verifier: aws.sts_connect: '{place}' is not HOST:PORT\n")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("ledger", "revoke", "\udcff", "--reason", "x"), 64),
        (("grant", "i-0123456789abcdef0", "--reason", "\udcff"), 64),
        (("policy", "try", "deep.toml"), 65),
        (("check-policy", "deep.toml"), 65),
        (("check-policy", "deep.json"), 65),
    ],
)
def test_what_no_file_or_argument_should_hold_is_one_line_of_fault(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], status: int
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep.toml").write_text("a=" + "[" * 5000 + "]" * 5000)
    (tmp_path / "deep.json").write_text('{"a":' * 5000 + "1" + "}" * 5000)
    found, _, err = run(*words)
    assert (found, err.count("\n")) == (status, 1)
    assert "surrogates" not in err


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('audit = "', 'audit = "a\\u0000', "state.audit: must be printable"),
        ('answer_keys = ["', 'answer_keys = ["a\\u0000', "state.answer_keys: must be printable"),
        ('listen = "0', 'listen = "\\u0000', "server.listen: must be printable"),
        ("[aws]", "odd = " + "9" * 5000 + "\n[aws]", "hsm-verifier.toml: "),
    ],
    ids=["path", "paths", "address", "number"],
)
def test_settings_that_no_system_call_or_parser_takes_are_a_line_and_78(
    folder: Path, run: Run, old: str, new: str, says: str
) -> None:
    settings = folder / "hsm-verifier.toml"
    settings.write_text(settings.read_text().replace(old, new, 1))
    for words in (("serve",), ("audit", "tail")):
        status, _, err = run(*words)
        assert (status, err.count("\n")) == (78, 1), err
        assert says in err


def test_a_policy_with_a_number_that_no_parser_takes_is_a_line_and_78(folder: Path, run: Run) -> None:
    (folder / "policy.toml").write_text(f"odd = {'9' * 5000}\n")
    status, _, err = run("serve")
    assert (status, err.count("\n")) == (78, 1), err
    assert "policy.toml" in err
