"""The floor of `make bench`: what an enrolment costs a server that decides nothing."""

import sqlite3
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature

from hsm_enrol.wire import jws
from lab.bench import floor_ends
from lab.bench.floor import line, measure
from lab.bench.floor_ends import BUNDLE, LEVELS, Work


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_answers_everybody_over_tls_and_tells_its_cpu(level: str) -> None:
    found = measure(level, 40, 4)
    assert 0 < found.p50 <= found.p99
    assert found.per_second > 0
    assert found.asker_cpu > 0
    assert found.server_cpu > 0
    assert line(found).startswith(level)


def test_every_level_does_what_its_name_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> tuple[int, int]:
        with sqlite3.connect(tmp_path / "floor.db") as database:
            (count,) = database.execute("SELECT count(*) FROM slots").fetchone()
        return count, len((tmp_path / "audit.jsonl").read_bytes().splitlines())

    durable = Work("durable", tmp_path)
    assert len(durable.answer()) > BUNDLE  # sealed and signed
    assert rows() == (1, 1)
    durable.receipt()
    assert rows() == (2, 2)

    def refuse(*_: object) -> bytes:
        raise InvalidSignature

    monkeypatch.setattr(jws, "verify", refuse)
    with pytest.raises(InvalidSignature):
        durable.answer()
    (tmp_path / "wire").mkdir()
    wire = Work("wire", tmp_path / "wire")
    wire.receipt()
    assert len(wire.answer()) == floor_ends.BUNDLE * 3 // 2
