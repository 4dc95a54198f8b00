"""docs/threat-model.md is true: it has every attack, and every test that it names is there."""

import re
from pathlib import Path

import pytest

from tests.test_rules import CASES

TEXT = (Path(__file__).parent.parent / "docs" / "threat-model.md").read_text()
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
ATTACKS = {f"a{number}": [row for row in ROWS if row.startswith(f"| A{number} ")] for number in range(1, 23)}
NAMED = sorted(set(re.findall(r"`(test_[a-z0-9_]+)`", TEXT)))


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_has_one_row_and_a_test_with_its_number(attack: str) -> None:
    (row,) = ATTACKS[attack]
    cells = [cell.strip() for cell in row.strip("|").split(" | ")]
    assert len(cells) == 5
    assert all(cells)
    own = [one for one in re.findall(r"`(test_[a-z0-9_]+)`", cells[3]) if one.startswith(f"test_{attack}_")]
    tried_twice = {case.name for case in CASES if case.file.name == "test_attacks.py"}
    assert own
    assert set(own) <= tried_twice | {"test_a16_no_value_can_write_a_line_of_its_own"}


@pytest.mark.parametrize("name", NAMED)
def test_each_test_that_is_named_is_there(name: str) -> None:
    assert name in {case.name for case in CASES}


def test_every_attack_that_is_tried_is_in_the_table() -> None:
    tried = {case.name for case in CASES if case.file.name == "test_attacks.py"}
    assert tried <= set(NAMED)
