"""Reproducing: a run, or a whole sweep, is trained again and compared with what its ledger tells."""

import dataclasses
import itertools
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from podium.data.manifest import verify
from podium.data.prepare import name_of, shards
from podium.errors import DataError, Interrupted, LookupFailed, TaskError, UserError
from podium.folders import has
from podium.ledger import Book
from podium.registry import reproduction
from podium.registry.reproduction import Comparison, Past, Verdict
from podium.spec.sweep import SweepSpec
from podium.store import local_path
from podium.sweep.machine import Machine, SweepState
from podium.sweep.messages import Launched
from podium.sweep.trial import TrialState
from podium.tracking.provenance import provenance
from podium.wiring import code, launch, repeats, summaries
from podium.wiring.launch import Watcher
from podium.wiring.place import Place
from podium.wiring.repeats import Subject

RUN_ID = 32
"""Characters of the id of an MLflow run."""

MOST_NAME = 80
"""Characters of a sweep's name that begin the name of the one that is launched again."""

FUNCTION_NOTE = (
    "a training function owns its loop, and Podium cannot make it deterministic: it was called again with the same "
    "parameters and seed, and once more for its own spread where that was not identical"
)
CODE_NOTE = "beside the sweep file lies other code by now; that of then was trained"
FAILED_NOTE = "it failed after what was compared; that it would fail again is not shown"
OLD_NOTE = "an older Podium did not note from the first step on in which stacks it was trained: plainly, it was taken"


def reproduce(place: Place, run: str, watcher: Watcher) -> dict[str, Any]:
    """Trains a run again and compares it epoch by epoch.

    Args:
        place: Where its sweep lives.
        run: Its MLflow run, `SWEEP/NUMBER`, or the number of a trial of the newest sweep.
        watcher: Told how it goes.

    Returns:
        Plain data: `sweep`, `trial`, `run_id`, `verdict`, `epochs`, `first_epoch` that is not identical, `metrics` that
        are not there, `distance`, `spread` of a twin, `endings` then and again, `differences` by data, code, packages,
        hardware and settings, `history`, `notes` and `message`.

    Raises:
        LookupFailed: if there is no such run, or it has no epoch to compare.
        UserError: if its data or its code are gone and cannot be made again.
        PodiumError: if it cannot be trained now.
    """
    sweep, number = find_run(place, run)
    subject = _subject(place, sweep, number)
    _require_parts(place, subject.machine.spec, subject.launched, watcher)
    again = repeats.train(subject, watcher)
    found = reproduction.compare(subject.past.curve, again.curve)
    if found.verdict is not Verdict.IDENTICAL:
        twin = repeats.train(subject, watcher, is_twin=True)
        found = reproduction.compare(subject.past.curve, again.curve, twin.curve)
    report = subject.past.report
    assert report is not None
    assert again.report is not None
    return _result(subject, reproduction.with_endings(found, report.ending, again.report.ending), again)


def reproduce_sweep(place: Place, sweep: str, watcher: Watcher) -> dict[str, Any]:
    """Launches a sweep again, as NAME-again, NAME-again-2 …, with its points and seeds, and compares all.

    The new one decides anew who is trained with whom, and so may come out otherwise in the last places. For each trial
    that does, a twin of the new one says how far off it may be. A new sweep that was interrupted goes on; one that is
    over is left alone, and another trained.

    Args:
        place: Where the sweep lives.
        sweep: Its name; it must be over.
        watcher: Told how it goes.

    Returns:
        Plain data: `sweep`, `again`, `verdict` (the worst of all trials), `trials` (of each `trial`, `verdict`,
        `epochs`, `first_epoch`, `metrics`, `distance`, `spread`, `endings` and changed `settings`), `differences` by
        data, code, packages, hardware and settings, and `message`.

    Raises:
        LookupFailed: if there is no such sweep, or no trial of it has an epoch to compare.
        UserError: if it is not over, or its data or its code are gone.
        Interrupted: if the user asked to leave.
    """
    began, book = time.monotonic(), place.book()
    machine = summaries.load(book, sweep)
    launched = _launched(book, sweep)
    if _is_open(machine):
        raise UserError(
            f"sweep {sweep!r} is {machine.state}, and can be had again once it is over: `podium resume {sweep}` goes "
            f"on with it, `podium stop {sweep}` ends it"
        )
    if not any(trial.epoch for trial in machine.trials.values()):
        raise LookupFailed(f"no trial of sweep {sweep!r} has an epoch to compare")
    spec = _listed(book, machine, launched)
    _require_parts(place, machine.spec, launched, watcher)
    changes = {"identity": uuid.uuid4().hex, "spec": spec.written(), "text": "", "provenance": _provenance(launched)}
    summary = launch.launch_as(launched.model_copy(update=changes), place, watcher, began)
    if summary["state"] == "interrupted":
        raise Interrupted(f"left in the middle of {spec.sweep}; the same command goes on with it")
    again = summaries.load(book, spec.sweep)
    rows = [_compared(place, machine, again, number, watcher) for number in sorted(machine.trials)]
    worst = max((Verdict(row["verdict"]) for row in rows), key=list(Verdict).index)
    differences = _differences(place, launched, is_thorough=worst is not Verdict.IDENTICAL)
    differences["settings"] = sorted({told for row in rows for told in row["settings"]})
    counts = {str(verdict): sum(row["verdict"] == verdict for row in rows) for verdict in Verdict}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    lines = [f"{sweep} was trained again as {spec.sweep}: {told}"]
    lines += _told(differences) if worst is not Verdict.IDENTICAL else []
    return {
        "sweep": sweep,
        "again": spec.sweep,
        "verdict": str(worst),
        "trials": rows,
        "differences": differences,
        "message": "\n".join(lines),
    }


def find_run(place: Place, run: str) -> tuple[str, int]:
    """The sweep and number of an MLflow run, of `SWEEP/NUMBER` or of a number.

    Raises:
        LookupFailed: if there is none.
    """
    if "/" in run or (run.isdecimal() and len(run) < RUN_ID):
        return summaries.find_trial(place, run)
    book = place.book()
    for sweep in book.sweeps():
        for key, value in book.facts(sweep).all().items():
            if value == run and key.startswith("run/"):
                return sweep, int(key.removeprefix("run/"))
    raise LookupFailed(
        f"no sweep of {place.home} has a run {run!r}; give the id of a trial's MLflow run, or SWEEP/NUMBER "
        "(`podium list` shows the sweeps)"
    )


def provenance_of(place: Place, sweep: str) -> Mapping[str, Any]:
    """Code version, packages and machine of a sweep.

    Raises:
        LookupFailed: if there is none of that name.
    """
    book = place.book()
    book.require(sweep)
    return _launched(book, sweep).provenance


def _subject(place: Place, sweep: str, number: int) -> Subject:
    book = place.book()
    machine = summaries.load(book, sweep)
    past = _past(book, sweep, number)
    if past.report is None or not past.curve:
        trial = machine.trials[number]
        why = f", {trial.reason}" if trial.reason else ""
        raise LookupFailed(f"trial {number} of sweep {sweep!r} is {trial.state}{why}, and has no epoch to compare")
    return Subject(place, _launched(book, sweep), machine, number, past)


def _past(book: Book, sweep: str, number: int) -> Past:
    return reproduction.past((row.event for row in book.rows(sweep)), number)


def _launched(book: Book, sweep: str) -> Launched:
    launched = next(iter(book.rows(sweep))).event
    assert isinstance(launched, Launched)
    return launched


def _require_parts(place: Place, spec: SweepSpec, launched: Launched, watcher: Watcher) -> None:
    """Sees to it that the store has code and data."""
    _require_code(place, launched)
    _require_data(place, spec, launched, watcher)


def _require_code(place: Place, launched: Launched) -> None:
    """Brings the code back that is gone from the store, if what lies beside the sweep file is still the same."""
    if not launched.code or has(place.store, code.staged(launched.code)):
        return
    folder = _folder(launched)
    found = code.stage(folder, place) if folder else ""
    if found != launched.code:
        what = f"and what lies in {folder} has changed since" if folder else "and nobody knows where it came from"
        commit = launched.provenance.get("git", {}).get("commit")
        raise TaskError(
            f"the code of the sweep is not whole in {place.store} any more, {what}; bring the folder "
            f"{code.staged(launched.code)} back{f', or check out commit {commit} there' if commit else ''}"
        )


def _require_data(place: Place, spec: SweepSpec, launched: Launched, watcher: Watcher) -> None:
    """Prepares data again of which the store misses anything; the name tells whether they are the same."""
    if not launched.data or has(place.store, shards(launched.data)):
        return
    folder, name = _folder(launched), ""
    assert spec.data is not None
    try:
        if folder and (name := name_of(spec.data, folder, place.cache)) == launched.data:
            launch.prepare_data(spec, folder, place, watcher)
    except UserError as error:
        raise DataError(
            f"the data {launched.data} are not whole in {place.store}, and not to be had again: {error}"
        ) from None
    if name != launched.data:
        what = f"and the source gives {name} now" if name else "and nobody knows where they came from"
        raise DataError(
            f"the data {launched.data} are not whole in {place.store}, {what}; bring the source back as it was, or the "
            f"folder {shards(launched.data)}"
        )


def _folder(launched: Launched) -> Path | None:
    """Where the sweep file lay, if that is still there."""
    folder = Path(launched.provenance.get("folder", ""))
    return folder if folder.is_absolute() and folder.is_dir() else None


def _provenance(launched: Launched) -> dict[str, Any]:
    """What a launch tells now; of the sweep's folder what was told then, if that is gone."""
    folder = _folder(launched)
    if folder is not None:
        return provenance(folder)
    return {**provenance(Path.cwd()), "git": {}, "folder": launched.provenance.get("folder", "")}


def _result(subject: Subject, found: Comparison, again: Past) -> dict[str, Any]:
    launched, report = subject.launched, subject.past.report
    assert report is not None
    differences = _differences(subject.place, launched, is_thorough=found.verdict is not Verdict.IDENTICAL)
    differences["settings"] = reproduction.changed(subject.past.conditions, again.conditions)
    is_told = bool(report.history) and report.history[0].place == (0, 0)
    notes = [FUNCTION_NOTE] if subject.is_function else [] if is_told else [OLD_NOTE]
    notes += [CODE_NOTE] if _has_other_code(subject.place, launched) else []
    notes += [FAILED_NOTE] if subject.machine.trials[subject.number].state is TrialState.FAILED else []
    sweep = subject.machine.spec.sweep
    return {
        "sweep": sweep,
        "trial": subject.number,
        "run_id": subject.place.book().facts(sweep).get(f"run/{subject.number}"),
        **_plain(found),
        "differences": differences,
        "history": [stretch.model_dump() for stretch in report.history],
        "conditions": dict(subject.past.conditions),
        "notes": notes,
        "message": "\n".join([_message(f"trial {subject.number} of {sweep}", found, differences), *notes]),
    }


def _plain(found: Comparison) -> dict[str, Any]:
    """As JSON types: an infinite distance, where a metric is missing, is None."""
    plain = dataclasses.asdict(found) | {"verdict": str(found.verdict)}
    return {key: None if value == math.inf else value for key, value in plain.items()}


def _message(subject: str, found: Comparison, differences: Mapping[str, Sequence[str]]) -> str:
    lines = [f"{subject} is {found.verdict} over {found.epochs} epoch{'s' if found.epochs > 1 else ''}"]
    if found.first_epoch is not None:
        name, (then, now) = next(iter(found.metrics.items()))
        lines[0] += f": epoch {found.first_epoch} is the first to differ ({name} was {then}, and is {now})"
        lines.append(f"relative distance: {found.distance:.3g} at most, that of a twin {found.spread or 0.0:.3g}")
    elif found.verdict is Verdict.DIFFERENT:
        lines.append("it ended otherwise: {} then, {} now".format(*found.endings))
    if found.verdict is not Verdict.IDENTICAL:
        lines += _told(differences)
    return "\n".join(lines)


def _told(differences: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{kind}: {'; '.join(told)}" for kind, told in differences.items() if told]


def _differences(place: Place, launched: Launched, *, is_thorough: bool) -> dict[str, list[str]]:
    """What is not as it was then, in words; a thorough look reads every shard."""
    found = reproduction.differences(launched.provenance, _provenance(launched))
    own = code.digest(place.fetch(code.staged(launched.code)), place) if launched.code else ""
    if own != launched.code:
        found["code"].insert(0, f"the code in the store: {launched.code[:12]} -> {own[:12]}")
    name = shards(launched.data)
    problems = verify(local_path(place.store, name) or f"{place.store}/{name}") if launched.data and is_thorough else []
    return {"data": problems, **found}


def _has_other_code(place: Place, launched: Launched) -> bool:
    """Whether beside the sweep file lies what was not launched."""
    folder = _folder(launched)
    return bool(launched.code) and folder is not None and code.digest(folder, place) != launched.code


def _is_open(machine: Machine) -> bool:
    """Whether a sweep may still go on."""
    return machine.state in (SweepState.RUNNING, SweepState.INTERRUPTED)


def _listed(book: Book, source: Machine, launched: Launched) -> SweepSpec:
    """The sweep of the same points, under the first name that is free or that of one that was begun and left."""
    written = source.spec.written()
    points = [dict(source.trials[number].parameters) for number in sorted(source.trials)]
    search = {**written["search"], "sampler": "list", "points": points}
    search.pop("prior", None)
    budget = {**written["budget"], "trials": len(points)}
    tracking = {**written.get("tracking", {}), "model": False}
    changed = {**written, "search": search, "budget": budget, "tracking": tracking}
    for number in itertools.count(1):
        name = f"{source.spec.sweep[:MOST_NAME]}-again{f'-{number}' if number > 1 else ''}"
        spec = SweepSpec.model_validate({**changed, "sweep": name})
        if not book.has(name) or _is_begun(book, spec, launched):
            return spec
    raise AssertionError("there is always another number")


def _is_begun(book: Book, spec: SweepSpec, launched: Launched) -> bool:
    """Whether just this sweep, over this code and data, was begun and is not over."""
    machine, stored = summaries.load(book, spec.sweep), _launched(book, spec.sweep)
    is_same = summaries.flat_settings(machine.spec) == summaries.flat_settings(spec)
    return _is_open(machine) and is_same and (stored.code, stored.data) == (launched.code, launched.data)


def _compared(place: Place, source: Machine, again: Machine, number: int, watcher: Watcher) -> dict[str, Any]:
    """One trial of both sweeps, over the epochs that it has in both: a policy may stop it earlier in one of them."""
    book = place.book()
    then, now = (_past(book, machine.spec.sweep, number) for machine in (source, again))
    common = {epoch: metrics for epoch, metrics in then.curve.items() if epoch in now.curve} or then.curve
    found = reproduction.compare(common, now.curve)
    if found.first_epoch is not None and now.curve:
        twin = repeats.train(_subject(place, again.spec.sweep, number), watcher, is_twin=True)
        found = reproduction.compare(common, now.curve, twin.curve)
    endings = (
        str(machine.trials[number].state) if number in machine.trials else "absent" for machine in (source, again)
    )
    settings = reproduction.changed(then.conditions, now.conditions)
    return {"trial": number, **_plain(reproduction.with_endings(found, *endings)), "settings": settings}
