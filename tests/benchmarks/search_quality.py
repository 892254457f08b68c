"""Whether the search is worse for fusing: the best of fused and of plain sweeps at equal numbers of trials.

python tests/benchmarks/search_quality.py collect CURVES [--minutes 15]
python tests/benchmarks/search_quality.py compare CURVES [--seeds 20] [--trials 32] [--gangs 2]

Both on the space of experiments/digits, with narrow networks on part of the digits. `collect` trains random points
of it, and appends their learning curves to the file CURVES. `compare` runs sweeps on a virtual clock over a forest
that was fitted to those curves, and prints one JSON line: the best values of both sides, and what they differ by
with the same seed.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from podium.search.proposer import OptunaProposer
from podium.spec.files import read_sweep
from podium.spec.space import Choice, Value, signature
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Advanced, Event, Lane, Progress, Propose
from podium.sweep.seeds import trial_seed
from podium.testing.simulation import simulate

SWEEP = Path(__file__).parents[2] / "experiments" / "digits" / "sweep.yaml"
SMALL = ["data.split={train: 0.2, validation: 0.2, test: 0.6, by: content}", "network.channels=8"]
METRIC = "validation/accuracy"


def digits(*overrides: str) -> SweepSpec:
    """The sweep of experiments/digits, with narrow networks on part of its data."""
    return read_sweep(SWEEP, [*SMALL, *overrides]).spec


def collect(curves: Path, minutes: float) -> None:
    """Trains random points until the time is over; each becomes one line of JSON."""
    import torch

    from podium.data.prepare import prepare
    from podium.training.checkpoint import Storage
    from podium.training.trainer import make_trainer

    torch.set_num_threads(1)
    ends = time.monotonic() + 60 * minutes
    first = len(curves.read_text().splitlines()) if curves.exists() else 0
    spec = digits("search.sampler=random", "checkpoints.every_s=1e9")
    assert spec.data is not None
    events: list[Event] = []
    with tempfile.TemporaryDirectory() as store:
        data = prepare(spec.data, base=SWEEP.parent, store=store, cache=Path(store, "cache"))
        storage = Storage(store, 1, str(Path(store, "cache")))
        trainer = make_trainer(spec, code=None, data=data, storage=storage, emit=events.append, halted=lambda: False)
        proposer = OptunaProposer(spec)
        number = first
        while time.monotonic() < ends:
            parameters = proposer.propose(Propose(key="", number=number), {}).parameters
            lane = Lane(trial=number, parameters=parameters, seed=trial_seed(spec, number, parameters))
            events.clear()
            trainer.advance(Advance(key=str(number), gang="", until=spec.budget.epochs.max, lanes=(lane,)))
            curve = [event.lanes[0].metrics[METRIC] for event in events if isinstance(event, Progress)]
            with curves.open("a") as file:
                file.write(json.dumps({"parameters": parameters, "curve": curve}) + "\n")
            number += 1


class Forest:
    """Learning curves of points that were not trained: extremely randomized trees over the log-odds of accuracies."""

    def __init__(self, spec: SweepSpec, curves: Path) -> None:
        from sklearn.ensemble import ExtraTreesRegressor

        self._parameters = spec.space().parameters
        rows = [json.loads(line) for line in curves.read_text().splitlines()]
        rows = [row for row in rows if len(row["curve"]) == spec.budget.epochs.max]  # the others diverged
        self._points = [self._place(row["parameters"]) for row in rows]
        self._odds = [[math.log(value / (1 - value)) for value in row["curve"]] for row in rows]
        self._trees = ExtraTreesRegressor(200, random_state=0)
        self.held_out = self._correlation()
        self._trees.fit(self._points, self._odds)

    def curves(self) -> Any:
        """The curves of one sweep by lane, each made once."""
        known: dict[int, list[float]] = {}

        def curve(lane: Lane) -> list[float]:
            if lane.trial not in known:
                (odds,) = self._trees.predict([self._place(lane.parameters)])
                known[lane.trial] = (1 / (1 + np.exp(-odds))).tolist()
            return known[lane.trial]

        return curve

    def _place(self, values: Mapping[str, Value]) -> list[float]:
        place: list[float] = []
        for parameter in self._parameters:
            value = values.get(parameter.name)
            if isinstance(parameter.domain, Choice):
                place += [float(value == option) for option in parameter.domain.options]
            else:
                assert isinstance(value, int | float)
                place.append(math.log(value) if parameter.domain.log else value)
        return place

    def _correlation(self) -> float:
        """Spearman's, between the last values of trained points and those foretold from the other four fifths."""
        from scipy.stats import spearmanr
        from sklearn.model_selection import KFold, cross_val_predict

        folds = KFold(5, shuffle=True, random_state=0)
        foretold = cross_val_predict(self._trees, self._points, self._odds, cv=folds)
        return float(spearmanr(foretold[:, -1], np.array(self._odds)[:, -1]).statistic)


def run(forest: Forest, seed: int, fuse: str, trials: int, gangs: int) -> dict[str, float]:
    """One sweep: its best value, how many structures it tried, and the lanes of its cohorts."""
    spec = digits(f"search.seed={seed}", f"budget.trials={trials}", f"fuse={fuse}")
    simulation = simulate(spec, gangs, forest.curves(), proposer=OptunaProposer(spec), fuses=True)
    advances = [event for event in simulation.events if isinstance(event, Advanced)]
    structures = {signature(trial.parameters, spec.fixed()) for trial in simulation.machine.trials.values()}
    best = simulation.best.last_values[0]
    assert best is not None
    lanes = statistics.mean(len(advance.reports) for advance in advances)
    return {"best": best, "structures": len(structures), "lanes": lanes}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, standard deviation, and half of the 95 % confidence interval of the mean."""
    from scipy.stats import t

    deviation = statistics.stdev(values)
    half = float(t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))
    return {"mean": statistics.mean(values), "deviation": deviation, "half_interval": half}


def compare(curves: Path, seeds: int, trials: int, gangs: int) -> dict[str, Any]:
    """Both sides of every seed."""
    forest = Forest(digits(), curves)
    pairs = [[run(forest, seed, fuse, trials, gangs) for fuse in ("auto", "off")] for seed in range(seeds)]
    differences = [fused["best"] - plain["best"] for fused, plain in pairs]
    sides = {
        side: spread([pair[index]["best"] for pair in pairs])
        | {key: statistics.mean(pair[index][key] for pair in pairs) for key in ("structures", "lanes")}
        for index, side in enumerate(("fused", "plain"))
    }
    return {
        "held_out_correlation": forest.held_out,
        **sides,
        "fused_minus_plain": spread(differences),
        "fused_better": sum(difference > 0 for difference in differences),
        "equal": sum(difference == 0 for difference in differences),
        "fused_worse": sum(difference < 0 for difference in differences),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["collect", "compare"])
    parser.add_argument("curves", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--gangs", type=int, default=2)
    options = parser.parse_args()
    if options.step == "collect":
        collect(options.curves, options.minutes)
    else:
        print(json.dumps(compare(options.curves, options.seeds, options.trials, options.gangs)))


if __name__ == "__main__":
    main()
