"""Runs a command with a journald of its own, in mount and pid namespaces: `own_journald.py FOLDER COMMAND...`

/run is a new file system, journald writes there, and the command's stderr is a journal stream, made as a service
manager makes it. FOLDER gets `entries.json` (one a line) and `explained.txt`, the same with the catalog's texts.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CATALOGS = Path("/var/lib/systemd/catalog")
SOCKETS = [Path("/run/systemd/journal") / name for name in ("socket", "stdout")]


def wait_for(paths: list[Path]) -> None:
    end = time.monotonic() + 20
    while not all(path.exists() for path in paths):
        if time.monotonic() > end:
            raise SystemExit("journald did not start")
        time.sleep(0.02)


def stream() -> socket.socket:
    """Open a journal stream: identifier, unit, priority, "read <N>", and three forwards switched off."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.connect(str(SOCKETS[1]))
    made.sendall(b"hsm-enrol\nhsm-enrol.service\n6\n1\n0\n0\n0\n")
    return made


def main() -> None:
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
    Path("/run/log/journal").mkdir(parents=True)
    with subprocess.Popen(
        ["/lib/systemd/systemd-journald"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as daemon:
        wait_for(SOCKETS)
        with stream() as stderr:
            found = os.fstat(stderr.fileno())
            environ = os.environ | {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
            status = subprocess.run(
                command, stderr=stderr.fileno(), stdout=subprocess.DEVNULL, env=environ, check=False
            ).returncode
        catalog = folder / "root/usr/lib/systemd/catalog"
        catalog.mkdir(parents=True)
        shutil.copy(ROOT / "systemd/hsm-enrol.catalog", catalog)
        subprocess.run(["journalctl", "--update-catalog", f"--root={folder / 'root'}"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", CATALOGS], check=True)
        shutil.copy(folder / "root" / CATALOGS.relative_to("/") / "database", CATALOGS)
        subprocess.run(["journalctl", "--sync"], check=True)
        for name, form in (("entries.json", ["-o", "json"]), ("explained.txt", ["-x"])):
            words = ["journalctl", "-D", "/run/log/journal", "-t", "hsm-enrol", "--no-pager", *form]
            (folder / name).write_bytes(subprocess.run(words, check=True, capture_output=True).stdout)
        daemon.terminate()
    print(json.dumps({"status": status}))


if __name__ == "__main__":
    main()
