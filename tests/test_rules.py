"""Every rule of docs/protocol.md is named by a test, and every test that the protocol calls for is there.

A test names a rule in its own name (`test_v5_…`), in the id of a case, or in its docstring. A1 to A7 are also names of
attacks (docs/threat-model.md); as rules they are looked for where the asking party's checks are tested.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PROTOCOL = TESTS.parent / "docs" / "protocol.md"
RULE = re.compile(r"\*\*([A-Z]{1,2}[0-9]{1,2}|Clock|PIN|Text)\*\*")
ATTACKS = {"test_attacks.py", "test_evidence.py", "test_policy.py", "test_inventory.py", "test_chrystoki.py"}


WORDS = {"Clock": r"\bclocks?\b", "PIN": r"\bpin\b", "Text": r"\bfree text\b"}
CALLED_FOR = {
    "rotation on a 90-day-old instance": "test_a_90_day_old_instance_gets_the_rotation",
    "a co-tenant asks first after a publication": (
        "test_a_cotenant_that_asks_first_after_a_publication_is_refused_with_an_alarm"
    ),
    "reboot at every step with /run wiped": (
        "test_agent_and_verifier_die_in_turn_with_run_wiped_and_the_instance_is_installed"
    ),
    "HSM down for 8 days during a rotation": (
        "test_an_hsm_that_was_down_for_eight_days_finds_its_rotation_still_there"
    ),
    "trial killed before trying": "test_a_trial_that_vanished_before_trying_costs_nothing",
    "trial killed after trying": "test_two_that_vanished_after_trying_halt_the_gate",
    "trial refused": "test_refused_halts_at_once_until_an_operator_resumes",
    "trial with the PIN unused": "test_failed_before_the_pin_was_tried_frees_the_trial",
    "two verifiers race for the trial": "test_v13_one_trial_however_many_ask_at_both",
    "two verifiers race for a slot": "test_lg1_one_slot_many_keys_one_owner",
    "two verifiers race for a grant": "test_o6_a_grant_for_one_is_used_by_one",
    "serial published between try and retry": ("test_o7_serial_published_between_try_and_retry_is_what_is_given"),
    "instance moved between groups": "test_moved_to_another_group_the_next_answer_is_that_groups",
    "region, token, date with line break, slash, at sign, hash": "test_e7_texts_match_wholly_and_in_ascii",
    "netrc and proxy variables at the verifier": "test_the_environment_has_no_say",
    "a proxy's HTML 403, then the true verifier": "test_r2_who_says_no_verifiers_word_is_passed_over_at_once",
    "a forged already_enrolled, then the true verifier": (
        "test_r1_a_forged_refusal_delays_and_the_true_verifier_still_serves"
    ),
    "hold causes no failover": "test_r2_nobody_else_is_asked_before_the_wait_that_a_verifier_asked_for",
    "Retry-After of 10^9": "test_r3_a_retry_after_of_thirty_years_is_cut_to_fifteen_minutes",
    "forged current": "test_a12_a_forged_current_does_not_keep_an_instance_from_its_rotation",
    "old answer replayed": "test_a3_an_answer_to_another_request_is_refused",
    "low-order X25519 and wrong lengths": "test_v3_a_seal_key_must_work",
    "trust without the verifier's key: nothing taken": "test_v4_offline_checks_refuse_before_aws_is_asked",
    "ledger restored from backup": "test_lg5_in_operator_mode_a_newcomer_needs_a_grant",
    "cloned owner key": "test_lg4_a_key_copied_to_a_second_instance_is_refused_with_an_alarm",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test function: where it is, and all the words that it goes by."""

    file: Path
    name: str
    words: str


def cases() -> Iterator[Case]:
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = " ".join([node.name.replace("_", " "), ast.get_docstring(node) or ""])
                yield Case(file=file, name=node.name, words=text)


CASES = tuple(cases())
RULES = tuple(dict.fromkeys(RULE.findall(PROTOCOL.read_text())))


def names(case: Case, rule: str) -> bool:
    """Whether a test names a rule."""
    if re.fullmatch(r"A[1-7]", rule) and case.file.name in ATTACKS:
        return False
    return re.search(WORDS.get(rule, rf"\b{rule}\b"), case.words, re.IGNORECASE) is not None


def test_the_protocol_has_the_rules_that_it_is_known_for() -> None:
    counts = {
        letter: sum(rule.rstrip("0123456789") == letter for rule in RULES) for letter in ("E", "V", "O", "LG", "R", "A")
    }
    assert counts == {"E": 7, "V": 15, "O": 7, "LG": 5, "R": 3, "A": 7}
    assert {"Clock", "PIN", "Text"} <= set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_named_by_a_test(rule: str) -> None:
    assert [case.name for case in CASES if names(case, rule)], f"no test names {rule}"


@pytest.mark.parametrize("situation", CALLED_FOR)
def test_each_situation_that_the_protocol_was_made_for_is_tried(situation: str) -> None:
    assert CALLED_FOR[situation] in {case.name for case in CASES}
