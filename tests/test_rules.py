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
    return re.search(rf"\b{rule}\b", case.words, re.IGNORECASE) is not None


def test_the_protocol_has_the_rules_that_it_is_known_for() -> None:
    counts = {
        letter: sum(rule.rstrip("0123456789") == letter for rule in RULES) for letter in ("E", "V", "O", "LG", "R", "A")
    }
    assert counts == {"E": 7, "V": 15, "O": 7, "LG": 5, "R": 3, "A": 7}
    assert {"Clock", "PIN", "Text"} <= set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_named_by_a_test(rule: str) -> None:
    assert [case.name for case in CASES if names(case, rule)], f"no test names {rule}"
