"""What operators read at a terminal of 80 columns, and what `grep` finds through a pipe."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hsm_verifier.__main__ import main
from hsm_verifier.audit import Audit, Fact
from hsm_verifier.cli.common import open_store, open_vault
from hsm_verifier.ledger.gate import enter
from hsm_verifier.settings import load_settings
from lab.party import environment
from lab.pictures import new_folder
from tests.screen import COLUMNS, run_on_a_terminal, screen
from tests.verifier.party import INSTANCE, NOW, PIN, SERVER_CERTIFICATE, make_pair

GROUP = "payments-eu-central-1-production"
LABEL = "payments-ha-eu-central-1-prod-01"
CLIENT = "payments-eu-central-1-production-hsm-client-2027"
MEMBERS = [str(1569080400001 + number) for number in range(16)]
POLICY = f"""
[groups.{GROUP}]
accounts = ["111122223333"]
regions = ["eu-central-1"]
level = "identity-role"
lost_key = "relaunched"
"""
WHY = "the disk was replaced after a failed fsck, ticket OPS-20931, agreed with the owner of the service by telephone"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = new_folder(tmp_path_factory.mktemp("layout") / "vp").path.parent
    (made / "policy.toml").write_text(POLICY)
    certificate, key = make_pair(CLIENT)
    bundle = {
        "client": {"name": CLIENT, "certificate": certificate, "private_key": key},
        "servers": [{"address": "hsm1.payments.example", "port": 1792, "certificate": SERVER_CERTIFICATE}],
        "ha": {"label": LABEL, "members": MEMBERS, "only": True, "interval": 60},
        "partition_pin": {"value": PIN},
    }
    (made / "bundle.json").write_text(json.dumps(bundle))
    (made / "bundle.json").chmod(0o600)
    for _ in range(2):
        assert main(argv(made, "bundle", "put", "--group", GROUP, str(made / "bundle.json"))[3:]) == 0
    settings = load_settings(made / "hsm-verifier.toml")
    entry, store = open_vault(settings).current(GROUP), open_store(settings)
    assert entry is not None
    assert entry.gate is not None
    with store.deciding() as tx:
        enter(tx, entry.gate, INSTANCE, "n" * 22)
    store.close()
    return made


def argv(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "hsm_verifier", *words, "--config", str(folder / "hsm-verifier.toml")]


def at_a_terminal(folder: Path, *words: str, columns: int = COLUMNS) -> list[str]:
    status, written = run_on_a_terminal(argv(folder, *words), environment(), columns=columns)
    assert status == 0, written
    shown = screen(written, columns)
    assert max(map(len, shown)) <= columns
    return shown


def at_a_terminal_raw(folder: Path, *words: str) -> list[str]:
    status, written = run_on_a_terminal(argv(folder, *words), environment())
    assert status == 0, written
    return written.splitlines()


def through_a_pipe(folder: Path, *words: str) -> list[str]:
    return subprocess.run(
        argv(folder, *words), capture_output=True, text=True, check=True, timeout=60, env=environment()
    ).stdout.splitlines()


def joined(lines: list[str]) -> str:
    """What was said, however it is laid out."""
    return "".join("".join(lines).split())


def test_groups_with_long_names_are_read_at_80_columns(folder: Path) -> None:
    heading, first, *below = at_a_terminal(folder, "group", "list")
    assert heading.split("  ")[0] == "GROUP"
    assert first.split() == [GROUP, "identity-role", "mlkem768-x25519,p256"]
    assert below[0] == "    LOST KEY relaunched  GRANTS any  RELEASE GATE on"
    assert below[1].startswith(f"    BUNDLE {GROUP}  CURRENT SERIAL ")
    assert len(below) == 2
    wide = at_a_terminal(folder, "group", "list", columns=200)
    assert wide == through_a_pipe(folder, "group", "list")
    assert len(wide) == 2


def test_bundles_and_gates_with_long_names_are_read_at_80_columns(folder: Path) -> None:
    shown = at_a_terminal(folder, "bundle", "list")
    assert shown[0].split() == ["GROUP", "SERIAL", "PUBLISHED"]
    heads = [number for number, line in enumerate(shown) if line.startswith(GROUP)]
    assert len(heads) == 2
    for at in heads:
        assert shown[at + 1] == f"    CLIENT {CLIENT}"
        assert shown[at + 2].endswith(f"  HA GROUP {LABEL}")
    assert f"MEMBERS{','.join(MEMBERS)}PIN" in joined(shown)
    heading, *piped = through_a_pipe(folder, "bundle", "list")
    assert heading.split("  ")[0] == "GROUP"
    assert len(piped) == 3  # two bundles and a gate, each one line for grep
    assert piped[2].startswith("PIN ")
    assert joined(piped[2:]) in joined(shown)
    told = json.loads("".join(at_a_terminal_raw(folder, "bundle", "list", "--json")))
    assert [one["label"] for one in told["bundles"]] == [LABEL, LABEL]


def test_decisions_with_long_reasons_are_read_at_80_columns(folder: Path) -> None:
    audit = Audit(folder / "audit.jsonl")
    facts: dict[str, Fact] = {"instance": INSTANCE, "group": GROUP, "source": "2001:db8:85a3:8d3:1319:8a2e:370:7348"}
    mismatches = ["V10 tag_Service_differs", "V10 role_not_in_group", "V12 launched_outside_of_window", "V11 source"]
    seen = {"tags": {"Name": "payments-worker-autoscaled-blue"}}
    more: dict[str, Fact] = {"reason": "policy_denied", "decision": "0123456789ab", "alarm": True}
    audit.write("enrolment", NOW, outcome="refused", seen=seen, mismatches=mismatches, **facts, **more)
    audit.write("grant", NOW, by="alice.operator@payments.example", count=1, why=WHY, **facts)
    shown = at_a_terminal(folder, "audit", "tail", "-n", "2")
    at = next(number for number, line in enumerate(shown) if "  grant  " in line)
    assert shown[0].startswith("2027-01-15 08:00:00Z  enrolment  refused  i-")
    assert all(line.startswith("    ") for number, line in enumerate(shown) if number not in {0, at})
    for word in ("decision 0123456789ab", "ALARM", "(payments-worker-autoscaled-blue)"):
        assert sum(word in line for line in shown[:at]) == 1, word
    piped = through_a_pipe(folder, "audit", "tail", "-n", "2")
    assert len(piped) == 2
    assert joined(piped) == joined(shown)
    assert at_a_terminal(folder, "audit", "find", "0123456789ab") == shown[:at]
    raw = at_a_terminal_raw(folder, "audit", "tail", "-n", "2", "--json")
    assert [json.loads(line)["event"] for line in raw] == ["enrolment", "grant"]
