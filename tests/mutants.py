"""Takes each rule of docs/protocol.md out of the code, one at a time, in a copy; a test that names the rule must fail.

`python -m tests.mutants [RULE…]`, by hand: it takes minutes. Tells for each rule which tests of its
name notice; `survived` is a gap, `stale` a mutant whose text the code no longer has.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
WIRE, VP = "agent/hsm_enrol/wire", "verifier/hsm_verifier"
STRICT, DECIDE, TAKE = f"{WIRE}/strict.py", f"{VP}/decide.py", f"{VP}/ledger/take.py"
CHECKS = f"{VP}/request_checks.py"


NOT_OURS = (".*", "__pycache__", "build", "dist")  # build holds images of whole machines
LONGEST = 120.0  # seconds of one mutant's tests: what a rule ends may go on for ever without it
NONE_CHOSEN = 5  # pytest's exit status
QUIET = ("-q", "--no-header", "-p", "no:cacheprovider", "--tb=no")
WORDS = {"Clock": "clock or p15", "PIN": "pin", "Text": "text or shown"}  # rules that are words, as tests have them


@dataclass(frozen=True, slots=True)
class Mutant:
    """A rule, the text that keeps it, what stands there without it, and where the tests that name it are."""

    rule: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    Mutant("E1", STRICT, "if b64u_encode(data) != text:", "if False:", "tests/wire/test_strict.py"),
    Mutant(
        "E2",
        f"{WIRE}/jws.py",
        'if parts[0] != b64u_encode(header).encode("ascii"):',
        "if False:",
        "tests/wire/test_jws.py",
    ),
    Mutant(
        "E3",
        f"{WIRE}/jws.py",
        "if len(signature) != 2 * HALF or not 1 <= r < ORDER or not 1 <= s < ORDER:",
        "if False:",
        "tests/wire/test_jws.py",
    ),
    Mutant("E4", STRICT, "if len(found) != len(pairs):", "if False:", "tests/wire/test_strict.py"),
    Mutant(
        "E5",
        f"{WIRE}/assertion.py",
        "    jws.check(signed, signature, assertion.cnf.key())\n",
        "",
        "tests/wire/test_assertion.py tests/test_conformance.py",
    ),
    Mutant(
        "E6",
        f"{WIRE}/keys.py",
        "        fields.nothing_else()\n        if cls.from_key",
        "        if cls.from_key",
        "tests/wire/test_keys.py",
    ),
    Mutant(
        "E7",
        f"{WIRE}/binding.py",
        'len(part).to_bytes(4, "big") + part',
        "part",
        "tests/wire/test_strict.py",
    ),
    Mutant(
        "V1",
        f"{VP}/limits.py",
        " or self._arrivals.wait_for(name, factor):",
        ":",
        "tests/verifier/test_limits.py",
    ),
    Mutant(
        "V2",
        f"{WIRE}/assertion.py",
        '            pin=fields.boolean("pin"),',
        '            pin=bool(fields.take("pin")),',
        "tests/wire/test_assertion.py",
    ),
    Mutant(
        "V3",
        f"{WIRE}/assertion.py",
        "    SealPublicKey.load(assertion.seal.kem, assertion.seal.raw)\n",
        "",
        "tests/wire/test_assertion.py tests/test_conformance.py",
    ),
    Mutant("V4", CHECKS, "if world.keys.choose(request.trust) is None:", "if False:", "tests/verifier/test_decide.py"),
    Mutant(
        "V5",
        f"{VP}/evidence/iid.py",
        "key.verify(signed.signature, message, padding.PKCS1v15(), hashes.SHA256())",
        "pass",
        "tests/verifier/test_evidence.py tests/test_conformance.py",
    ),
    Mutant("V6", CHECKS, "    if differs:\n", "    if False:\n", "tests/verifier/test_decide.py"),
    Mutant(
        "V7",
        DECIDE,
        "if known and known.owner == owner and request.have is not None",
        "if known and request.have is not None",
        "tests/verifier/test_decide.py",
    ),
    Mutant(
        "V8",
        f"{VP}/evidence/caller_identity.py",
        "if said.arn != arn:",
        "if False:",
        "tests/verifier/test_evidence.py tests/test_conformance.py",
    ),
    Mutant(
        "V9",
        DECIDE,
        "if unseen > sightings.VISIBLE_WITHIN:",
        "if False:",
        "tests/verifier/test_decide.py",
    ),
    Mutant(
        "V10",
        f"{VP}/policy_checks.py",
        'if group.http_tokens == "required" and facts.http_tokens not in {"required", None}:',
        "if False:",
        "tests/verifier/test_policy.py tests/test_conformance.py",
    ),
    Mutant(
        "V11",
        f"{VP}/policy_checks.py",
        "if str(seen) not in own and not any(seen in network for network in listed):",
        "if False:",
        "tests/verifier/test_policy.py",
    ),
    Mutant(
        "V12", f"{VP}/policy_checks.py", "elif now - begin > window:", "elif False:", "tests/verifier/test_policy.py"
    ),
    Mutant(
        "V13",
        TAKE,
        "if entry not in {Entry.OPEN, Entry.TRIAL}:",
        "if False:",
        "tests/verifier/test_gate.py tests/verifier/test_decide.py",
    ),
    Mutant(
        "V14",
        f"{WIRE}/answer.py",
        "sealed = request.seal.seal(bundle, info)",
        "sealed = bundle",
        "tests/verifier/test_decide.py tests/wire/test_answer.py tests/test_conformance.py",
    ),
    Mutant(
        "V15",
        f"{VP}/service.py",
        "            reply = self._problem(told, decision, close=False)\n        self.counts",
        "        self.counts",
        "tests/verifier/test_service.py",
    ),
    Mutant(
        "V15",
        f"{VP}/ledger/store.py",
        "            shared.check()\n        shared.committed()",
        "        shared.committed()",
        "tests/verifier/test_group_commit.py",
    ),
    Mutant(
        "LG5",
        f"{VP}/ledger/store.py",
        "            shared.afterwards.append(action)",
        "            action()",
        "tests/verifier/test_group_commit.py",
    ),
    Mutant(
        "O1",
        TAKE,
        'raise Refusal("already_enrolled", "O1 confirmed", status=410)',
        'return _must(how="again", taken=rows.retake(tx, claim, trial=trial))',
        "tests/verifier/test_ledger_events.py",
    ),
    Mutant(
        "O2",
        TAKE,
        "if known and rows.is_owner(tx, claim.instance_id, claim.owner):",
        "if known:",
        "tests/verifier/test_ledger_events.py",
    ),
    Mutant(
        "O3",
        TAKE,
        "if claim.have is not None and claim.have > claim.serial:",
        "if False:",
        "tests/verifier/test_ledger_events.py",
    ),
    Mutant(
        "O4",
        f"{VP}/policy_checks.py",
        "    if not first_time:\n        return\n",
        "",
        "tests/verifier/test_policy.py tests/test_conformance.py",
    ),
    Mutant(
        "O5",
        f"{VP}/ledger/owner_rows.py",
        "instances.c.takeovers < MAX_TAKEOVERS,",
        "",
        "tests/verifier/test_ledger_events.py",
    ),
    Mutant(
        "O6", f"{VP}/ledger/grant_rows.py", "grants.c.until > db_now(),", "", "tests/verifier/test_ledger_events.py"
    ),
    Mutant(
        "O7", f"{VP}/vault.py", "serials[-1]", "serials[0]", "tests/test_conformance.py tests/verifier/test_decide.py"
    ),
    Mutant(
        "LG1",
        f"{VP}/ledger/owner_rows.py",
        "    return made == 1\n",
        "    return made >= 0\n",
        "tests/verifier/test_ledger_races.py",
    ),
    Mutant(
        "LG2",
        f"{VP}/ledger/grant_rows.py",
        "grants.c.until > db_now(),",
        "grants.c.until > 0,",
        "tests/verifier/test_ledger_events.py",
    ),
    Mutant("LG3", f"{VP}/ledger/store.py", "if found.get(name) != value:", "if False:", "tests/verifier/test_cli.py"),
    Mutant(
        "LG4",
        f"{VP}/ledger/owner_rows.py",
        "if not _KEEP_KEY.count(tx, **pair):",
        "if False:",
        "tests/verifier/test_ledger_events.py",
    ),
    Mutant("LG5", TAKE, " and not (decided.repeated and store.newest)", "", "tests/verifier/test_ledger_restored.py"),
    Mutant(
        "LG5",
        f"{VP}/audit.py",
        ' and not record.get("repeated")',
        "",
        "tests/verifier/test_ledger_restored.py",
    ),
    Mutant("LG5", TAKE, "needs_open=True", "needs_open=False", "tests/verifier/test_ledger_events.py"),
    Mutant(
        "R1",
        "agent/hsm_enrol/enrol.py",
        "        if asker.answer is not None:\n",
        "        state.files.drop_file(state.OWNER_KEY, root=host.root)\n        if asker.answer is not None:\n",
        "tests/story/test_refusals.py",
    ),
    Mutant(
        "R2",
        "agent/hsm_enrol/host/exchange.py",
        "status >= _BAD_REQUEST and kind == PROBLEM_TYPE",
        "status >= _BAD_REQUEST",
        "tests/host/test_courier.py",
    ),
    Mutant(
        "R3",
        "agent/hsm_enrol/host/rounds.py",
        "isinstance(said, AtOnce) and self._left_at_once:",
        "isinstance(said, AtOnce):",
        "tests/host/test_courier.py",
    ),
    Mutant(
        "R3",
        "agent/hsm_enrol/host/rounds.py",
        "self._drawn = self._rng.choice([one for one in self._urls if one not in self._silent])",
        'self._drawn = ""',
        "tests/host/test_rounds.py",
    ),
    Mutant(
        "A1",
        "agent/hsm_enrol/host/exchange.py",
        "if len(answer.body) <= message.most:",
        "if True:",
        "tests/host/test_courier.py",
    ),
    Mutant(
        "A2",
        f"{WIRE}/answer.py",
        "Answer.from_payload(jws.verify(compact, header, key))",
        "Answer.from_payload(jws.split(compact, header)[1])",
        "tests/wire/test_answer.py",
    ),
    Mutant("A3", f"{WIRE}/answer.py", "        if got != sent:", "        if False:", "tests/wire/test_answer.py"),
    Mutant(
        "A4",
        f"{WIRE}/seal.py",
        "self._key(), info)\n        raise SealError\n",
        "self._key(), info)\n        return b''\n",
        "tests/wire/test_seal.py tests/wire/test_answer.py",
    ),
    Mutant("A5", f"{WIRE}/answer.py", "if bundle.serial != answer.serial:", "if False:", "tests/wire/test_answer.py"),
    Mutant("A6", f"{WIRE}/pairs.py", "    if not fits:\n", "    if False:\n", "tests/wire/test_pairs.py"),
    Mutant(
        "A7",
        "agent/hsm_enrol/ask.py",
        "if allowed and server.address.lower() not in names and not",
        "if False and not",
        "tests/test_allowed_servers.py",
    ),
    Mutant(
        "Clock",
        "agent/hsm_enrol/host/their_clock.py",
        "if abs(offset) > WRONG_CLOCK:",
        "if False:",
        "tests/host/test_courier.py",
    ),
    Mutant(
        "PIN",
        "agent/hsm_enrol/pin_memory.py",
        "usable=accepted or (known is None and not host.memory_lost),",
        "usable=True,",
        "tests/story/test_pin_safety.py",
    ),
    Mutant(
        "Text",
        "agent/hsm_enrol/host/printable.py",
        'elif category[0] != "C":',
        "else:",
        "tests/host/test_courier.py tests/host/test_printable.py",
    ),
)


def main() -> int:
    """Try the mutants that argv names, or all."""
    wanted = set(sys.argv[1:])
    gaps = 0
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_OURS))
        for mutant in MUTANTS:
            if not wanted or mutant.rule in wanted:
                said = tried(mutant, copy)
                gaps += not said.startswith("noticed")
                print(f"{mutant.rule:6} {said}", flush=True)
    return 1 if gaps else 0


def tried(mutant: Mutant, copy: Path) -> str:
    """Run the tests of one mutant; the file is whole again afterwards."""
    file = copy / mutant.file
    whole = file.read_text()
    if mutant.old not in whole:
        return "stale"
    try:
        file.write_text(whole.replace(mutant.old, mutant.new))
        ran = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                *QUIET,
                "-k",
                WORDS.get(mutant.rule, f"{mutant.rule.lower()}_"),
                *mutant.tests.split(),
            ],
            cwd=copy,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired:
        return "noticed by tests that do not end"
    finally:
        file.write_text(whole)
    failed = sorted(set(re.findall(r"^(?:FAILED|ERROR) \S+::(\w+)", ran.stdout, re.MULTILINE)))
    if ran.returncode == NONE_CHOSEN:
        return "no test has its name"
    return f"noticed by {', '.join(failed)}" if failed else "survived"


if __name__ == "__main__":
    sys.exit(main())
