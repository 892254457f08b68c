"""A home with trials that have left something: data, pictures, logs, promotions with their evidence."""

import json
from pathlib import Path

import numpy as np
from shown_sweeps import Story

from podium.data.prepare import prepare, shards
from podium.ledger import Book
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Crowned, Crowning, Event, Judged, Promoting
from podium.training.artifacts import artifact_folder
from podium.wiring.place import Place

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)

DATA = {"source": {"kind": "arrays", "path": "blobs.npz"}, "batch_size": 8}


def moments() -> list[dict[str, object]]:
    layer = {"gradient": 0.5, "weight": 2.0, "update": 1e-4, "activation": 0.1, "dead": 0.25, "saturated": None}
    return [
        {"epoch": epoch, "loss": 1.0, "layers": [{"name": name, **layer} for name in ("<in>", "out")]}
        for epoch in (0, 1, 3)
    ]


def story(name: str, trials: int, **more: object) -> Story:
    settings = {
        "sweep": name,
        "task": "task.py:Mine",
        "search": {
            "objective": {"metric": "validation/loss", "direction": "minimize"},
            "space": {"rate": {"log": [0.001, 0.1]}, "kind": {"choice": ["a", "b"]}},
        },
        "budget": {"trials": trials, "epochs": {"min": 1, "max": 3}, "policy": "none"},
        "retries": {"exception": 0},
    }

    def outcome(number: int, epoch: int) -> object:
        return RuntimeError("<i>no</i> good") if number == 2 else 1 / (number + 1) / epoch

    return Story(SweepSpec.model_validate(settings | more), outcome).play()


def keep(book: Book, name: str, events: list[Event]) -> None:
    ledger = book.hold(name)
    ledger.append(events)
    ledger.release()


def prepare_trials(folder: Path) -> Place:
    """A place with two sweeps over prepared data, two promotions of one of them, and what a trial leaves."""
    place = Place.of(folder / "home")
    place.require_writable()
    drawn = np.random.default_rng(0)
    np.savez(folder / "blobs.npz", x=drawn.normal(size=(60, 2)).astype("float32"), y=np.arange(60) % 3)
    first = story("first", 4, data=DATA)
    assert first.spec.data is not None
    made = prepare(first.spec.data, base=folder, store=place.store, cache=place.cache)
    assert made == place.home / shards(made.name)
    book = place.book()
    for played in (first, story("second", 3, data={**DATA, "batch_size": 16})):
        launched = played.launched.model_copy(update={"data": made.name, "spec": played.spec.written()})
        keep(book, played.spec.sweep, [launched, *(row.event for row in played.rows[1:])])
    for number, verdict in enumerate(("promoted", "refused"), 1):
        name = f"first-promotion-{number}"
        promotion = story(name, 3)
        launched = promotion.launched.model_copy(update={"spec": promotion.spec.written()})
        wanted = Promoting(sweep="first", model="first", finalists=(3, 1), seeds=5, settings={}, by="<b>Ada</b>")
        keep(book, name, [launched, wanted, *(row.event for row in promotion.rows[1:])])
        keep(book, "model/first", decided(name, verdict, str(number)))
    book.facts("first").put({"run/3": "abc", "experiment": "1", "tracking_uri": place.tracking_uri})
    artifacts = place.home / artifact_folder("first", 3)
    artifacts.mkdir(parents=True)
    (artifacts / "diagnosis.json").write_text(json.dumps(moments()))
    (artifacts / "samples.png").write_bytes(PIXEL)
    (artifacts / "page.svg").write_text("<svg onload='alert(1)'/>")
    inside = place.artifacts / "first" / "abc" / "artifacts" / "inside"
    inside.mkdir(parents=True)
    (inside / "filters.png").write_bytes(PIXEL)
    (place.home / "secret.png").write_bytes(b"secret")
    log = place.home / "logs" / "first" / "trial-00003.log"
    log.parent.mkdir(parents=True)
    log.write_text("step 1 <script>\n")
    return place


def decided(promotion: str, verdict: str, version: str) -> list[Event]:
    evidence = {
        "metric": "validation/loss",
        "finalists": [
            {"trial": 3, "reported": 0.0625, "interval": {"estimate": 0.07, "low": 0.06, "high": 0.08}, "chosen": True}
        ],
        "checks": [{"gate": "better", "outcome": "passed", "reason": "it <is> better"}],
        "test": {"samples": 750, "reading": 2, "compared": 741, "left_out": 9, "left_out_why": "equal images"},
    }
    judged = Judged(
        promotion=promotion,
        version=version,
        champion="",
        verdict=verdict,  # type: ignore[arg-type]
        reasons=(f"{verdict}, since so it is",),
        evidence=evidence,
    )
    if verdict == "refused":
        return [judged, Crowning(version="9", previous=version, how="rollback", by="Eve")]  # begun, and never made
    moved = Crowning(version=version, previous="", how="promotion", promotion=promotion, by="Ada")
    return [judged, moved, Crowned(version=version)]
