"""How rows of earlier versions are read."""

import pytest
from pydantic import ValidationError

from podium.ledger import schema
from podium.sweep.messages import EVENT, Exhausted
from podium.testing.ledgers import ONE_OF_EACH


def test_the_suite_has_one_of_each_kind_of_event():
    assert {event.kind for event in ONE_OF_EACH} == set(EVENT.json_schema()["discriminator"]["mapping"])


def test_bodies_of_earlier_versions_are_upcast_step_by_step(monkeypatch):
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 3)
    upcasts = {
        1: lambda body: {"kind": body["kind"], "trial": body["n"]},
        2: lambda body: {"kind": body["kind"], "number": body["trial"]},
    }
    monkeypatch.setattr(schema, "UPCASTS", upcasts)
    assert schema.decode('{"kind": "exhausted", "n": 4}', 1) == Exhausted(number=4)
    assert schema.decode('{"kind": "exhausted", "trial": 4}', 2) == Exhausted(number=4)
    assert schema.decode('{"kind": "exhausted", "number": 4}', 3) == Exhausted(number=4)


def test_a_body_that_does_not_fit_is_refused():
    with pytest.raises(ValidationError):
        schema.decode('{"kind": "exhausted", "number": 4, "unknown": 1}', schema.SCHEMA_VERSION)
