"""Gates: what a candidate has to show, each answered by one sentence with its figures. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from podium.errors import SpecError
from podium.registry.evidence import Comparison
from podium.registry.paired import MOST_RESAMPLES
from podium.registry.verdict import POWER, Verdict, decide, detectable, needed
from podium.spec.constraints import Constraint, parse
from podium.spec.promotion import GateSettings
from podium.spec.settings import suggestion

if TYPE_CHECKING:
    from podium.registry.examination import Examination

MEGABYTE = 10**6

SHOWN = 3
"""So many slices that miss a floor are named."""


@dataclass(frozen=True)
class Check:
    """What a gate says of a candidate: `open` where the evidence does not tell."""

    gate: str
    outcome: Literal["passed", "failed", "open"]
    reason: str

    def written(self) -> dict[str, str]:
        """As JSON has it."""
        return asdict(self)


def verdict(checks: Sequence[Check]) -> tuple[Verdict, tuple[str, ...]]:
    """What all gates say together, and the reasons for it: one that failed refuses, one that is open leaves it open."""
    failed = [check.reason for check in checks if check.outcome == "failed"]
    still_open = [check.reason for check in checks if check.outcome == "open"]
    if failed:
        return "refused", tuple(failed)
    if still_open:
        return "undecided", tuple(still_open)
    better = [check.reason for check in checks if check.gate == "better"]
    return "promoted", (*better, f"all {len(checks)} gates passed")


def better(comparison: Comparison | None, other: str, why_not: str, *, alpha: float, margin: float) -> Check:
    """Whether the candidate is better than another model, or no worse than a margin.

    Args:
        comparison: On the same test samples; None where nothing could be compared.
        other: What it is compared with, in words.
        why_not: Why nothing could be compared.
        alpha: What it has to err.
        margin: By how much it may be worse, since it is cheaper; else 0.
    """
    if comparison is None:
        return Check("better", "open", f"it cannot be compared with {other}: {why_not}")
    decision, found = decide(comparison, alpha=alpha, margin=margin), comparison.difference
    figures = (
        f"its mean loss on {found.count:,} test samples is lower by {found.estimate:.4g} ({found.low:.4g} to "
        f"{found.high:.4g}; p = {comparison.p_better(margin):.2g}, {alpha:.2g} needed)"
    )
    if decision == "promoted":
        how = f"cheaper, and by less than {margin:g} worse than" if margin else "better than"
        return Check("better", "passed", f"{how} {other}: {figures}")
    if decision == "refused":
        return Check("better", "failed", f"worse than {other}: {figures}")
    return Check("better", "open", f"not shown to be better than {other}: {figures}. {_size(comparison, alpha)}")


def _size(comparison: Comparison, alpha: float) -> str:
    if comparison.method == "bootstrap" and alpha * MOST_RESAMPLES < 1:
        return "This test split was read so often that nothing can be shown by it any more; take another one"
    smallest = detectable(comparison, alpha=alpha)
    if smallest is None:
        return "There are too few test samples to say what they could show"
    text = f"So many samples find a true difference of {smallest:.2g} with a probability of {POWER:.0%}"
    enough = enough_for(comparison, alpha)
    return text if enough is None else f"{text}; to find one as large as that seen, about {enough:,} would do"


def enough_for(comparison: Comparison, alpha: float) -> int | None:
    """How many test samples would find a difference as large as the one that was seen; None if there was none."""
    seen = abs(comparison.difference.estimate)
    return needed(comparison, alpha=alpha, difference=seen, power=POWER) if seen else None


def floors(texts: Iterable[str], metrics: Mapping[str, float]) -> Iterator[Check]:
    """Whether metrics on the test split meet comparisons.

    A metric that there is not leaves the gate open.
    """
    for text in texts:
        floor = parse(text)
        if floor.name not in metrics:
            known = suggestion(floor.name, metrics)
            yield Check(f"floor {floor}", "open", f"{floor.name} is no metric of the test split{known}")
            continue
        holds = floor.violation(metrics) <= 0
        reason = f"{floor.name} on the test split is {metrics[floor.name]:.4g}, and {floor} is demanded"
        yield Check(f"floor {floor}", "passed" if holds else "failed", reason)


def slices(texts: Iterable[str], found: Sequence[Mapping[str, Any]], loss: str) -> Iterator[Check]:
    """Whether every slice of the test split meets comparisons; each names those that do not.

    Args:
        texts: Comparisons of `loss`, the mean over a slice, or of `accuracy` where the loss counts errors.
        found: Slices with `by`, `name`, `samples` and `interval`, of the mean loss.
        loss: Name of the loss.
    """
    for text in texts:
        floor = parse(text)
        gate = f"slices {floor}"
        if floor.name != "loss" and not (floor.name == "accuracy" and loss == "error"):
            yield Check(gate, "open", f"{floor.name} is not measured of slices, whose loss is the {loss}; write `loss`")
        elif not found:
            yield Check(gate, "open", "the test split has no classes and no groups to slice it by")
        else:
            yield _sliced(gate, floor, found)


def _sliced(gate: str, floor: Constraint, found: Sequence[Mapping[str, Any]]) -> Check:
    missed = []
    for each in found:
        mean = each["interval"]["estimate"]
        metrics = {"loss": mean, "accuracy": 1 - mean}
        if floor.violation(metrics) > 0:
            missed.append(f"{each['by']} {each['name']} ({metrics[floor.name]:.4g}, {each['samples']:,} samples)")
    if not missed:
        return Check(gate, "passed", f"{floor} holds in all {len(found)} slices")
    rest = f" and {len(missed) - SHOWN} more" if len(missed) > SHOWN else ""
    reason = f"{floor} is demanded of every slice, and missed by {', '.join(missed[:SHOWN])}{rest}"
    return Check(gate, "failed", reason)


def finite(losses: NDArray[np.float64]) -> Check:
    """Whether the candidate's answers can be judged at all."""
    wrong = int((~np.isfinite(losses)).sum())
    reason = f"its losses on {wrong:,} of {len(losses):,} test samples are no finite numbers"
    return Check("finite", "failed", reason) if wrong else Check("finite", "passed", "all its losses are finite")


def measured(settings: GateSettings, found: "Examination", agreement: float) -> Iterator[Check]:
    """Whether the registered model loads and answers alone, as the trained network does, fast and small enough."""
    yield Check("clean process", "passed", "loads and answers in a process without Podium that unpickles nothing")
    answered = found.answered
    reason = f"refuses all {len(found.refusals)} kinds of bad input"
    if answered:
        reason = f"answers input that it must refuse: {', '.join(answered)}"
    yield Check("bad input", "failed" if answered else "passed", reason)
    yield _limit("agreement", agreement, settings.agreement, "the exported answers differ by at most {:.2g}")
    single = min(found.latencies, key=lambda latency: latency.batch)
    ms = "{:.3g} ms"
    asked = (
        ("latency p50", single.p50_s * 1000, settings.latency_p50_ms, f"half of all single samples take {ms}"),
        ("latency p99", single.p99_s * 1000, settings.latency_p99_ms, f"99 of 100 single samples take {ms}"),
        ("size", found.model_bytes / MEGABYTE, settings.megabytes, "the model takes {:.3g} MB"),
        ("memory", found.memory_bytes / MEGABYTE, settings.memory_megabytes, "the model takes {:.3g} MB of memory"),
    )
    for gate, value, limit, words in asked:
        if limit is not None:
            yield _limit(gate, value, limit, words)


def own(name: str, answer: object) -> Check:
    """What a user's gate says: a sentence if the candidate fails, None or True if it passes.

    Raises:
        SpecError: for any other answer.
    """
    if answer is None or answer is True:
        return Check(name, "passed", f"{name} has nothing against it")
    if not isinstance(answer, str) or not answer:
        raise SpecError(f"{name} returned {answer!r}; it has to return why the candidate fails, or None", key=GATE)
    return Check(name, "failed", f"{name}: {answer}")


GATE = "promotion.gates.own"


def _limit(gate: str, value: float, limit: float, words: str) -> Check:
    holds = value <= limit
    reason = f"{words.format(value)}, and {limit:g} {'is allowed' if holds else 'are allowed at most'}"
    return Check(gate, "passed" if holds else "failed", reason)
