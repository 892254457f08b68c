"""How often a promotion is wrong, and how often it finds what is better, where the truth is known.

python tests/benchmarks/promotions.py [--promotions 10000] [--curves taskset_rnn12.npz] [--json]

Prints a table; with --json the last line is one JSON object. It ends with exit code 1 if the 95 % upper bound (Clopper
and Pearson, 1934) of the rate of wrong promotions of any scenario is not under the stated level of 5 %.

What is simulated. A trial's true accuracy after each epoch is exp(-loss) of a real learning curve, one of the best
tenth of 1,000 of a TaskSet task (Metz et al., 2020, arXiv:2002.11887), as a sampler that has learnt would propose, plus
an offset of its seed. What validation reports differs from the truth by the sampling error of its examples, half of it
the run's and half the epoch's; a run's report is its best epoch's, and it ships the weights of that epoch, whose true
accuracy counts. A sweep is 50 such trials at full budget. A promotion trains its best 3 again with 5 fresh seeds each,
takes the finalist with the best mean on validation and of it the best seed, and compares that with the champion on the
same test examples, by `registry.evidence` and `registry.verdict`, at the level that is left for this reading of the
test set. "The sweep's best" ships the trial with the best report if this is above the champion's report; the champion
came from a sweep before, whose best report was as lucky.

What "not better" means. The accuracy of the shipped weights over the whole population is at most the champion's: equal
counts as not better. With a margin m, it is at most the champion's less m.

What is assumed. Test examples are independent draws, which no training and no choice has seen. Whether a model is right
on an example depends on the example's difficulty, which all models share, and on luck of its own: it is right if
sqrt(c) difficulty + sqrt(1 - c) luck, both standard normal, is below a threshold that gives its accuracy. What
validation examples do to all models alike is left out, since it cancels wherever models are compared there. Nothing
here tests a bootstrap: all losses are 0 or 1.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special, stats

from podium.registry.evidence import choose, compare, optimism
from podium.registry.verdict import decide, needed, power, tightened

DATA = Path(os.environ.get("PODIUM_DATA", Path(__file__).parents[3] / "shared" / "data"))
ALPHA = 0.05
TRIALS, FINALISTS, SEEDS = 50, 3, 5
VALIDATION = 1000
SEED_SPREAD = 0.005
COMMON = 0.8
SWEEPS_AT_ONCE = 250
READINGS = 10


@dataclass(frozen=True)
class Scenario:
    """A question. The champion's true accuracy is the shipped model's plus `gap`; None: as an earlier sweep gave it."""

    name: str
    examples: int
    gap: float | None
    margin: float = 0.0


SCENARIOS = (
    Scenario("equal to the champion", 500, 0.0),
    Scenario("equal to the champion", 2_000, 0.0),
    Scenario("worse by 0.5 %", 2_000, 0.005),
    Scenario("worse by the margin, 1 %", 2_000, 0.01, margin=0.01),
    Scenario("as sweeps come", 2_000, None),
    Scenario("better by 1 %", 2_000, -0.01),
    Scenario("better by 1 %", 10_000, -0.01),
    Scenario("better by 2 %", 2_000, -0.02),
    Scenario("no worse, margin 1 %", 10_000, 0.0, margin=0.01),
)


@dataclass(frozen=True)
class Sweep:
    """What came of one: true accuracies of both ways to choose, and what they reported."""

    shipped: float
    best: float
    best_report: float
    optimism: float


def best_tenths(tasks: np.ndarray) -> np.ndarray:
    """Of accuracies `[tasks, configurations, epochs]`, those of the configurations that reach the highest."""
    peaks = np.nan_to_num(tasks.max(axis=2), nan=0.0)
    best = np.argsort(-peaks, axis=1)[:, : tasks.shape[1] // 10]
    return np.take_along_axis(tasks, best[..., None], axis=1)


def train(curves: np.ndarray, draws: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """From true accuracies `[..., epochs]` of configurations, those of runs at their best epoch, and their reports."""
    *runs, epochs = curves.shape
    truth = np.clip(curves + SEED_SPREAD * draws.standard_normal((*runs, 1)), 0.01, 0.99)
    luck = draws.standard_normal((*runs, 1)) + draws.standard_normal((*runs, epochs))
    reports = truth + luck * np.sqrt((1 - COMMON) * truth * (1 - truth) / VALIDATION / 2)
    best = reports.argmax(axis=-1)[..., None]
    return tuple(np.take_along_axis(each, best, axis=-1)[..., 0] for each in (truth, reports))


def sweeps(tasks: np.ndarray, count: int, draws: np.random.Generator) -> Iterator[Sweep]:
    """Neighbours are of one task."""
    for first in range(0, count, SWEEPS_AT_ONCE):
        task = tasks[first // SWEEPS_AT_ONCE % len(tasks)]
        curves = task[draws.integers(len(task), size=(min(SWEEPS_AT_ONCE, count - first), TRIALS))]
        truths, reports = train(curves, draws)
        order = np.argsort(-reports, axis=1)[:, :FINALISTS]
        finalists = np.take_along_axis(curves, order[..., None], axis=1)
        again, confirmed = train(np.repeat(finalists[:, :, None], SEEDS, axis=2), draws)
        for row in range(len(curves)):
            chosen = choose(dict(enumerate(confirmed[row].tolist())), maximize=True)
            lead, seed = order[row, 0], confirmed[row, chosen].argmax()
            report = float(reports[row, lead])
            lucky = optimism(report, confirmed[row, 0].tolist(), maximize=True)
            yield Sweep(float(again[row, chosen, seed]), float(truths[row, lead]), report, lucky)


def losses(accuracy: float, difficulty: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """`[N]`: 0 where a model is right, 1 where it is wrong."""
    luck = draws.standard_normal(len(difficulty), dtype=np.float32)
    threshold = special.ndtri(accuracy)
    return (np.sqrt(COMMON) * difficulty + np.sqrt(1 - COMMON) * luck >= threshold).astype(np.int8)


def run(scenario: Scenario, found: Sequence[Sweep], draws: np.random.Generator) -> dict[str, Any]:
    """One promotion a sweep, each on a test set that was not read before."""
    alpha = tightened(ALPHA, 1)
    verdicts, not_better, naive, naive_not_better, expected, enough, discordant = ([] for _ in range(7))
    for sweep, earlier in zip(found, [*found[1:], found[0]], strict=True):
        gap = earlier.shipped - sweep.shipped if scenario.gap is None else scenario.gap
        best_gap = earlier.best - sweep.best if scenario.gap is None else scenario.gap
        difficulty = draws.standard_normal(scenario.examples, dtype=np.float32)
        mine, theirs = (losses(sweep.shipped + more, difficulty, draws) for more in (0, gap))
        comparison = compare(mine, theirs, level=1 - 2 * alpha)
        verdicts.append(decide(comparison, alpha=alpha, margin=scenario.margin))
        not_better.append(gap >= scenario.margin)
        lucks = [each.best_report - each.best for each in (sweep, earlier)]
        naive.append(lucks[0] > best_gap + lucks[1] - scenario.margin)
        naive_not_better.append(best_gap >= scenario.margin)
        discordant.append((comparison.wins + comparison.losses) / scenario.examples)
        difference = scenario.margin - (scenario.gap or 0.0)
        if difference > 0:
            expected.append(power(comparison, alpha=alpha, difference=difference))
            enough.append(needed(comparison, alpha=alpha, difference=difference))
    promoted = np.array([verdict == "promoted" for verdict in verdicts])
    figures = {
        "scenario": scenario.name,
        "examples": scenario.examples,
        "promotions": len(promoted),
        "not_better": int(np.sum(not_better)),
        "promoted": float(promoted.mean()),
        "discordant": float(np.mean(discordant)),
        **wrongly("wrong", promoted & not_better),
        **wrongly("sweeps_best_wrong", np.array(naive) & naive_not_better),
    }
    powers = {"power_foretold": float(np.mean(expected)), "needed": int(np.median(enough))} if expected else {}
    return figures | powers


def run_series(starts: Sequence[Sweep], draws: np.random.Generator, *, tightens: bool) -> dict[str, Any]:
    """Readings of one test set one after the other; whoever is promoted is the champion that the next one meets.

    All have the same true accuracy, so that no promotion is right.
    """
    examples, series = 2_000, []
    for sweep in starts:
        difficulty = draws.standard_normal(examples, dtype=np.float32)
        champion, promoted = losses(sweep.shipped, difficulty, draws), []
        for reading in range(1, READINGS + 1):
            mine = losses(sweep.shipped, difficulty, draws)
            alpha = tightened(ALPHA, reading) if tightens else ALPHA
            promoted.append(decide(compare(mine, champion, level=1 - 2 * alpha), alpha=alpha) == "promoted")
            champion = mine if promoted[-1] else champion
        series.append(promoted)
    by_series = np.array(series)
    return {
        "scenario": f"{READINGS} equal ones, one test set" + ("" if tightens else ", not tightened"),
        "examples": examples,
        "promotions": by_series.size,
        "promoted": float(by_series.mean()),
        **wrongly("wrong", by_series.ravel()),
        **wrongly("any_wrong", by_series.any(axis=1)),
    }


def wrongly(name: str, wrong: np.ndarray) -> dict[str, float]:
    """A rate with its one-sided 95 % upper bound."""
    bound = stats.binomtest(int(wrong.sum()), len(wrong), alternative="less").proportion_ci(0.95).high
    return {name: float(wrong.mean()), f"{name}_bound": float(bound)}


def show(row: dict[str, Any]) -> str:
    parts = [f"{row['scenario']:<44} {row['examples']:>6,} {row['promotions']:>7,} {row['promoted']:>9.2%}"]
    for name in ("wrong", "sweeps_best_wrong", "any_wrong"):
        rate = f"{row[name]:.2%} (< {row[f'{name}_bound']:.2%})" if name in row else ""
        parts.append(f"{rate:>20}")
    if "needed" in row:
        parts.append(f"{row['power_foretold']:>9.1%} {row['needed']:>8,}")
    return " ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--promotions", type=int, default=10_000, help="of each scenario")
    parser.add_argument("--curves", type=Path, default=DATA / "hpo" / "taskset_rnn12.npz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.curves.exists():
        parser.error(f"there are no learning curves at {options.curves}; give --curves, or set PODIUM_DATA")
    began, draws = time.monotonic(), np.random.default_rng(options.seed)
    with np.load(options.curves) as arrays:
        tasks = best_tenths(np.exp(-arrays["curves"][:, :, 1].astype(np.float64)))
    found = list(sweeps(tasks, options.promotions, draws))
    lucky = float(np.mean([sweep.optimism for sweep in found]))
    above = float(np.mean([sweep.best_report - sweep.best for sweep in found]))
    print(f"{options.promotions:,} sweeps: the best report is {above:.2%} above the truth of the weights that gave it,")
    print(f"and {lucky:.2%} above what fresh seeds of the same trial report")
    print(f"{'the shipped model is':<44} {'tests':>6} {'':>7} {'promoted':>9}", end="")
    print(f"{'wrongly':>21}{'by the sweep’s best':>21}{'ever in a series':>21}{'foretold':>10}{'for 80 %':>9}")
    rows = []
    for scenario in SCENARIOS:
        rows.append(run(scenario, found, draws))
        print(show(rows[-1]), flush=True)
    for starts, tightens in ((found[::2], True), (found[::10], False)):
        rows.append(run_series(starts, draws, tightens=tightens))
        print(show(rows[-1]), flush=True)
    bounds = [
        row.get("any_wrong_bound", row["wrong_bound"]) for row in rows[:-1]
    ]  # the last one shows what happens else
    holds = max(bounds) < ALPHA
    print(f"every bound {'is' if holds else 'is NOT'} under {ALPHA:.0%}; {time.monotonic() - began:.0f} s")
    if options.json:
        print(json.dumps({"level": ALPHA, "holds": holds, "above_truth": above, "optimism": lucky, "scenarios": rows}))
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
