"""Fixtures: one verifying party in a folder of its own."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hsm_enrol.wire.keys import generate_key
from hsm_verifier.answer_keys import AnswerKeys
from hsm_verifier.audit import Audit
from hsm_verifier.decide import World
from hsm_verifier.ledger.store import Store, sqlite_url
from hsm_verifier.limits import Buckets
from hsm_verifier.nonce import Nonces
from hsm_verifier.vault import Vault
from tests.verifier.party import AUDIENCE, NONCE_KEY, NOW, Party, PlayedAws, PlayedPolicy, make_bundle


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(sqlite_url(tmp_path / "ledger.sqlite"))
    made.create(audience=AUDIENCE, nonce_key=NONCE_KEY)
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
