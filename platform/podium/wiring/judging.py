"""Judging a candidate: the test split is read, and everything a gate asks for is measured."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from podium.data.overlap import overlap
from podium.data.reader import Reader
from podium.data.series import Series
from podium.errors import DataError, ModelError, SpecError, TaskError, UserError
from podium.registry import gates, scores
from podium.registry.answers import About, Answers, joined
from podium.registry.evidence import Comparison, compare, mean_interval
from podium.registry.examination import Examination, agreement, examine
from podium.registry.gates import Check
from podium.registry.metrics import confusions, metrics
from podium.registry.verdict import Verdict, detectable, tightened
from podium.spec.promotion import GateSettings

if TYPE_CHECKING:
    from podium.registry.models import Model
    from podium.registry.serving import Loaded

AT_ONCE = 256
"""Samples that are answered at once at most."""

EXAMINED = 64
"""Validation samples that the clean process answers."""

SMALLER, FASTER = 0.9, 0.7
"""A model is cheaper than another one from this share of its bytes on, or of the time in which it answers one sample;
two measurements of one model's time lie up to a third apart."""

METHODS = {
    "mcnemar": "McNemar's exact test, and Tango's score interval",
    "bootstrap": "the studentized bootstrap",
    "student": "Student's t",
}

Given = NDArray[Any] | dict[str, NDArray[Any]]


@dataclass(frozen=True)
class TestSplit:
    """The test split as registered models take it: raw.

    Attributes:
        reader: One that may read it.
        about: What targets and answers mean.
        targets: `[N, ...]`.
        groups: `[N]`, the group of each sample; None without.
        counts: `[N]`, whether anything of a sample counts.
    """

    reader: Reader
    about: About
    targets: NDArray[Any]
    groups: NDArray[Any] | None
    counts: NDArray[np.bool_]

    @classmethod
    def read(cls, reader: Reader, about: About) -> "TestSplit":
        """Reads its targets."""
        if about.repeats_inputs:
            targets = np.concatenate([batch.inputs for batch in reader.sequential("test", AT_ONCE)])
        else:
            targets = np.concatenate([targets for _, targets in reader.stored("test")])
        return cls(reader, about, targets, reader.groups("test"), scores.counted(targets, about))


@dataclass(frozen=True)
class Candidate:
    """A model with what it says to the test split: what a gate of the user's own is shown.

    Attributes:
        name: Which model and version it is.
        model: The registered model, an MLflow pyfunc: raw samples in, answers out.
        folder: Its files.
        answers: To the test samples, `[N, ...]`, or by head.
        targets: Of the test samples, `[N, ...]`.
        loss: What the loss of a sample is.
        losses: `[N]` float64, one for each test sample.
        metrics: Over the test split.
        compared: `[N]`, the samples that candidate and champion are compared by.
        champion: The same of the champion, on the same samples; None if there is none, or it cannot answer them.
    """

    name: str
    model: Any
    folder: Path
    answers: Answers
    targets: NDArray[Any]
    loss: str
    losses: NDArray[np.float64]
    metrics: Mapping[str, float]
    compared: NDArray[np.bool_]
    champion: "Candidate | None" = None


@dataclass(frozen=True)
class Rival:
    """What a candidate is compared with on the same samples.

    Attributes:
        words: What it is: a version, or what a trivial answer is.
        losses: `[N]`; None if it cannot answer these samples.
        is_champion: Whether it is the champion.
        why_not: Why it cannot answer them.
        shown: The champion with its answers.
        is_seen: `[N]`, the samples that it was trained on, which leave the comparison; None if that is not known.
        doubts: Why some of them may have been missed.
    """

    words: str
    losses: NDArray[np.float64] | None
    is_champion: bool = False
    why_not: str = ""
    shown: Candidate | None = None
    is_seen: NDArray[np.bool_] | None = None
    doubts: str = ""


@dataclass(frozen=True)
class Judgement:
    """What the test split and the clean process say of a candidate.

    Attributes:
        verdict: What all gates say together.
        reasons: Why, in sentences.
        evidence: The part of a promotion's evidence that comes from here, as JSON types.
        confusions: By head, `[C, C]`: how many of each class (rows) were taken for each class.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    evidence: dict[str, Any]
    confusions: Mapping[str, NDArray[np.int64]]


def show(test: TestSplit, loaded: "Loaded", folder: Path) -> Candidate:
    """What a model says to the test split.

    Raises:
        ModelError: if it cannot take the samples.
        UserError: if its answers are none to these targets.
    """
    answers = joined(_answers(test, loaded), test.about)
    loss, losses = scores.losses(answers, test.targets, test.about)
    measured = metrics(answers, test.targets, test.about)
    name = str(loaded.version)
    return Candidate(name, loaded.model, folder, answers, test.targets, loss, losses, measured, test.counts)


def trivial(test: TestSplit) -> Rival:
    """What answers without looking, for want of a champion."""
    train = (targets for _, targets in test.reader.stored("train"))
    if test.about.repeats_inputs:
        train = (batch.inputs for batch in test.reader.sequential("train", AT_ONCE))
    words, answers = scores.baseline(train, test.targets, test.about)
    _, losses = scores.losses(answers, test.targets, test.about)
    return Rival(f"a model that {words}", losses, is_seen=np.zeros(len(losses), bool))


def champion_on(test: TestSplit, loaded: "Loaded", folder: Path, data: Path | None, why: str) -> Rival:
    """The champion on the test split.

    Args:
        test: The test split.
        loaded: The champion.
        folder: Its files.
        data: What it was trained on; None if that is not known.
        why: Why it is not known.
    """
    words, schema = f"the champion, {loaded.version}", test.reader.schema
    own = [list(each) for each in (schema.mean, schema.std)]
    if test.about.repeats_inputs and [loaded.about.get("mean"), loaded.about.get("std")] != own:
        why_not = "it answers with inputs that are normalized otherwise"
        return Rival(words, None, is_champion=True, why_not=why_not)
    try:
        shown = show(test, loaded, folder)
    except (UserError, ModelError) as error:
        return Rival(words, None, is_champion=True, why_not=str(error))
    if not np.isfinite(shown.losses).all():
        return Rival(
            words, None, is_champion=True, why_not="not all of its losses on the test split are finite numbers"
        )
    if data is None:
        return Rival(words, shown.losses, is_champion=True, shown=shown, doubts=why)
    try:
        seen = overlap(test.reader, data)
    except DataError as error:
        return Rival(words, shown.losses, is_champion=True, shown=shown, doubts=str(error))
    return Rival(words, shown.losses, True, "", shown, seen.is_seen, seen.why)


@dataclass(frozen=True)
class Judge:
    """Compares, measures and asks the gates.

    Attributes:
        settings: Of the gates.
        test: The test split.
        candidate: What the candidate says to it.
        about: The candidate's description.
        rival: What it is compared with.
        trained: The candidate as it was trained.
        reading: Which reading of this test split it is, from 1.
        own: The user's gate; None without.
        class_names: What the source calls the classes.
    """

    settings: GateSettings
    test: TestSplit
    candidate: Candidate
    about: Mapping[str, Any]
    rival: Rival
    trained: "Model"
    reading: int
    own: Any = None
    class_names: Sequence[str] = ()

    @property
    def alpha(self) -> float:
        """What this reading may err."""
        return tightened(1 - self.settings.level, self.reading)

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """`[N]`, the samples that are compared: those that count, and that the champion has not seen."""
        seen = self.rival.is_seen
        return self.test.counts if seen is None else self.test.counts & ~seen

    @cached_property
    def _is_finite(self) -> bool:
        return bool(np.isfinite(self.candidate.losses).all())

    @cached_property
    def comparison(self) -> Comparison | None:
        """Candidate and rival on the samples that both can be judged by."""
        other, kept = self.rival.losses, self.kept
        if other is None or not kept.any() or not self._is_finite:
            return None
        groups = None
        if self.test.groups is not None:
            groups = np.unique(self.test.groups[kept], return_inverse=True)[1].astype(np.int64)
        return compare(self.candidate.losses[kept], other[kept], level=1 - 2 * self.alpha, groups=groups)

    @cached_property
    def measured(self) -> tuple[Examination, float] | str:
        """What a clean process finds of the candidate, and how far its answers are off; in words why it finds none."""
        samples, lengths = self._samples
        try:
            found = examine(self.candidate.folder, samples, lengths)
            return found, self._distance(found)
        except ModelError as error:
            return str(error)

    def _distance(self, found: Examination) -> float:
        """The largest difference between answers of the exported and of the trained network."""
        from podium.registry.predict import Champion

        samples, lengths = self._samples
        network = Champion()
        network.take(dict(self.about), self.trained.module)
        given: Any = samples if lengths is None else {"inputs": samples, "lengths": lengths}
        answers = network.predict(None, given)
        return agreement(found.answers, answers if isinstance(answers, dict) else {"answers": answers})

    @cached_property
    def _samples(self) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        given = next(_raw(self.test.reader, "validation", EXAMINED, takes_lengths=self.trained.takes_lengths))
        return (given["inputs"], given["lengths"]) if isinstance(given, dict) else (given, None)

    @cached_property
    def slices(self) -> list[dict[str, Any]]:
        """Every class and group with the mean loss of its samples, of those that are compared."""
        rows = np.flatnonzero(self.kept & self._is_finite)
        found = []
        groups = None if self.test.groups is None else self.test.groups[rows]
        for each in scores.slices(self.test.targets[rows], groups, self.test.about, self.class_names):
            own = rows[each.rows]
            other = None if self.rival.shown is None else self._mean(self.rival.shown.losses[own])
            found.append(
                {
                    "by": each.by,
                    "name": each.name,
                    "samples": len(own),
                    "interval": self._mean(self.candidate.losses[own]),
                    "other": other,
                }
            )
        return found

    def judge(self) -> Judgement:
        """All of it.

        Raises:
            TaskError: if the user's gate fails itself.
        """
        checks = list(self._checks())
        verdict, reasons = gates.verdict(checks)
        evidence = {
            "test": {
                "samples": len(self.test.targets),
                "compared": int(self.kept.sum()) if self.rival.losses is not None else 0,
                "left_out": None if self.rival.is_seen is None else int(self.rival.is_seen.sum()),
                "left_out_why": self.rival.doubts,
                "reading": self.reading,
                "alpha": 1 - self.settings.level,
                "tightened": self.alpha,
                "loss": self.candidate.loss,
                "metrics": _finite(self.candidate.metrics),
                "other_metrics": self._other_metrics(),
            },
            "slices": self.slices,
            "comparison": None if self.comparison is None else self._compared(self.comparison),
            "measured": self._measured(),
            "checks": [check.written() for check in checks],
        }
        found = confusions(self.candidate.answers, self.test.targets, self.test.about)
        return Judgement(verdict, reasons, evidence, found)

    def _other_metrics(self) -> dict[str, float | None] | None:
        """The champion's, over the samples that are compared."""
        shown, kept = self.rival.shown, self.kept
        if shown is None or not kept.any():
            return None
        if isinstance(shown.answers, Mapping):
            answers: Answers = {head: each[kept] for head, each in shown.answers.items()}
        else:
            answers = shown.answers[kept]
        return _finite(metrics(answers, self.test.targets[kept], self.test.about))

    def _checks(self) -> Iterator[Check]:
        settings = self.settings
        yield gates.finite(self.candidate.losses)
        yield gates.better(
            self.comparison,
            self.rival.words,
            self.rival.why_not or "it was trained on all of these test samples",
            alpha=self.alpha,
            margin=self.allowed,
        )
        yield from gates.floors(settings.floors, self.candidate.metrics)
        yield from gates.slices(settings.slices, self.slices, self.candidate.loss)
        if isinstance(self.measured, str):
            yield Check("clean process", "failed", self.measured)
        else:
            yield from gates.measured(settings, *self.measured)
        if settings.own is not None:
            yield self._own(settings.own)

    def _own(self, name: str) -> Check:
        try:
            shown = replace(self.candidate, champion=self.rival.shown, compared=self.kept)
            return gates.own(name, self.own(shown))
        except SpecError:
            raise
        except Exception as error:
            raise TaskError(f"the gate {name} failed itself: {type(error).__name__}: {error}") from error

    @cached_property
    def allowed(self) -> float:
        """By how much the candidate may be worse: it must be clearly smaller or faster than the champion."""
        shown = self.rival.shown
        if self.settings.margin is None or shown is None or isinstance(self.measured, str):
            return 0.0
        samples, lengths = self._samples
        try:
            (own, _), other = self.measured, examine(shown.folder, samples, lengths)
        except ModelError:
            return 0.0
        is_smaller = own.model_bytes <= SMALLER * other.model_bytes
        is_faster = own.latencies[0].p50_s <= FASTER * other.latencies[0].p50_s
        return self.settings.margin if is_smaller or is_faster else 0.0

    def _compared(self, comparison: Comparison) -> dict[str, Any]:
        margin = self.allowed
        return {
            **comparison.written(),
            "method": METHODS[comparison.method],
            "p_better": comparison.p_better(margin),
            "p_worse": comparison.p_worse(margin),
            "margin": margin or None,
            "with": self.rival.words,
            "is_champion": self.rival.is_champion,
            "detectable": detectable(comparison, alpha=self.alpha),
            "needed": gates.enough_for(comparison, self.alpha),
        }

    def _measured(self) -> dict[str, Any]:
        if isinstance(self.measured, str):
            return {}
        found, distance = self.measured
        return {
            "latency": {str(each.batch): {"p50_s": each.p50_s, "p99_s": each.p99_s} for each in found.latencies},
            "threads": found.threads,
            "bytes": found.model_bytes,
            "memory_bytes": found.memory_bytes,
            "agreement": distance,
        }

    def _mean(self, losses: NDArray[np.float64]) -> dict[str, Any]:
        found = mean_interval(losses.tolist(), self.settings.level).written()
        if self.candidate.loss == "error" or self.candidate.loss.startswith("share of"):
            low, high = found["low"], found["high"]
            found["low"], found["high"] = 0.0 if low is None else max(low, 0.0), 1.0 if high is None else min(high, 1.0)
        return found


def _finite(measured: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in measured.items()}


def _answers(test: TestSplit, loaded: "Loaded") -> Iterator[Answers]:
    for given in _raw(test.reader, "test", AT_ONCE, takes_lengths=bool(loaded.about.get("takes_lengths"))):
        try:
            yield loaded.model.predict(given)
        except Exception as error:  # its code may raise anything
            raise ModelError(f"{loaded.version} cannot answer the test samples: {error}") from error


def _raw(reader: Reader, split: str, most: int, *, takes_lengths: bool) -> Iterator[Given]:
    """The samples of a split as they are stored, so many at once at most, as a registered model takes them."""
    for inputs, _ in reader.stored(split):
        for first in range(0, len(inputs), most):
            last = min(first + most, len(inputs))
            if not isinstance(inputs, Series):
                yield np.asarray(inputs[first:last])
                continue
            series = [np.asarray(inputs[row]) for row in range(first, last)]
            lengths = np.array([len(each) for each in series], dtype=np.int64)
            filled = np.zeros((len(series), int(lengths.max()), series[0].shape[1]), series[0].dtype)
            for row, each in zip(filled, series, strict=True):
                row[: len(each)] = each
            yield {"inputs": filled, "lengths": lengths} if takes_lengths else filled
