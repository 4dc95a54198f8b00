"""Every mutant of tests/mutants.py fits the code as it is: a stale one tells nobody whether a test keeps its rule."""

import pytest

from tests.mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.rule)
def test_a_mutant_finds_its_text_once_in_its_file_and_its_tests_are_there(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.new != mutant.old
    assert [one for one in mutant.tests.split() if not (ROOT / one).exists()] == []
