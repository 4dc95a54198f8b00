"""Several processes write to one SQLite ledger: whoever waits for longest is next, and nothing depends on it."""

import threading
from pathlib import Path

import pytest

from hsm_verifier.ledger.store import Store
from hsm_verifier.ledger.writers import Writers


def test_who_writes_all_the_time_lets_the_next_process_have_its_turn(store: Store, other: Store) -> None:
    order: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def write_twice() -> None:
        with store.deciding():
            order.append("first")
            inside.set()
            go_on.wait(10)
        with store.deciding():
            order.append("first again")

    def write() -> None:
        with other.deciding():
            order.append("second")

    one, two = threading.Thread(target=write_twice), threading.Thread(target=write)
    one.start()
    inside.wait(10)
    two.start()
    two.join(0.4)  # SQLite's own waiting sleeps for a tenth of a second at a time by now
    go_on.set()
    one.join(10)
    two.join(10)
    assert order == ["first", "second", "first again"]


def test_a_folder_that_takes_no_file_and_a_process_that_hangs_in_its_turn_keep_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("", ":memory:", str(tmp_path / "no-such-folder" / "ledger.sqlite")):
        with Writers(path):
            pass
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("hsm_verifier.ledger.writers.PATIENCE", 0.05)
    hanging, mine = Writers(str(tmp_path / "ledger.sqlite")), Writers(str(tmp_path / "ledger.sqlite"))
    with hanging:
        for _ in range(2):
            with mine:
                pass
    assert sorted(one.name for one in tmp_path.iterdir()) == ["ledger.sqlite-next", "ledger.sqlite-turn"]
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}
    before = len([*Path("/proc/self/fd").iterdir()])
    hanging.close()
    mine.close()
    assert len([*Path("/proc/self/fd").iterdir()]) == before - 4
