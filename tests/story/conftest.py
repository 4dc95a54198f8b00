"""Fixtures: whole worlds on loopback; everything in them is a real process or a real wire."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.world import World

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    with ExitStack() as stack:
        count = 0

        def make(**options: Any) -> World:
            nonlocal count
            count += 1
            folder = tmp_path / f"world-{count}"
            folder.mkdir()
            return stack.enter_context(World(folder, **options))

        yield make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()
