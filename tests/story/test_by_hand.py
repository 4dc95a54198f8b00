"""What `make lab` offers somebody who tries the agent by hand: its addresses, an enrolment, a check without a fault."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from lab.nursery import SWITCH
from lab.party import environment

TIME = 60


def test_the_laboratory_runs_until_ctrl_c_and_the_agent_joins_and_finds_no_fault(tmp_path: Path) -> None:
    alone = {name: value for name, value in environment().items() if name != SWITCH}  # its verifier is a program
    with (tmp_path / "errors").open("w") as errors:
        lab = subprocess.Popen(
            [sys.executable, "-m", "lab", "serve"],
            cwd=tmp_path,
            env=alone,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert lab.stdout is not None
    try:
        for line in lab.stdout:
            if line.startswith("Ctrl-C"):
                break
        told = json.loads((tmp_path / ".lab/lab.json").read_text())
        agent = [sys.executable, "-m", "hsm_enrol", "--config", told["config"], "--root", told["root"]]

        def types(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*agent, *words], env=alone, capture_output=True, text=True, check=False, timeout=TIME
            )

        again = subprocess.run(
            [sys.executable, "-m", "lab", "serve"],
            cwd=tmp_path,
            env=alone,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIME,
        )
        assert (again.returncode, again.stderr) == (1, "make lab is at work here already: .lab/lab.json\n")
        for words in (("check",), ("enrol", "-v"), ("status",), ("check",)):
            ran = types(*words)
            assert ran.returncode == 0, f"{words}: {ran.stdout}{ran.stderr}"
        lab.send_signal(signal.SIGINT)
        assert lab.wait(TIME) == 0
    finally:
        lab.terminate()  # it ends its verifier, which would outlive it otherwise
        try:
            lab.wait(TIME)
        finally:
            lab.kill()
            lab.wait()
        lab.stdout.close()
    assert (tmp_path / "errors").read_text() == ""
    assert list((tmp_path / ".lab").iterdir()) == []
