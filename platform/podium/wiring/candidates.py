"""Candidates: the best finalist over fresh seeds, registered, judged, and described on a card."""

import json
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from podium.data.prepare import shards
from podium.data.reader import Reader
from podium.errors import Interrupted, ModelError, PodiumError, Refused, SpecError, TaskError
from podium.ledger import HeldLedger
from podium.registry import promotion
from podium.registry.evidence import mean_interval, optimism
from podium.registry.finalists import best, values_of, without_seed
from podium.spec.constraints import parse
from podium.spec.settings import suggestion
from podium.sweep.machine import Machine
from podium.sweep.messages import Chosen, Judged, TestRead
from podium.sweep.trial import Trial, TrialState
from podium.wiring import champions, launch, networks, registering, summaries
from podium.wiring.judging import Judge, Judgement, Rival, TestSplit, champion_on, show, trivial
from podium.wiring.launch import Watcher
from podium.wiring.networks import TrainedNetwork
from podium.wiring.plans import Plan, launched_of

if TYPE_CHECKING:
    from podium.registry.answers import About
    from podium.registry.models import Model
    from podium.registry.serving import Loaded

FEW = 8
"""Validation samples that show which metrics there are."""

MOST_CLASSES = 40
"""A confusion matrix of more classes cannot be read."""


def require_judgeable(plan: Plan) -> None:
    """Refuses what could be trained, and then not be registered or judged, before anything is trained.

    Raises:
        TaskError: for a network that answers with nothing or that torch cannot export, or a gate that is not there.
        SpecError: for a floor of a metric that the task does not have.
        LookupFailed: if there is no checkpoint any more to try it with.
    """
    from podium.registry.answers import about
    from podium.registry.models import export

    spec, trial = plan.source.spec, plan.source.trials[plan.promoting.finalists[0]]
    found = networks.trained(plan.place, plan.source, plan.launched, trial)
    own_gate(plan)
    _require_metrics(plan, about(spec, found.schema, found.link))
    if plan.place.book().facts(spec.sweep).get("model"):
        return  # which shows that it can be exported
    with tempfile.TemporaryDirectory() as scratch:
        try:
            export(
                _model(plan, plan.source, found, [trial]),
                plan.source.spec.postprocessing.window,
                Path(scratch, "n.pt2"),
            )
        except PodiumError:
            raise
        except Exception as error:  # torch raises anything
            raise TaskError(
                f"the networks of sweep {spec.sweep!r} cannot be exported, so that none of them could be registered: "
                f"{textwrap.shorten(str(error), 300)}"
            ) from error


def _require_metrics(plan: Plan, about: "About") -> None:
    from podium.registry.metrics import metrics

    reader = Reader(plan.place.fetch(shards(plan.launched.data)))
    if about.repeats_inputs:
        targets = next(iter(reader.sequential("validation", FEW))).inputs
    else:
        targets = next(iter(reader.stored("validation")))[1][:FEW]
    truths = {head.name: head.truths(targets) for head in about.heads}
    known = metrics(truths.get("", truths), targets, about)
    for text in plan.settings.gates.floors:
        floor = parse(text)
        if floor.name not in known:
            raise SpecError(
                f"{floor.name!r} is no metric of the test split{suggestion(floor.name, known)}",
                key="promotion.gates.floors",
            )


def choose(plan: Plan, watcher: Watcher) -> Chosen:
    """The candidate, chosen on validation over the fresh seeds and registered, without an alias."""
    book = plan.place.book()
    for row in book.rows(plan.name):
        if isinstance(row.event, Chosen):
            return row.event
    machine = summaries.load(book, plan.name)
    seeds, trials = plan.promoting.seeds, [machine.trials[number] for number in sorted(machine.trials)]
    values = values_of(trials, seeds, machine.ranking.is_candidate)
    finalist = best(values, maximize=plan.maximizes)
    own = trials[finalist * seeds : (finalist + 1) * seeds]
    good = [trial for trial, value in zip(own, values[finalist], strict=True) if value is not None]
    if plan.shipping != plan.name:
        machine = _trained_on_all(plan, machine, finalist, round(fmean(trial.best_epoch for trial in good)), watcher)
        good = [machine.trials[0]]
    ranked = sorted(good, key=machine.ranking.order)
    shipped = ranked[:1] if plan.settings.ship == "best" else ranked
    watcher.stage("Registering the candidate")
    version = _register(plan, machine, shipped)
    chosen = Chosen(
        finalist=plan.promoting.finalists[finalist], trials=tuple(trial.number for trial in shipped), version=version
    )
    with _held(plan) as ledger:
        ledger.append([chosen])
    return chosen


def _trained_on_all(plan: Plan, machine: Machine, finalist: int, epochs: int, watcher: Watcher) -> Machine:
    """The sweep that trains the finalist on train and validation split together; its seed was never looked at."""
    spec = plan.final(machine, finalist, max(epochs, 1))
    summary = launch.launch_again(spec, plan.launched, plan.place, watcher)
    trained = summaries.load(plan.place.book(), spec.sweep)
    if summary["state"] == "interrupted":
        raise Interrupted(f"the last training {spec.sweep!r} was interrupted; the same command goes on with it")
    if not trained.trials or trained.trials[0].state is not TrialState.COMPLETE:
        raise Refused(
            f"the last training {spec.sweep!r} did not end well ({summary['state']}: {summary['reason']}); "
            f"`podium promote {plan.promoting.sweep} --anew` begins another promotion"
        )
    return trained


def _register(plan: Plan, machine: Machine, shipped: Sequence[Trial]) -> str:
    from podium.registry.models import log_best

    found = networks.trained(plan.place, machine, launched_of(plan.place.book(), machine.spec.sweep), shipped[0])
    if not found.run_id:
        raise Interrupted(
            f"MLflow does not show the runs of {machine.spec.sweep!r} yet; `podium sync {machine.spec.sweep}`, then "
            "promote again"
        )
    registered = log_best(
        _model(plan, machine, found, shipped),
        run_id=found.run_id,
        spec=machine.spec,
        trial=shipped[0],
        tracking_uri=plan.place.tracking_uri,
        registered_name=plan.promoting.model,
    )
    return registered["version"]


def _model(plan: Plan, machine: Machine, found: TrainedNetwork, shipped: Sequence[Trial]) -> "Model":
    """The candidate as it was trained: one network, or several as one."""
    from podium.training.combined import Ensemble, averaged

    if found.link == "none":
        raise TaskError(f"the task {plan.source.spec.task} answers with nothing that a registered model could give")
    if len(shipped) > 1:
        launched = launched_of(plan.place.book(), machine.spec.sweep)
        rest = [networks.trained(plan.place, machine, launched, trial).module for trial in shipped[1:]]
        all_of_them = [found.module, *rest]
        as_one = (
            averaged(all_of_them)
            if plan.settings.ship == "average"
            else Ensemble(all_of_them, found.link, found.heads).eval()
        )
        found = replace(found, module=as_one)
    return registering.model_of(found, plan.manifest)


def judge(plan: Plan, chosen: Chosen, champion: str) -> tuple[Judged, Mapping[str, Any]]:
    """Reads the test split for the candidate and this champion, and asks all gates; gives the confusions, too."""
    from podium.registry.answers import about
    from podium.registry.serving import Version, folder_of, load

    place, name = plan.place, plan.promoting.model
    launched = launched_of(place.book(), plan.shipping)
    machine = summaries.load(place.book(), plan.shipping)
    shipped = [machine.trials[number] for number in chosen.trials]
    found = networks.trained(place, machine, launched, shipped[0])
    own = own_gate(plan)
    with ExitStack() as open_folders:

        def opened(version: str) -> tuple["Loaded", Path]:
            known = Version(name, version)
            return load(place.tracking_uri, known), open_folders.enter_context(folder_of(place.tracking_uri, known))

        candidate = opened(chosen.version)
        reading = _reading(plan, chosen, champion)
        reader = Reader(place.fetch(shards(launched.data)), "promotion")
        test = TestSplit.read(reader, about(machine.spec, found.schema, found.link))

        def rival(test: TestSplit) -> Rival:
            if not champion:
                return trivial(test)
            try:
                return champion_on(test, *opened(champion), *_data_of(plan, champion))
            except ModelError as error:
                return Rival(f"the champion, {name} version {champion}", None, is_champion=True, why_not=str(error))

        judge = Judge(
            settings=plan.settings.gates,
            test=test,
            candidate=show(test, *candidate),
            about=candidate[0].about,
            rival=rival(test),
            trained=_model(plan, machine, found, shipped),
            reading=reading,
            own=own,
            class_names=plan.manifest.schema.class_names,
        )
        judged = judge.judge()
    evidence = {**_about(plan, chosen, machine, judged), **judged.evidence}
    evidence["test"]["data"] = launched.data
    event = Judged(
        promotion=plan.name,
        version=chosen.version,
        champion=champion,
        verdict=judged.verdict,
        reasons=judged.reasons,
        evidence=evidence,
    )
    return event, judged.confusions


def _reading(plan: Plan, chosen: Chosen, champion: str) -> int:
    """Which reading of the test split this is, of all that there were; noted before anything is read."""
    book, data = plan.place.book(), plan.manifest.test_set
    with champions.waiting(plan.place, f"test/{data[:16]}"):
        readings = book.readings(data)
        for number, reading in enumerate(readings, start=1):
            if reading.sweep == plan.name and reading.event.champion == champion:
                return number
        event = TestRead(
            data=data,
            samples=plan.manifest.rows["test"],
            trial=chosen.trials[0],
            model=plan.promoting.model,
            champion=champion,
        )
        with _held(plan) as ledger:
            ledger.append([event])
        return len(readings) + 1


def _data_of(plan: Plan, version: str) -> tuple[Path | None, str]:
    """The shards that a version was trained on; None, and why they are not known, if so."""
    sweep = promotion.tags_of(plan.place.tracking_uri, plan.promoting.model, version).get("podium.sweep", "")
    book = plan.place.book()
    if not sweep or not book.has(sweep):
        return None, f"the sweep that trained version {version} is not in this ledger"
    try:
        return plan.place.fetch(shards(launched_of(book, sweep).data)), ""
    except PodiumError as error:
        return None, f"the data that version {version} was trained on are gone: {error}"


def own_gate(plan: Plan) -> Any:
    """The user's gate, from the current folder.

    Raises:
        TaskError: if it cannot be imported.
    """
    reference = plan.settings.gates.own
    if reference is None:
        return None
    from podium.training.code import load

    return load(reference, Path.cwd())


def _about(plan: Plan, chosen: Chosen, machine: Machine, judged: Judgement) -> dict[str, Any]:
    """The part of a promotion's evidence that does not come from the test split."""
    settings, spec, manifest = plan.settings, plan.source.spec, plan.manifest
    shipped = [machine.trials[number] for number in chosen.trials]
    objective = spec.search.objectives[0]
    return {
        "promotion": plan.name,
        "sweep": plan.promoting.sweep,
        "model": plan.promoting.model,
        "version": chosen.version,
        "at": time.time(),
        "by": plan.promoting.by,
        "metric": objective.metric,
        "direction": objective.direction,
        "level": settings.gates.level,
        "verdict": judged.verdict,
        "reasons": list(judged.reasons),
        "finalists": list(_finalists(plan, chosen)),
        "shipped": {
            "how": settings.ship,
            "trials": list(chosen.trials),
            "seeds": [trial.seed for trial in shipped],
            "epochs": [trial.best_epoch for trial in shipped],
            "train_on": settings.train_on,
            "validation": shipped[0].last_values[0]
            if settings.ship == "best" and settings.train_on == "train"
            else None,
        },
        "provenance": {
            **launched_of(plan.place.book(), plan.name).provenance,
            "data": plan.launched.data,
            "code": plan.launched.code,
        },
        "data": {
            "source": manifest.source,
            "split": manifest.split,
            "rows": manifest.rows,
            "schema": {"inputs": manifest.schema.inputs, "classes": manifest.schema.classes},
            "licence": manifest.licence,
        },
    }


def _finalists(plan: Plan, chosen: Chosen) -> Iterator[dict[str, Any]]:
    """What the sweep said of each finalist, and what its fresh seeds say."""
    machine = summaries.load(plan.place.book(), plan.name)
    seeds, maximizes, level = plan.promoting.seeds, plan.maximizes, plan.settings.gates.level
    trials = [machine.trials[number] for number in sorted(machine.trials)]
    metric = plan.source.spec.search.objectives[0].metric
    curves = summaries.curves(plan.place.book(), plan.name)
    for index, values in enumerate(values_of(trials, seeds, machine.ranking.is_candidate)):
        source = plan.source.trials[plan.promoting.finalists[index]]
        own = trials[index * seeds : (index + 1) * seeds]
        known = [value for value in values if value is not None]
        reported = source.last_values[0]
        yield {
            "trial": source.number,
            "parameters": without_seed(source.parameters),
            "reported": reported,
            "values": values,
            "trials": [trial.number for trial in own],
            "interval": mean_interval(known, level).written() if known else None,
            "optimism": optimism(reported, known, maximize=maximizes) if known and reported is not None else None,
            "chosen": source.number == chosen.finalist,
            "curves": {str(trial.number): curves.get(trial.number, {}).get(metric, []) for trial in own},
        }


def attach_card(plan: Plan, judged: Judged, confusions: Mapping[str, Any]) -> None:
    """Writes the card to the version, and beside the candidate's run; a promotion that goes on writes it again."""
    from podium.registry import card

    uri, model = plan.place.tracking_uri, plan.promoting.model
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "card.md").write_text(card.markdown(judged.evidence))
        (folder / "card.html").write_text(card.html(judged.evidence, _pictures(plan, confusions)))
        (folder / "evidence.json").write_text(json.dumps(judged.evidence, indent=2))
        promotion.attach(uri, model, judged.version, folder)
    tags = {
        "podium.verdict": judged.verdict,
        "podium.promotion": plan.name,
        "podium.compared_with": judged.champion or "a trivial answer",
    }
    promotion.describe(uri, model, judged.version, tags, card.summary(judged.evidence))


def _pictures(plan: Plan, confusions: Mapping[str, Any]) -> dict[str, bytes]:
    """The confusion matrices as PNG files, of classes few enough to be read."""
    from podium.tracking.sheets import Matrix, Sheet, png

    names = plan.manifest.schema.class_names
    found = {}
    for head, counts in confusions.items():
        if len(counts) <= MOST_CLASSES:
            labels = names if len(names) == len(counts) and not head else tuple(map(str, range(len(counts))))
            title = f"confusion matrix of {head}" if head else "confusion matrix"
            found[title] = png(Sheet("confusion", title, "", Matrix(counts, labels)))
    return found


@contextmanager
def _held(plan: Plan) -> Iterator[HeldLedger]:
    """The promotion sweep's ledger, for what is noted after its trainings."""
    held = plan.place.book().hold(plan.name)
    try:
        yield held
    finally:
        held.release()
