"""The floor of `make bench`: what an enrolment costs a server that decides nothing."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature

from hsm_enrol.wire import jws
from lab.bench.floor import line, measure
from lab.bench.floor_ends import BUNDLE, LEVELS, Work


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_answers_everybody_over_tls_and_tells_its_cpu(level: str) -> None:
    found = measure(level, 120, 4)  # CPU is told in hundredths of a second
    assert 0 < found.p50 <= found.p99
    assert found.per_second > 0
    assert found.asker_cpu > 0
    assert found.server_cpu > 0
    assert line(found).startswith(level)


def test_every_level_does_what_its_name_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> tuple[int, int]:
        with contextlib.closing(sqlite3.connect(tmp_path / "floor.db")) as database:
            (count,) = database.execute("SELECT count(*) FROM slots").fetchone()
        return count, len((tmp_path / "audit.jsonl").read_bytes().splitlines())

    async def several(work: Work) -> list[bytes]:
        return await asyncio.gather(*(work.answer() for _ in range(5)))

    with contextlib.closing(Work("durable", tmp_path)) as durable:
        assert len(asyncio.run(durable.answer())) > BUNDLE  # sealed and signed
        assert rows() == (1, 1)
        asyncio.run(durable.receipt())
        assert rows() == (2, 2)
        transactions: list[str] = []
        durable.database.set_trace_callback(transactions.append)
        asyncio.run(several(durable))
        assert (rows(), transactions.count("COMMIT")) == ((7, 7), 5)

    (tmp_path / "floor.db").unlink()
    (tmp_path / "audit.jsonl").unlink()
    with contextlib.closing(Work("together", tmp_path)) as together:
        transactions.clear()
        together.database.set_trace_callback(transactions.append)
        asyncio.run(several(together))
        assert (rows(), transactions.count("COMMIT")) == ((5, 5), 1)

    def refuse(*_: object) -> bytes:
        raise InvalidSignature

    (tmp_path / "less").mkdir()
    with contextlib.closing(Work("cryptography", tmp_path / "less")) as cryptography:
        assert len(asyncio.run(cryptography.answer())) > BUNDLE
        assert (tmp_path / "less/audit.jsonl").read_bytes() == b""
        monkeypatch.setattr(jws, "verify", refuse)
        with pytest.raises(InvalidSignature):
            asyncio.run(cryptography.answer())
    (tmp_path / "wire").mkdir()
    with contextlib.closing(Work("wire", tmp_path / "wire")) as wire:
        asyncio.run(wire.receipt())
        assert len(asyncio.run(wire.answer())) == BUNDLE * 3 // 2
