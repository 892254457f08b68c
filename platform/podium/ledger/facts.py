"""Notes beside a sweep's events that no decision reads."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from podium.ledger.database import guarded
from podium.ledger.schema import FACTS


class Facts:
    """Notes beside a sweep's events that no decision reads: run ids, the registered model, timings."""

    def __init__(self, engine: sa.Engine, reader: sa.Engine, sweep: str) -> None:
        self._engine, self._reader, self._sweep = engine, reader, sweep

    def get(self, key: str) -> Any:
        """The value of `key`; None if there is none."""
        query = sa.select(FACTS.c.value).where(FACTS.c.sweep == self._sweep, FACTS.c.key == key)
        with guarded(self._engine), self._reader.connect() as connection:
            value = connection.scalar(query)
        return None if value is None else json.loads(value)

    def all(self) -> dict[str, Any]:
        """Every key with its value."""
        query = sa.select(FACTS.c.key, FACTS.c.value).where(FACTS.c.sweep == self._sweep)
        with guarded(self._engine), self._reader.connect() as connection:
            return {key: json.loads(value) for key, value in connection.execute(query)}

    def some(self, keys: Iterable[str]) -> dict[str, Any]:
        """Those of some keys that there are, with their values."""
        query = sa.select(FACTS.c.key, FACTS.c.value).where(FACTS.c.sweep == self._sweep, FACTS.c.key.in_(list(keys)))
        with guarded(self._engine), self._reader.connect() as connection:
            return {key: json.loads(value) for key, value in connection.execute(query)}

    def put(self, facts: Mapping[str, Any]) -> None:
        """Sets the values of keys, in one transaction."""
        with guarded(self._engine), self._engine.begin() as connection:
            keys = FACTS.c.key.in_(list(facts))
            connection.execute(FACTS.delete().where(FACTS.c.sweep == self._sweep, keys))
            rows = [{"sweep": self._sweep, "key": key, "value": json.dumps(value)} for key, value in facts.items()]
            connection.execute(FACTS.insert(), rows)
