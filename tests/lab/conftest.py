from collections.abc import Iterator
from pathlib import Path

import pytest

from hsm_enrol.host import tools
from lab.luna.estate import Estate
from tests.lab.luna_hand import Hand


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer sooner than real tools allow, which may pause in the middle of a line."""
    monkeypatch.setattr(tools, "QUIET", 0.1)
    monkeypatch.setattr(tools, "GRACE", 0.3)


@pytest.fixture
def estate() -> Iterator[Estate]:
    with Estate() as running:
        yield running


@pytest.fixture
def hand(estate: Estate, tmp_path: Path) -> Hand:
    """A 6.2 client whose appliances are registered already."""
    found = Hand(estate=estate, client=estate.install("6.2", tmp_path))
    found.put_servers()
    return found
