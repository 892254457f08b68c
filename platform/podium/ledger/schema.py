"""The ledger's tables, and how old rows are read by new code."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from podium.sweep.messages import EVENT, Event

SCHEMA_VERSION = 1

METADATA = sa.MetaData()

EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("sweep", sa.String(100), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Column("holder_epoch", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("previous_hash", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)

LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("sweep", sa.String(120), primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("holder_epoch", sa.Integer, nullable=False),
    sa.Column("since", sa.Float(53), nullable=False),
    sa.Column("expires", sa.Float(53), nullable=False),
)

REQUESTS = sa.Table(
    "requests",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sweep", sa.String(100), nullable=False, index=True),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

FACTS = sa.Table(
    "facts",
    METADATA,
    sa.Column("sweep", sa.String(100), primary_key=True),
    sa.Column("key", sa.String(100), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

UPCASTS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From a schema version to the function that turns its bodies into those of the next version."""


def decode(body: str, version: int) -> Event:
    """An event as written under any earlier schema version."""
    if version == SCHEMA_VERSION:
        return EVENT.validate_json(body)
    tree = json.loads(body)
    for step in range(version, SCHEMA_VERSION):
        tree = UPCASTS[step](tree)
    return EVENT.validate_python(tree)


def digest(previous_hash: str, row: Mapping[str, Any]) -> str:
    """The hash that chains a row to the one before it: SHA-256 over both, in hexadecimal."""
    fields = (row[key] for key in ("sweep", "sequence", "at", "holder_epoch", "kind", "schema_version", "body"))
    return hashlib.sha256("\n".join([previous_hash, *map(str, fields)]).encode()).hexdigest()
