"""Knows the ledger's tables and the database's own clock, the same on SQLite and PostgreSQL.

Times are Unix seconds of the database (LG2), because several verifiers' clocks may differ and one lease must end once.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import BigInteger

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)
"""audience, nonce_key (fingerprint, LG3), mode (LG5: open | operator), schema."""

instances = Table(
    "instances",
    metadata,
    Column("instance_id", String(32), primary_key=True),
    Column("owner", String(43), nullable=False, unique=True),
    Column("jwk", Text, nullable=False),
    Column("grp", String(64), nullable=False),
    Column("launch_time", Double, nullable=True),
    Column("pending_time", Double, nullable=True),
    Column("takeovers", Integer, nullable=False, default=0),
    Column("asked", Double, nullable=False),
)
"""One row an instance ever served; its row lock orders everything that happens to that instance's slots."""

owners = Table(
    "owners",
    metadata,
    Column("thumbprint", String(43), primary_key=True),
    Column("instance_id", String(32), nullable=False),
    Column("since", Double, nullable=False),
)
"""Every owner key ever accepted, never forgotten: a key belongs to one instance id (LG4)."""

slots = Table(
    "slots",
    metadata,
    Column("instance_id", String(32), ForeignKey("instances.instance_id"), primary_key=True),
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    Column("state", String(9), nullable=False),
    Column("grp", String(64), nullable=False),
    Column("level", String(16), nullable=False),
    Column("taken_at", Double, nullable=False),
    Column("confirmed_at", Double, nullable=True),
    Column("nonce", String(88), nullable=False),
    Column("hour", Double, nullable=False),
    Column("answers", Integer, nullable=False),
    Column("trial", Integer, nullable=False),
    Column("pin_id", String(128), nullable=True),
    Column("members", Text, nullable=True),
    Column("result", String(16), nullable=True),
    Column("code", String(32), nullable=True),
    Column("pin", String(16), nullable=True),
)
"""(instance, serial): absent is FREE, then TAKEN, CONFIRMED, REVOKED. `nonce` is the last answer's (receipts)."""

grants = Table(
    "grants",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("instance_id", String(32), nullable=False, index=True),
    Column("remaining", Integer, nullable=False),
    Column("until", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("owner", String(43), nullable=True),
    Column("made_at", Double, nullable=False),
)
"""Counted permissions of an operator to take over (O6)."""

gates = Table(
    "gates",
    metadata,
    Column("pin_id", String(128), primary_key=True),
    Column("members", Text, primary_key=True),
    Column("state", String(8), nullable=False),
    Column("trial", String(32), nullable=True),
    Column("nonce", String(88), nullable=True),
    Column("until", Double, nullable=True),
    Column("trying", Integer, nullable=False, default=0),
    Column("tries", Integer, nullable=False, default=0),
)
"""The release gate (V13): one row a (PIN id, member list)."""

sightings = Table(
    "sightings",
    metadata,
    Column("instance_id", String(32), primary_key=True),
    Column("first_seen", Double, nullable=False),
    Column("first_pass", Double, nullable=True),
    Column("held_owner", String(43), nullable=True),
    Column("held_group", String(64), nullable=True),
)
"""Instances not served yet: since when AWS does not show them (V9), when they first passed V1 to V12 (V13)."""


class db_now(FunctionElement[float]):  # noqa: N801  reads as the SQL function it stands for
    """The database's clock at this statement, Unix seconds with a fraction."""

    type = Double()
    inherit_cache = True
    name = "db_now"


@compiles(db_now, "sqlite")
def _sqlite_now(_element: db_now, _compiler: SQLCompiler, **_kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(db_now, "postgresql")
def _postgresql_now(_element: db_now, _compiler: SQLCompiler, **_kw: Any) -> str:
    # clock_timestamp(), not now(): the transaction may have waited for a row lock since it began.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision)"
