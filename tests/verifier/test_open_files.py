"""What a shell allows at first, 1,024 open files, is less than the connections that the verifier lets in."""

import os
import resource
from pathlib import Path

import pytest

from hsm_verifier.__main__ import main as verifier_main
from hsm_verifier.cli import serve as cli_serve
from lab.nursery import Born


def started(words: list[str]) -> int:
    """Come as far as serving with the soft and hard limit that are named; print them as they are then."""

    def serve(*_words: object, **_settings: object) -> None:
        print(*resource.getrlimit(resource.RLIMIT_NOFILE))

    resource.setrlimit(resource.RLIMIT_NOFILE, (int(words[1]), int(words[2])))
    pytest.MonkeyPatch().setattr(cli_serve, "serve", serve)
    return verifier_main(["serve", "--config", words[0], "--listen", "127.0.0.1:0"])


@pytest.mark.parametrize(
    ("soft", "hard", "allowed", "warnings"),
    [(1024, 8192, "3456 8192", 0), (4000, 8192, "4000 8192", 0), (512, 2000, "2000 2000", 1)],
)
def test_all_connections_may_be_open_and_decisions_have_files_besides(
    tmp_path: Path, soft: int, hard: int, allowed: str, warnings: int
) -> None:
    assert verifier_main(["init", str(tmp_path / "vp"), "--host", "127.0.0.1"]) == 0
    (tmp_path / "told").touch()
    words = [str(tmp_path / "vp" / "hsm-verifier.toml"), str(soft), str(hard)]
    process = Born(started, words, tmp_path / "told", os.environ)
    assert process.stdout is not None
    with process.stdout as told:
        assert told.read().splitlines() == [allowed]
    assert process.wait(20) == 0
    assert (tmp_path / "told").read_text().count("2000 files may be open, 3456 are wanted") == warnings
