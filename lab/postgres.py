"""Knows how to run a PostgreSQL of its own, as Debian packages it: throw-away, on a socket in a folder and on loopback.

Local connections are trusted. Those over TCP want TLS and a password, as a real ledger's do. Nothing is synced to disk
unless asked for: the cluster lives as long as a test; what a crash of the database's machine does is PostgreSQL's own
business.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from lab import children, pki

OWNER = "hsm"
ACCESS = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
SPEED = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
}
DURABLE = {"fsync", "full_page_writes"}  # what PostgreSQL has on by itself


def find_programs() -> Path | None:
    """Give the folder of the newest PostgreSQL server's programs, None when there is none."""
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    found = sorted((one for one in folders if (one / "initdb").exists()), key=lambda one: float(one.parent.name))
    return found[-1] if found else None


class Postgres:
    """One cluster with one owner. `create` makes a database, `url` and `tls_url` say how a ledger reaches it."""

    def __init__(self, programs: Path | None = None, *, durable: bool = False) -> None:
        """Make the cluster; nothing listens yet. Raises FileNotFoundError when PostgreSQL is not installed.

        `durable`: a commit is on the disk before it is told, as PostgreSQL does by itself; for a bench.
        """
        self._speed = {name: value for name, value in SPEED.items() if not (durable and name in DURABLE)}
        found = programs or find_programs()
        if found is None:
            raise FileNotFoundError("PostgreSQL's server; run packaging/dev/postgres.sh")
        self._programs = found
        self.folder = Path(tempfile.mkdtemp(prefix="hsm-enrol-pg-"))
        self.password = secrets.token_urlsafe(16)
        self.port = children.free_port()
        self._user = self._other_user()
        self._process: subprocess.Popen[bytes] | None = None
        authority = pki.authority("Laboratory root for PostgreSQL")
        pair = pki.server(authority, ["127.0.0.1"])
        self.ca_file = self.folder / "ca.pem"
        self._write("ca.pem", authority.certificate_pem, 0o644)
        self._write("password", self.password, 0o600)
        self._write("server.pem", pair.certificate_pem, 0o600)
        self._write("server.key", pair.key_pem, 0o600)
        self._own(self.folder)
        self._run(
            "initdb", "-D", self._data, "--no-sync", "--no-instructions", "-U", OWNER, "-E", "UTF8", "--locale=C",
            f"--pwfile={self.folder / 'password'}", "-A", "trust",
        )  # fmt: skip
        (self.folder / "data" / "pg_hba.conf").write_text(ACCESS)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> Self:
        """Serve from now on."""
        options = self._speed | {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "ssl": "on",
            "ssl_cert_file": str(self.folder / "server.pem"),
            "ssl_key_file": str(self.folder / "server.key"),
        }
        words = [str(self._programs / "postgres"), "-D", self._data]
        words += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        log = self.folder / "log"
        self._process = children.start(words, log, user=self._user, env=self._environment())
        try:
            children.wait(self._process, log, self._ready)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End at once, as on a power cut: connections break, what was committed is there at the next start."""
        if self._process is not None:
            children.stop(self._process, number=signal.SIGQUIT)
            self._process = None

    def remove(self) -> None:
        """End for good."""
        self.stop()
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        """Serve inside a with block."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """End for good."""
        self.remove()

    def create(self, name: str, template: str = "template1") -> str:
        """Make a database, a copy of `template`; gives its URL."""
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, name: str) -> None:
        """End a database with all connections to it."""
        self.sql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def url(self, name: str) -> str:
        """Give the URL through the socket, without a password."""
        return f"postgresql+psycopg://{OWNER}@/{name}?host={self.folder}&port={self.port}"

    def tls_url(self, name: str) -> str:
        """Give the URL through TCP; the password goes beside it."""
        return (
            f"postgresql+psycopg://{OWNER}@127.0.0.1:{self.port}/{name}?sslmode=verify-full&sslrootcert={self.ca_file}"
        )

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as an operator would; gives what psql prints, without headings."""
        return self._run("psql", *self._where(database), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement)

    def dump(self, name: str) -> str:
        """Give a backup of a database as pg_dump makes it."""
        return self._run("pg_dump", *self._where(name))

    def restore(self, name: str, dump: str) -> None:
        """Put a backup in the place of a database: the old one is gone, connections break."""
        self.drop(name)
        self.create(name)
        self._run("psql", *self._where(name), "-Xq", "-v", "ON_ERROR_STOP=1", input_text=dump)

    def _where(self, database: str) -> list[str]:
        return ["-h", str(self.folder), "-p", str(self.port), "-U", OWNER, "-d", database]

    def _ready(self) -> bool:
        done = subprocess.run(
            [str(self._programs / "pg_isready"), "-q", "-h", str(self.folder), "-p", str(self.port)],
            check=False,
            env=self._environment(),
        )
        return done.returncode == 0

    def _run(self, program: str, *words: str, input_text: str = "") -> str:
        done = subprocess.run(
            [str(self._programs / program), *words],
            input=input_text,
            user=self._user or None,
            group=self._user or None,
            extra_groups=[] if self._user else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd="/",
            env=self._environment(),
        )
        if done.returncode:
            raise children.NotStarted(f"{program}: {done.stderr[-2000:]}")
        return done.stdout

    def _write(self, name: str, text: str, mode: int) -> None:
        path = self.folder / name
        path.touch(mode)
        path.write_text(text)
        self._own(path)

    def _own(self, path: Path) -> None:
        if self._user:
            shutil.chown(path, self._user, self._user)

    @staticmethod
    def _other_user() -> str:
        """PostgreSQL refuses to run as root; Debian's package brings a user for it."""
        return pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else ""

    @staticmethod
    def _environment() -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "LC_ALL": "C"}
