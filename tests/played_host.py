"""A host whose agent runs in this process, on real files and with the real stand-in tools; the verifier is played."""

import base64
import io
import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from hsm_enrol import chrystoki
from hsm_enrol.ask import Got
from hsm_enrol.at_work import Host, Run, _own_record, recover
from hsm_enrol.enrol import Outcome, _install, _installed
from hsm_enrol.errors import Busy, EnrolError
from hsm_enrol.host import signals, state
from hsm_enrol.host.courier import Courier
from hsm_enrol.host.folders import below
from hsm_enrol.host.imds import Imds
from hsm_enrol.host.keep import DISPLACED
from hsm_enrol.host.lock import Lock
from hsm_enrol.host.site import Site
from hsm_enrol.host.voice import Voice
from hsm_enrol.leave import generalize, leave
from hsm_enrol.mend import mend
from hsm_enrol.record import Record
from hsm_enrol.settings import DeliverSettings, LunaSettings, Settings, VerifierSettings
from hsm_enrol.wire.answer import Answer
from hsm_enrol.wire.assertion import Assertion
from hsm_enrol.wire.bundle import Bundle
from lab.luna.client import Client
from lab.luna.estate import Estate

INSTANCE = "i-0123456789abcdef0"
VERIFIER = VerifierSettings(
    urls=("https://127.0.0.1:1",), audience="a", ca_file="/etc/ca.pem", answer_keys=("/etc/key.pem",)
)
GROUP = 990
OWN = {"var/lib/hsm-enrol/owner.key", "var/lib/hsm-enrol/record.json"}
LOCK = "run/hsm-enrol/lock"


@dataclass
class PlayedCourier:
    """Takes receipts as the verifier would; `on_tell` may look, or raise, at that very moment."""

    told: list[dict[str, Any]] = field(default_factory=list)
    on_tell: Callable[[dict[str, Any]], None] = lambda _: None
    offset: float = 0.0
    url: str = "https://127.0.0.1:1"

    def tell(self, compact: bytes, *, seconds: float | None = None) -> bool:
        assert seconds is None or seconds > 0
        receipt = json.loads(_payload(compact))
        self.told.append(receipt)
        self.on_tell(receipt)
        return True


def _payload(compact: bytes) -> bytes:
    part = compact.split(b".")[1]
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


class PlayedHost:
    """One instance below `root`. Options as of lab.luna.client.install_client."""

    def __init__(
        self, root: Path, estate: Estate, generation: str = "6.2", *, join: str = "tool", **options: Any
    ) -> None:
        self.root = root
        self.estate = estate
        for place in ("etc", "var/lib", "run"):
            (root / place).mkdir(parents=True)
        (root / "etc/group").write_text(f"root:x:0:\nhsmusers:x:{GROUP}:tomcat\n")
        self.client: Client = estate.install(generation, root, notes=root.parent / f"{root.name}-notes", **options)
        minimal = self.client.conf_path if options.get("minimal") else ""
        prefix = self.client.prefix if options.get("minimal") else ""
        self.settings = Settings(
            verifier=VERIFIER,
            luna=LunaSettings(join=join, tool_timeout=20.0, config=minimal, prefix=prefix),
            root=str(root),
        )
        self.instance = INSTANCE
        self.courier = PlayedCourier()
        self.said = io.StringIO()

    def set(self, *, deliver: DeliverSettings | None = None, **luna: Any) -> None:
        """Change settings; the file changes with them, for its digest is in the witness."""
        self.settings = replace(
            self.settings, luna=replace(self.settings.luna, **luna), deliver=deliver or self.settings.deliver
        )
        (self.root / "etc/settings").write_text(repr(self.settings))

    def portable(self) -> dict[str, Any]:
        """Give what another process needs to be this host's agent."""
        return {"root": self.root, "settings": self.settings, "instance": self.instance}

    @classmethod
    def from_portable(cls, found: dict[str, Any]) -> "PlayedHost":
        """Give the agent's side of a host in another process; it has no estate and no client to look at."""
        host = cls.__new__(cls)
        host.root, host.settings, host.instance = found["root"], found["settings"], found["instance"]
        host.courier, host.said = PlayedCourier(), io.StringIO()
        return host

    @property
    def run(self) -> Run:
        return Run(
            settings=self.settings,
            settings_path=str(self.root / "etc/settings"),
            reason="operator",
            voice=Voice(stream=self.said),
            rng=random.Random(1),
        )

    @contextmanager
    def at_work(self, *, damaged: bool = False) -> Iterator[Host]:
        """As hsm_enrol.at_work.at_work, with this instance's name known already."""
        run, root = self.run, str(self.root)
        with Lock(below(root, state.LOCK)) as lock, signals.raising():
            with signals.held():
                recover(root, run.voice)
            record, lost = _own_record(root, self.instance, run.voice, none_if_damaged=damaged)
            yield Host(
                run=run,
                site=Site.of(run.settings),
                lock=lock,
                imds=cast("Imds", None),
                courier=cast("Courier", self.courier),
                instance=self.instance,
                record=record,
                memory_lost=lost,
            )

    def take(self, bundle: Bundle | None = None, *, trial: bool = True, damaged: bool = False) -> Outcome:
        """Install what an answer brought, as enrol, refresh and re-enrol do."""
        bundle = bundle or self.estate.bundle()
        answer = Answer(
            jti="A" * 22,
            sub=self.instance,
            aud="a",
            nonce=f"{bundle.serial:043}",
            iat=1_800_000_000,
            serial=bundle.serial,
            state="bundle",
            trial=trial,
            kem="p256",
            seal_thumbprint="t",
            sealed=b"x",
        )
        with self.at_work(damaged=damaged) as host:
            owner = state.owner_for(self.instance, str(self.root))
            return _install(host, owner, Got(request=cast("Assertion", None), answer=answer, bundle=bundle), bundle)

    def mend(self) -> bool:
        """Mend from the record, as `enrol` does on a host that has one."""
        with self.at_work() as host:
            installed = _installed(host)
            assert host.record is not None
            assert installed is not None
            return mend(host, host.record, installed)

    def at_rest(self) -> None:
        """Do what every writing command does first, waiting for a tool that outlives its agent."""
        end = time.monotonic() + 30
        while True:
            try:
                with self.at_work():
                    return
            except Busy:
                assert time.monotonic() < end, "the lock was never let go"
                threading.Event().wait(0.02)

    def leave(self) -> bool:
        return leave(self.run) is not None

    def generalize(self) -> bool:
        return generalize(self.run) is not None

    def fails(self, act: Callable[[], object]) -> EnrolError:
        """Do it; give the error, and see that the disk is byte for byte as before but for the agent's own memory.

        A tool that damages the conf, and a person who edits it meanwhile, look alike: what was there is kept aside.
        """
        before = self.files()
        try:
            act()
        except EnrolError as error:
            after = self.files()
            for name in [one for one in after if error.reason == "tool_damage" and DISPLACED in one]:
                del after[name]
            assert {name: found for name, found in after.items() if name not in OWN} == {
                name: found for name, found in before.items() if name not in OWN
            }
            self.assert_no_litter()
            return error
        raise AssertionError("it did not fail")

    def assert_no_litter(self) -> None:
        assert not list(self.root.rglob(".hsm-enrol.*"))
        assert not (self.root / "var/lib/hsm-enrol/undo").exists()

    def files(self) -> dict[str, tuple[int, bytes | str]]:
        """Every file and link but the lock: mode and bytes, by path below the root."""
        found: dict[str, tuple[int, bytes | str]] = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                found[name] = (0, str(path.readlink()))
            elif path.is_file() and name != LOCK:
                found[name] = (path.stat().st_mode & 0o7777, path.read_bytes())
        return found

    @property
    def record(self) -> Record | None:
        return state.read_record(str(self.root))

    @property
    def pin_state(self) -> str | None:
        record = self.record
        return record.pin.state if record is not None and record.pin is not None else None

    @property
    def conf(self) -> str:
        return self.client.conf.read_text()

    @property
    def meaning(self) -> dict[tuple[str, str], str]:
        return chrystoki.meaning(chrystoki.parse(self.conf))

    def path(self, logical: str) -> Path:
        """Give a file's place on this disk."""
        return Path(below(str(self.root), logical))

    def reboot(self) -> None:
        """Lose what a reboot loses."""
        shutil.rmtree(self.root / "run")
        (self.root / "run").mkdir()

    def pins(self) -> int:
        """Count the PINs typed at the tools' prompts; none was anywhere else."""
        calls = self.client.calls()
        assert not any(one.pin_elsewhere for one in calls)
        return sum(one.pins for one in calls)
