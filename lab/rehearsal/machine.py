"""Knows how to boot one machine out of an image, with a real systemd in it: reboot, power cut, commands, journal.

A machine is an overlay on cached layers; its `upper` folder is its disk. It shares the network namespace that this
process is in, which is the rehearsal's own, so that addresses and laboratory outlive its reboots.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

BOOT = 60.0  # seconds; a boot takes half a second on an idle machine
# What a container's own processes have not got either. Without this a command that we bring in by nsenter could set the
# clock of the host.
NOT_INSIDE = "-sys_time,-sys_module,-sys_rawio"
SYS_TIME = 1 << 25
REBOOT = 133  # what systemd-nspawn ends with when the machine asked for a reboot, because of --keep-unit
_tick = threading.Event()


class NotSeen(AssertionError):
    """What a journey waited or looked for did not come about."""


def until(condition: Callable[[], bool], what: str, limit: float = BOOT) -> None:
    """Wait until a condition holds. Raises NotSeen naming `what`."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise NotSeen(f"not within {limit:.0f} s: {what}")
        _tick.wait(0.05)


class Machine:
    """One machine below `folder`, on `layers` (the topmost first). Not running before `boot`."""

    def __init__(self, name: str, folder: Path, layers: tuple[Path, ...]) -> None:
        """Mount its disk; `root` is the machine's root folder as this side sees it."""
        self.name = name
        self.folder = folder
        self.upper = folder / "upper"
        self.root = folder / "root"
        self.hurried = False  # comes before everything else that this host does; for measuring
        self._layers = layers
        self._process: subprocess.Popen[bytes] | None = None
        self._console: IO[bytes] | None = None
        self._init = 0
        for place in (self.upper, folder / "work", self.root):
            place.mkdir(parents=True, exist_ok=True)
        lower = ":".join(map(str, layers))
        options = f"lowerdir={lower},upperdir={self.upper},workdir={folder / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.root], check=True, timeout=20)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the machine, from outside."""
        there = self.root / path.lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)
        there.chmod(mode)

    def read(self, path: str) -> str:
        """Give the text of a file of the machine. What is below /run is only there while it runs."""
        if path.startswith("/run/"):
            return self.run("cat", path)
        return (self.root / path.lstrip("/")).read_text()

    def has(self, path: str) -> bool:
        """Tell whether the machine has a file; /run is looked at inside."""
        if path.startswith("/run/"):
            return self.try_run("test", "-e", path).returncode == 0
        return (self.root / path.lstrip("/")).exists()

    # --- power

    def boot(self, *, wait: bool = True) -> None:
        """Start it; returns once multi-user.target is reached, or at once."""
        self._console = (self.folder / "console.log").open("ab")
        command = ["chrt", "--rr", "1"] if self.hurried else []
        command += ["systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}", f"--machine={self.name}"]
        command += ["--register=no", "--keep-unit", "--link-journal=no", "--resolv-conf=off", "--timezone=off"]
        command += [f"--network-namespace-path=/proc/{os.getpid()}/ns/net", "--console=read-only"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._console, stderr=subprocess.STDOUT
        )
        until(self._found_init, f"{self.name}: no systemd inside; see {self.folder}/console.log")
        until(lambda: self.try_run("systemctl", "show", "--property=Version").returncode == 0, "systemd answers")
        for process in ("1", "self"):
            status = self.run("cat", f"/proc/{process}/status")
            if int(status.partition("CapBnd:")[2].split()[0], 16) & SYS_TIME:
                raise NotSeen("a process inside could set the host's clock; nothing more is tried")
        if wait:
            self.wait_for("multi-user.target", "active")

    def _found_init(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise NotSeen(f"systemd-nspawn ended with {self._process.returncode}; see {self.folder}/console.log")
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    self._init = int(child)
                    return True
        return False

    @property
    def running(self) -> bool:
        """Tell whether it is on."""
        return self._process is not None and self._process.poll() is None

    def reboot(self) -> None:
        """Ask for a reboot, as an operator does, and boot again."""
        self.run("systemctl", "reboot")
        self._ended(REBOOT)
        self.boot()

    def power_off(self) -> float:
        """Ask it to shut down; gives the seconds that took."""
        begin = time.monotonic()
        self.run("systemctl", "poweroff")
        self._ended(0)
        return time.monotonic() - begin

    def power_cut(self) -> None:
        """Kill process 1 of the machine: everything in it is gone at once, as when the plug is drawn."""
        os.kill(self._init, signal.SIGKILL)
        self._ended(1)

    def _ended(self, status: int) -> None:
        assert self._process is not None
        assert self._console is not None
        found = self._process.wait(BOOT)
        self._console.close()
        self._process = None
        if found != status:
            raise NotSeen(f"systemd-nspawn ended with {found}, not {status}; see {self.folder}/console.log")

    def discard(self) -> None:
        """End it if it runs, and throw its disk away."""
        if self._process is not None:
            self._process.kill()
            os.kill(self._init or self._process.pid, signal.SIGKILL)
            self._process.wait(BOOT)
            self._process = None
        subprocess.run(["umount", self.root], check=True, timeout=20)

    # --- looking and acting inside

    def try_run(self, *words: str, limit: float = BOOT) -> subprocess.CompletedProcess[str]:
        """Run a command inside, without the capabilities that reach outside."""
        inside = ["nsenter", "-t", str(self._init), "-m", "-p", "-u", "-i", "-n", "-C", "--"]
        inside += ["setpriv", "--bounding-set", NOT_INSIDE, "--"]
        return subprocess.run(
            [*inside, *words],
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            cwd="/",
        )

    def run(self, *words: str, limit: float = BOOT) -> str:
        """Run a command inside that has to succeed; gives its stdout."""
        done = self.try_run(*words, limit=limit)
        if done.returncode:
            raise NotSeen(f"{' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        """Give one property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def wait_for(self, unit: str, state: str, limit: float = BOOT) -> None:
        """Wait for a unit's ActiveState."""
        until(lambda: self.show(unit, "ActiveState") == state, f"{self.name}: {unit} {state}", limit)

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Give hsm-enrol's entries of all boots, read from outside; `matches` as journalctl has them."""
        if self.running:
            self.run("journalctl", "--sync")
        command = ["journalctl", f"--directory={self.root}/var/log/journal", "--output=json", "--no-pager", "--all"]
        done = subprocess.run(
            [*command, "SYSLOG_IDENTIFIER=hsm-enrol", *matches], capture_output=True, text=True, timeout=20, check=True
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    def console(self) -> str:
        """Give what was on its console since it was made."""
        return (self.folder / "console.log").read_text(errors="replace")

    def clone(self, name: str, folder: Path) -> Machine:
        """Give another machine with a copy of this one's disk, as an image of it would have. Both are off."""
        if self.running:
            raise ValueError("a running machine's disk is not copied")
        folder.mkdir(parents=True)
        subprocess.run(["cp", "--archive", self.upper, folder / "upper"], check=True, timeout=60)
        (folder / "upper/etc/machine-id").write_text("")
        shutil.rmtree(folder / "upper/var/log/journal", ignore_errors=True)
        copy = Machine(name, folder, self._layers)
        (copy.root / "var/log/journal").mkdir(parents=True, exist_ok=True)
        return copy
