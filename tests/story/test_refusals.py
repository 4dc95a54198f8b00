"""R1: only a verified answer changes anything that the agent stores; a refusal, forged or true, does not."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lab import pki
from lab.bad_party import BadParty, Orders, page, problem
from lab.world import World

REFUSALS = [
    problem("already_enrolled", 409),
    problem("not_admitted", 403, detail="go away"),
    page(403),  # R2: a proxy's word is nobody's, and then there is nobody else to ask
]


def verifiers_own(folder: Path) -> pki.Pair:
    """The worst case: whoever refuses has a certificate that the agent trusts."""
    key = load_pem_private_key((folder / "secrets/verifier-ca.key").read_bytes(), None)
    certificate = x509.load_pem_x509_certificate((folder / "verifier-ca.pem").read_bytes())
    return pki.server(pki.Pair(certificate=certificate, key=key), ["127.0.0.1"])  # type: ignore[arg-type]  # it is P-256


def test_r1_refusals_by_anybody_leave_the_owner_key_and_the_next_run_enrols(world: World, tmp_path: Path) -> None:
    orders = Orders(enrolments=[REFUSALS[0]])
    owner = world.root / "var/lib/hsm-enrol/owner.key"
    with BadParty(tmp_path, verifiers_own(world.party.folder), orders) as forger:
        world.write_settings(urls=(forger.url,), deadline="3s")
        assert world.agent("enrol", "--reason", "operator").returncode == 77
        key = owner.read_bytes()
        for refusal, status in zip(REFUSALS[1:], (77, 75), strict=True):
            orders.enrolments[:] = [refusal]
            assert world.agent("enrol", "--reason", "operator").returncode == status
            assert owner.read_bytes() == key
    assert not (world.root / "var/lib/hsm-enrol/record.json").exists()
    world.write_settings()
    ran = world.agent("enrol", "--reason", "operator")
    assert ran.returncode == 0, ran.stderr
    assert owner.read_bytes() == key


def test_a_refusal_and_a_success_that_cannot_be_noted_are_told_all_the_same(world: World, tmp_path: Path) -> None:
    note = world.root / "run/hsm-enrol/refused.json"
    note.mkdir(parents=True)  # stands for a /run that was filled while the verifier was asked
    with BadParty(tmp_path, verifiers_own(world.party.folder), Orders(enrolments=[REFUSALS[0]])) as forger:
        world.write_settings(urls=(forger.url,), deadline="3s")
        ran = world.agent("enrol", "--reason", "operator")
        assert ran.returncode == 77, ran.stderr
        assert ran.stderr.splitlines()[-1] == "hsm-enrol: next: hsm-enrol re-enrol"
        assert "warning: " in ran.stderr
    world.write_settings()
    ran = world.agent("enrol", "--reason", "operator")
    assert ran.returncode == 0, ran.stderr
    assert "warning: " in ran.stderr
